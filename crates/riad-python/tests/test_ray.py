"""Ray, on a cluster of two nodes that live on this machine."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import riad
from conftest import Made, write

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import riad.ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = Path(__file__).parents[3] / "examples" / "ray"


def example(name: str) -> ModuleType:
    """A program of the folder examples/ray, by value: other processes need not find it."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    module = importlib.import_module(name)
    ray.cloudpickle.register_pickle_by_value(module)
    return module


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def photos(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images, of which two cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    write(folder / "good", range(400, 440))
    write(folder / "bad", range(500, 518), defect=True)
    (folder / "bad" / "text.png").write_text("no image")
    (folder / "bad" / "empty.png").touch()
    return folder


def rows(out: Path) -> list[dict[str, Any]]:
    """All rows, by path."""
    files = sorted(out.glob("**/*.parquet"))
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row["path"])


def test_results_depend_on_nothing_but_images_and_model(made: Made, photos: Path, cluster: Any, tmp_path: Path) -> None:
    score = example("score").score
    first = tmp_path / "first"
    score(str(photos), str(made.run), str(first), fpr=0.1, workers=1, batch=7, blocks=3)
    second = tmp_path / "second"
    score(str(photos), str(made.run), str(second), fpr=0.1, workers=2, batch=16, blocks=11)
    found = rows(first)
    assert found == rows(second)
    assert [row["path"] for row in found] == sorted(str(path) for path in photos.glob("*/*.png"))
    # The same as without Ray.
    detector = riad.Detector(made.run)
    for row, one in zip(found, detector.inspect_many([row["path"] for row in found], fpr=0.1)):
        if one.error is not None:
            assert row["error"] == str(one.error)
            assert row["score"] is row["verdict"] is row["regions"] is None
            continue
        assert (row["score"], row["p_value"], row["verdict"]) == (one.map.max(), one.p_value, one.verdict())
        assert [(r["x"], r["y"], r["area"]) for r in row["regions"]] == [(r.x, r.y, r.area) for r in one.regions()]
        assert (row["model"], row["error"]) == (detector.id, None)
    assert sum(row["error"] is not None for row in found) == 2


def test_files_and_arrays_are_looked_at_as_bytes_are(made: Made, photos: Path) -> None:
    import numpy as np
    from PIL import Image

    paths = sorted(str(path) for path in (photos / "good").iterdir())[:5]
    inspector = riad.ray.Inspector(made.run, fpr=0.1)
    contents = [Path(path).read_bytes() for path in paths]
    images = [np.asarray(Image.open(path)) for path in paths]
    of_bytes = inspector({"path": paths, "bytes": contents}).to_pylist()
    assert inspector({"path": paths}).to_pylist() == of_bytes
    of_arrays = inspector({"path": paths, "image": images}).to_pylist()
    assert [row | {"digest": ""} for row in of_arrays] == [row | {"digest": ""} for row in of_bytes]
    missing = inspector({"path": ["no-such-file.png"]}).to_pylist()
    assert "no-such-file.png" in missing[0]["error"]


def test_a_second_run_looks_at_what_is_new_or_has_changed(made: Made, photos: Path, cluster: Any, tmp_path: Path) -> None:
    score = example("score").score
    mine, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, mine)
    assert score(str(mine), str(made.run), str(out)) == 0
    before = rows(out)
    assert score(str(mine), str(made.run), str(out)) == 58
    # Those with an error were tried again, and nothing else.
    again = Counter(row["path"] for row in rows(out))
    assert sorted(Path(path).name for path, count in again.items() if count > 1) == ["empty.png", "text.png"]
    changed = mine / "good" / "400.png"
    changed.write_bytes((mine / "bad" / "500.png").read_bytes())
    # A crash cut a file off.
    cut = sorted(out.glob("*.parquet"))[0]
    lost = {row["path"] for row in pq.read_table(cut).to_pylist()}
    cut.write_bytes(cut.read_bytes()[:50])
    score(str(mine), str(made.run), str(out))
    good = [row for row in rows(out) if row["error"] is None]
    counts = Counter((row["path"], row["digest"]) for row in good)
    assert set(counts.values()) == {1}
    assert lost <= {row["path"] for row in good} | {row["path"] for row in rows(out) if row["error"]}
    assert len(counts) == 59 - (str(changed) in lost)
    assert {row["path"] for row in before} == {row["path"] for row in rows(out)}


def test_what_is_done_counts_for_its_rate_and_nothing_of_others_is_removed(tmp_path: Path) -> None:
    row: dict[str, Any] = dict.fromkeys(riad.ray.SCHEMA.names)
    row |= {"path": "a.png", "digest": "0", "model": "1"}
    pq.write_table(pa.Table.from_pylist([row], schema=riad.ray.SCHEMA), tmp_path / "plain.parquet")
    plain = riad.ray.done(tmp_path)
    pq.write_table(pa.Table.from_pylist([row | {"fpr": 0.05}], schema=riad.ray.SCHEMA), tmp_path / "plain.parquet")
    assert len(plain) == len(riad.ray.done(tmp_path)) == 1 and plain[0] != riad.ray.done(tmp_path)[0]
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"price": [1.0]}), other)
    with pytest.raises(ValueError, match="other.parquet holds no results"):
        riad.ray.done(tmp_path)
    assert other.exists()


def test_a_node_that_is_killed_loses_nothing(made: Made, photos: Path, cluster: Any, tmp_path: Path) -> None:
    score = example("score").score
    expected = tmp_path / "expected"
    score(str(photos), str(made.run), str(expected))
    node = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    killed: list[int] = []
    out = tmp_path / "out"

    def kill() -> None:
        while not list(out.glob("*.parquet")):
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        killed.append(len(list(out.glob("*.parquet"))))

    killer = threading.Thread(target=kill)
    killer.start()
    score(str(photos), str(made.run), str(out), workers=3, cpus=1, batch=2, blocks=30)
    killer.join(timeout=60)
    assert killed
    found = rows(out)
    print(f"killed after {killed[0]} of {len(list(out.glob('*.parquet')))} files; {len(found)} rows")
    assert max(Counter(row["path"] for row in found).values()) == 1
    assert found == rows(expected)


def test_a_training_that_is_killed_ends_in_the_same_bytes(made: Made, cluster: Any, tmp_path: Path) -> None:
    module = example("train_many")
    settings = {"size": 32, "method": "restore", "epochs": 40, "batch": 2, "calibration": 0.4, "validation": 0.1}
    products = {"a": str(made.good), "b": str(made.good), "broken": str(made.bad / "200.png")}
    rows = module.train_many(products, str(tmp_path / "straight"), settings)
    assert [row["product"] for row in rows] == ["a", "b", "broken"]
    assert rows[0]["epochs"] == 40 and rows[0]["calibrated with"] == 10 and rows[0]["error"] is None
    assert rows[2]["error"]

    node = cluster.add_node(num_cpus=2, resources={"doomed": 2}, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    out = tmp_path / "killed" / "a"
    # It can run there alone until the node is gone, and another one with that name is there.
    task = ray.remote(num_cpus=1, resources={"doomed": 1}, max_retries=-1)(module.train)
    running = task.remote(str(made.good), str(out), settings)
    while not (out / "last.safetensors").exists():
        time.sleep(0.01)
    cluster.remove_node(node, allow_graceful=False)
    assert not ray.wait([running], timeout=0.1)[0], "it was done before it could be killed"
    cluster.add_node(num_cpus=2, resources={"doomed": 2}, object_store_memory=80 * 2**20)
    row = ray.get(running, timeout=300)
    assert row["error"] is None
    for name in ("best.safetensors", "last.safetensors", "history.csv"):
        assert (out / name).read_bytes() == (tmp_path / "straight" / "a" / name).read_bytes(), name
