"""Looking at images on a cluster, with Ray (``pip install riad[ray]``). ``examples/ray/score.py`` is a whole program.

>>> import ray.data  # doctest: +SKIP
>>> images = ray.data.read_binary_files("photos", include_paths=True)  # doctest: +SKIP
>>> images.map_batches(Inspector, fn_constructor_args=["runs/lid"], batch_format="pyarrow", num_cpus=0.5)  # doctest: +SKIP
"""

# What it builds on has no types, or is not installed.
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ._errors import Error
from ._riad import Detector, Inspection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._work import Path

__all__ = ["SCHEMA", "Inspector", "done"]

_REGION = pa.struct(
    [(name, pa.int64()) for name in ("x", "y", "width", "height", "area")] + [("peak", pa.float32())],
)

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("digest", pa.string()),
        ("model", pa.string()),
        ("fpr", pa.float64()),
        ("confidence", pa.float64()),
        ("score", pa.float32()),
        ("p_value", pa.float64()),
        ("verdict", pa.string()),
        ("regions", pa.list_(_REGION)),
        ("error", pa.string()),
    ]
)
"""The columns of results. ``digest`` is the SHA-256 of the image's file, ``model`` the model's id. ``fpr`` and ``confidence`` are
what the verdict was asked with. If an image cannot be looked at, there is ``error`` instead of results."""


def _key(path: str, digest: str, model: str, fpr: float | None, confidence: float | None) -> bytes:
    parts = (path, digest, model, repr(fpr), repr(confidence))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


def done(folder: Path) -> NDArray[np.bytes_]:
    """What the Parquet files below a folder hold results of, for :class:`Inspector` to pass over.

    A file that a crash cut off is removed, and its images are looked at again. An image that had an error is looked at again as well,
    and so is one that has a row of another rate. A file of something else is an error, and stays.
    """
    columns = ["path", "digest", "model", "fpr", "confidence", "error"]
    keys: list[bytes] = []
    for file in sorted(glob.glob(os.path.join(glob.escape(os.fspath(folder)), "**", "*.parquet"), recursive=True)):
        try:
            schema = pyarrow.parquet.read_schema(file)
        except (pa.ArrowInvalid, OSError) as error:
            # Storage that fails for an instant says so by a number, and a file without its end has none.
            if getattr(error, "errno", None) is not None:
                raise
            os.remove(file)
            continue
        if missing := [name for name in columns if name not in schema.names]:
            raise ValueError(f"{file} holds no results of riad.ray: it has no column {missing[0]}; choose another folder")
        table = pyarrow.parquet.read_table(file, columns=columns)
        for *image, fault in zip(*(table.column(name).to_pylist() for name in columns)):
            if fault is None:
                keys.append(_key(*image))
    return np.sort(np.array(keys, dtype="S16"))


class Inspector:
    """What ``ray.data.Dataset.map_batches`` calls with batches of images, and what it gives is a table of :data:`SCHEMA`.

    A batch has a column ``path``, and one of:

    - ``bytes``, the content of the files, as ``ray.data.read_binary_files(..., include_paths=True)`` gives it. One file that cannot be
      read is a row with an error, and scores have the digits of ``riad score``.
    - ``image``, arrays, as ``ray.data.read_images(..., include_paths=True)`` gives them. Pillow has decoded them then: JPEG files differ
      by a step here and there, and one unreadable file ends the whole job, unless Ray is told otherwise.
    - neither: the files are read here, from storage that every node sees.

    ``model`` is a path that every node sees, or a :class:`riad.Detector`, of which every node checks that its file is the same. With
    ``fpr`` there are verdicts and regions. ``passed_over`` is what :func:`done` gave, or a reference to it in Ray's object store.
    ``threads`` is how many threads an actor computes with: as many as Ray has reserved processors for it, and at least one, if it is
    ``None``.
    """

    def __init__(
        self,
        model: Path | Detector,
        *,
        fpr: float | None = None,
        confidence: float | None = None,
        passed_over: Any = None,
        threads: int | None = None,
    ) -> None:
        # It counts as long as nothing was computed in this process, which is Ray's for this actor.
        threads = int(os.environ.setdefault("RAYON_NUM_THREADS", str(threads or _reserved())))
        # One image is decoded while another one is scored.
        self._pool = ThreadPoolExecutor(max(1, threads))
        self._detector = model if isinstance(model, Detector) else Detector(model)
        self._fpr, self._confidence = fpr, confidence
        if fpr is not None:
            self._detector.threshold(fpr, confidence)
        if passed_over is not None and not isinstance(passed_over, np.ndarray):
            import ray

            passed_over = ray.get(passed_over)
        self._passed_over: NDArray[np.bytes_] | None = passed_over

    def __call__(self, batch: Any) -> pa.Table:
        """Looks at a batch: a table of pyarrow, or a dictionary of columns."""
        columns = batch.column_names if isinstance(batch, pa.Table) else list(batch)
        paths: list[str] = _listed(batch["path"])
        rows: Iterable[dict[str, Any] | None]
        if "bytes" in columns:
            rows = self._pool.map(self._of_bytes, paths, _listed(batch["bytes"]))
        elif "image" in columns:
            rows = self._pool.map(self._of_array, paths, batch["image"])
        else:
            rows = self._files(paths)
        return pa.Table.from_pylist([row for row in rows if row is not None], schema=SCHEMA)

    def _is_done(self, path: str, digest: str) -> bool:
        if self._passed_over is None or not len(self._passed_over):
            return False
        key = np.array(_key(path, digest, self._detector.id, self._fpr, self._confidence), dtype="S16")
        at = int(np.searchsorted(self._passed_over, key))
        return at < len(self._passed_over) and bool(self._passed_over[at] == key)

    def _of_bytes(self, path: str, content: bytes) -> dict[str, Any] | None:
        return self._of_image(path, hashlib.sha256(content).hexdigest(), bytes(content))

    def _of_array(self, path: str, image: Any) -> dict[str, Any] | None:
        array = np.asarray(image)
        digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
        return self._of_image(path, digest.hexdigest(), array)

    def _of_image(self, path: str, digest: str, image: Any) -> dict[str, Any] | None:
        """The row of an image, unless it has one already."""
        if self._is_done(path, digest):
            return None
        try:
            found = self._detector.inspect(image)
        except Error as error:
            # What has no file is told of by its name here.
            return self._failed(path, digest, str(error).replace("the image in memory", path))
        return self._row(path, digest, found)

    def _files(self, paths: list[str]) -> Iterator[dict[str, Any]]:
        digests: dict[str, str] = {}
        fresh: list[str] = []
        for path in paths:
            try:
                with open(path, "rb") as file:
                    digests[path] = hashlib.sha256(file.read()).hexdigest()
            except OSError:
                digests[path] = ""
            if not self._is_done(path, digests[path]):
                fresh.append(path)
        for path, found in zip(fresh, self._detector.inspect_many(fresh)):
            if found.error is not None:
                yield self._failed(path, digests[path], str(found.error))
            else:
                yield self._row(path, digests[path], found)

    def _row(self, path: str, digest: str, found: Inspection) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
        row |= self._of(path, digest)
        row |= {"score": np.float32(found.score), "p_value": found.p_value}
        if self._fpr is not None:
            row["verdict"] = found.verdict(self._fpr, self._confidence)
            row["regions"] = [region._asdict() for region in found.regions(self._fpr, self._confidence)]
        return row

    def _failed(self, path: str, digest: str, error: str) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
        return row | self._of(path, digest) | {"error": error}

    def _of(self, path: str, digest: str) -> dict[str, Any]:
        """What tells a row from others of the same image."""
        model = self._detector.id
        return {"path": path, "digest": digest, "model": model, "fpr": self._fpr, "confidence": self._confidence}


def _listed(column: Any) -> list[Any]:
    return list(column.to_pylist() if isinstance(column, (pa.Array, pa.ChunkedArray)) else column)


def _reserved() -> int:
    """Processors that Ray has reserved for this actor, at least one."""
    try:
        import ray

        context: Any = ray.get_runtime_context()
        resources = context.get_assigned_resources()
    except Exception:  # Ray is not there, or runs nothing here.
        return 1
    return max(1, int(resources.get("CPU", 1)))
