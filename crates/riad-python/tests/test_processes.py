"""Threads, pickles, forks, and Python's lock."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import riad
from conftest import Made


def test_eight_threads_find_what_one_finds(made: Made, detector: riad.Detector) -> None:
    paths = sorted(made.fresh.iterdir()) + sorted(made.bad.iterdir())
    alone = [detector.inspect(path).map.copy() for path in paths]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(4):
            found = list(threads.map(detector.inspect, paths))
            assert all(np.array_equal(one.map, expected) for one, expected in zip(found, alone))


def test_eight_threads_may_share_one_iterator(made: Made, detector: riad.Detector) -> None:
    paths = sorted(made.fresh.iterdir()) * 4
    found = detector.inspect_many(paths)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: [one.path for one in found], range(8)))
    assert sorted(path for part in taken for path in part if path) == sorted(map(str, paths))


def test_other_threads_run_while_one_computes(detector: riad.Detector) -> None:
    image = np.zeros((3000, 3000, 3), np.uint8)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticking = threading.Thread(target=tick)
    ticking.start()
    start = time.perf_counter()
    for _ in range(3):
        detector.inspect(image).overlay()
    took = time.perf_counter() - start
    stop.set()
    ticking.join()
    during = [at for at in ticks if start <= at <= start + took]
    # Holding the lock would let it tick between calls alone.
    assert len(during) > 10
    assert max(np.diff(during)) < 0.5 * took


def score(detector: riad.Detector, path: str) -> float:
    return detector.inspect(path).score


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_other_processes_find_what_this_one_finds(made: Made, detector: riad.Detector, method: str) -> None:
    paths = [str(path) for path in sorted(made.fresh.iterdir())[:4]]
    # Its threads run, and a fork copies none of them.
    here = [score(detector, path) for path in paths]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        there = list(processes.map(score, [detector] * len(paths), paths, timeout=120))
    assert there == here


def test_a_forked_child_may_use_the_very_detector(made: Made, detector: riad.Detector) -> None:
    path = str(made.bad / "200.png")
    here = detector.inspect(path).score
    many = [found.score for found in detector.inspect_many(made.fresh)]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        there = (detector.inspect(path).score, [found.score for found in detector.inspect_many(made.fresh)])
        os.write(writer, pickle.dumps(there))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pickle.loads(pipe.read()) == (here, many)
    os.waitpid(child, 0)


def test_a_pickle_is_small_and_of_the_same_file(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes((made.run / "best.safetensors").read_bytes())
    detector = riad.Detector(file)
    pickled = pickle.dumps(detector)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert (again.id, again.path) == (detector.id, str(file))
    assert copy.copy(detector) is detector and copy.deepcopy(detector) is detector

    bytes_of_another = bytearray(file.read_bytes())
    bytes_of_another[-1] ^= 1
    file.write_bytes(bytes_of_another)
    with pytest.raises(riad.ModelError, match="is not the model that was pickled") as raised:
        pickle.loads(pickled)
    assert raised.value.path == str(file)
    file.unlink()
    with pytest.raises(riad.FileError):
        pickle.loads(pickled)


def test_a_pickle_knows_its_file_from_another_folder(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    pickled = pickle.dumps(riad.Detector("run", precision="f32"))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickled).path == str(made.run)


def test_a_run_is_a_path_and_is_pickled(made: Made) -> None:
    run = pickle.loads(pickle.dumps(riad.Run(made.run)))
    assert os.fspath(run) == str(made.run)
    assert riad.Detector(run).id == riad.Detector(made.run).id


def test_importing_takes_neither_numpy_nor_long() -> None:
    # Of the processor: a busy machine takes longer, which is not the package's doing.
    code = "import sys, time; t = time.process_time(); import riad; print(time.process_time() - t, 'numpy' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    times, loads = zip(*(run.stdout.split() for run in runs))
    assert set(loads) == {"False"}
    assert min(map(float, times)) < 0.1
