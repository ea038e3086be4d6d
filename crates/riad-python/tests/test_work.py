"""Training, calibrating, evaluating."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import riad
from conftest import Made, write

SETTINGS: dict[str, Any] = dict(size=32, method="restore", epochs=3, batch=2, calibration=0.5, validation=0.1, seed=0)


def bytes_of(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in ("best.safetensors", "last.safetensors", "history.csv")]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where whoever began the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def straight(made: Made, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What a run leaves that was never stopped."""
    run = riad.train(made.good, out=tmp_path_factory.mktemp("straight") / "run", **SETTINGS)
    assert run.finished
    return bytes_of(Path(run.path))


def test_ctrl_c_stops_and_the_same_call_goes_on_to_the_same_bytes(
    made: Made, straight: list[bytes], tmp_path: Path, interruptible: None
) -> None:
    steps: list[int] = []

    def progress(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps.append(event["done"])
            if len(steps) == 4:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        riad.train(made.good, out=tmp_path / "run", progress=progress, **SETTINGS)
    assert len(steps) >= 4
    run = riad.train(made.good, out=tmp_path / "run", **SETTINGS)
    assert run.finished
    assert bytes_of(tmp_path / "run") == straight
    # Nothing is left to do.
    assert riad.train(made.good, out=tmp_path / "run").finished


def test_what_a_listener_raises_stops_too(made: Made, straight: list[bytes], tmp_path: Path) -> None:
    def progress(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            raise ZeroDivisionError("a listener's own")

    with pytest.raises(ZeroDivisionError, match="a listener's own"):
        riad.train(made.good, out=tmp_path / "run", progress=progress, **SETTINGS)
    assert riad.train(made.good, out=tmp_path / "run", **SETTINGS).finished
    assert bytes_of(tmp_path / "run") == straight


def test_a_killed_process_is_taken_up_by_the_next(made: Made, straight: list[bytes], tmp_path: Path) -> None:
    code = (
        "import sys, os, riad\n"
        "def progress(event):\n"
        "    if event['event'] == 'epoch' and event['epoch'] == 2: os.kill(os.getpid(), 9)\n"
        f"riad.train({str(made.good)!r}, out={str(tmp_path / 'run')!r}, progress=progress, **{SETTINGS!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    run = riad.train(made.good, out=tmp_path / "run", **SETTINGS)
    assert run.finished
    assert bytes_of(tmp_path / "run") == straight


def test_time_ends_a_session(made: Made, straight: list[bytes], tmp_path: Path) -> None:
    run = riad.train(made.good, out=tmp_path / "run", time=0.0, **SETTINGS)
    assert run.finished is False
    assert riad.train(made.good, out=tmp_path / "run", **SETTINGS).finished
    assert bytes_of(tmp_path / "run") == straight
    for seconds in (-1.0, float("nan")):
        with pytest.raises(riad.RequestError):
            riad.train(made.good, out=tmp_path / "run", time=seconds)


def test_a_run_holds_to_its_settings_and_images(made: Made, tmp_path: Path) -> None:
    data = write(tmp_path / "good", range(6))
    riad.train(data, out=tmp_path / "run", size=32, method="restore", epochs=1, calibration=0.0)
    with pytest.raises(riad.RunError, match="size") as raised:
        riad.train(data, out=tmp_path / "run", size=64)
    assert raised.value.path == str(tmp_path / "run")
    (data / "000.png").write_bytes((data / "001.png").read_bytes())
    with pytest.raises(riad.RunError):
        riad.train(data, out=tmp_path / "run")
    (data / "002.png").write_bytes(b"no image")
    with pytest.raises(riad.Error, match="002.png"):
        riad.train(data, out=tmp_path / "another", size=32, epochs=1)
    assert not (tmp_path / "another").exists()
    for wrong in ({"preset": "huge"}, {"method": "magic"}, {"protocol": "other"}, {"size": 0}, {"calibration": 2.0}):
        with pytest.raises(riad.Error):
            riad.train(made.good, out=tmp_path / "wrong", **wrong)
    with pytest.raises(TypeError):
        riad.train(made.good, out=tmp_path / "wrong", sizes=32)  # type: ignore[call-arg]
    assert not (tmp_path / "wrong").exists()


def test_progress_is_shown_as_bars_or_lines(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    few: dict[str, Any] = SETTINGS | {"epochs": 1}
    riad.train(made.good, out=tmp_path / "bars", progress=True, **few)
    assert "step" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    riad.train(made.good, out=tmp_path / "lines", progress=True, **few)
    said = capsys.readouterr().err
    assert "epoch 1 of 1: loss" in said and "training has finished" in said
    riad.train(made.good, out=tmp_path / "silent", **few)
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_other_threads_run_while_one_trains(made: Made, tmp_path: Path) -> None:
    done = threading.Event()
    ticks = 0

    def train() -> None:
        riad.train(made.good, out=tmp_path / "run", **SETTINGS)
        done.set()

    thread = threading.Thread(target=train)
    thread.start()
    while not done.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 20


def test_losses_are_a_table(made: Made) -> None:
    table = pd.DataFrame(riad.Run(made.run).history())
    assert list(table["epoch"]) == [1]
    written = pd.read_csv(made.run / "history.csv")
    for column in ("train", "train_l2", "validation_msgms"):
        assert table[column][0] == written[column][0]


def test_an_evaluation_is_a_table_and_a_page(made: Made, detector: riad.Detector, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    evaluation = riad.evaluate(made.run, good=made.fresh, bad=[made.bad], fpr=0.1, report=report)
    assert report.read_text().startswith("<!doctype html>") or "<html" in report.read_text()[:300]
    table = pd.DataFrame(evaluation.rows)
    assert list(table["label"]) == [0] * 10 + [1] * 5
    for row in evaluation.rows:
        found = detector.inspect(Path(evaluation.data) / row["path"], fpr=0.1)
        assert (found.score, found.verdict()) == (row["score"], row["verdict"])
    auroc = evaluation.metrics["image_auroc"]
    assert auroc == pytest.approx(riad.metrics.auroc(table["score"].to_numpy(), table["label"].to_numpy()))
    assert evaluation.results()["settings"]["aupro_limit"] == 0.3
    with pytest.raises(riad.Error):
        riad.evaluate(made.run, good=tmp_path / "nothing", bad=made.bad)
    with pytest.raises(riad.RequestError, match="once given as good"):
        riad.evaluate(made.run, good=made.bad, bad=made.bad)


def test_defects_can_be_made_up(made: Made) -> None:
    first = riad.evaluate(made.run, good=made.fresh, synthetic=1, fpr=0.1)
    again = riad.evaluate(made.run, good=made.fresh, synthetic=1, fpr=0.1)
    assert first == again
    assert {row["label"] for row in first.rows} == {0, 1}
    assert first.metrics["pixel_auroc"] is not None


def test_a_calibration_is_of_other_good_images(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "model.safetensors"
    fresh = write(tmp_path / "fresh", range(300, 320))
    (fresh / "broken.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "riad"):
        calibrated = riad.calibrate(made.run, fresh, out=out)
    assert calibrated.model == str(out)
    assert calibrated.faults == 1 and "broken.png" in caplog.text
    assert calibrated.scores.dtype == np.float32 and len(calibrated.scores) == 20
    detector = riad.Detector(out)
    assert detector.calibration is not None and np.array_equal(detector.calibration, calibrated.scores)
    scores = sorted(np.float32(found.score) for found in detector.inspect_many(fresh) if found.error is None)
    assert list(calibrated.scores) == scores
    with pytest.raises(riad.RequestError, match="used in training or validation"):
        riad.calibrate(made.run, made.good, out=out)
    with pytest.raises(riad.RequestError, match="name the file"):
        riad.calibrate(out, fresh)


def test_ctrl_c_stops_an_evaluation(made: Made, interruptible: None) -> None:
    def progress(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        riad.evaluate(made.run, good=made.fresh, bad=made.bad, progress=progress)
