"""What the extension gives; the package gives it out under its own name."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ._errors import Error
from ._types import Region, Verdict

__all__ = [
    "Detector",
    "Inspection",
    "Inspections",
    "Run",
    "_Plane",
    "__version__",
    "_reopened",
    "auroc",
    "average_precision",
    "calibrate",
    "evaluate",
    "gms",
    "masks",
    "msgms",
    "pixel_metrics",
    "ssim",
    "state_dict",
    "train",
    "with_weights",
]
__version__: str

class _Array(Protocol):
    def __array__(self) -> NDArray[Any]: ...

class _ArrayInterface(Protocol):
    @property
    def __array_interface__(self) -> Mapping[str, Any]: ...

_Path: TypeAlias = str | os.PathLike[str]
_Image: TypeAlias = _Path | bytes | bytearray | memoryview | NDArray[Any] | _Array | _ArrayInterface
_Pixels: TypeAlias = int | tuple[int, int]
_Precision: TypeAlias = Literal["f32", "bf16"]
_Tell: TypeAlias = Callable[[dict[str, Any]], object]

@final
class Detector:
    def __new__(cls, model: _Path, *, bands: str | None = None, precision: _Precision | None = None) -> Detector: ...
    def inspect(self, image: _Image, *, fpr: float | None = None, confidence: float | None = None) -> Inspection: ...
    def inspect_many(
        self, paths: Iterable[_Path] | _Path, *, fpr: float | None = None, confidence: float | None = None
    ) -> Inspections: ...
    def threshold(self, fpr: float | None = None, confidence: float | None = None) -> float: ...
    def facts(self) -> dict[str, str]: ...
    @property
    def path(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def tiled(self) -> bool: ...
    @property
    def calibration(self) -> NDArray[np.float32] | None: ...
    def __copy__(self) -> Detector: ...
    def __deepcopy__(self, _memo: object, /) -> Detector: ...
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]: ...

@final
class Inspection:
    @property
    def path(self) -> str | None: ...
    @property
    def error(self) -> Error | None: ...
    @property
    def score(self) -> float: ...
    @property
    def p_value(self) -> float | None: ...
    @property
    def original_size(self) -> tuple[int, int]: ...
    @property
    def map(self) -> NDArray[np.float32]: ...
    def verdict(self, fpr: float | None = None, confidence: float | None = None) -> Verdict: ...
    def regions(self, fpr: float | None = None, confidence: float | None = None) -> list[Region]: ...
    def overlay(self, fpr: float | None = None, confidence: float | None = None) -> NDArray[np.uint8]: ...
    def heat_map(self) -> NDArray[np.uint8]: ...
    def save_overlay(self, path: _Path, fpr: float | None = None, confidence: float | None = None) -> None: ...
    def _repr_png_(self) -> bytes | None: ...
    def _repr_html_(self) -> str: ...

@final
class Inspections(Iterator[Inspection]):
    def __iter__(self) -> Inspections: ...
    def __next__(self) -> Inspection: ...

@final
class Run:
    def __new__(cls, folder: _Path) -> Run: ...
    @property
    def path(self) -> str: ...
    @property
    def finished(self) -> bool | None: ...
    def history(self) -> list[dict[str, Any]]: ...
    def __fspath__(self) -> str: ...
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]: ...

def _reopened(model: _Path, id: str, bands: str | None, precision: str) -> Detector: ...
def train(
    data: _Path,
    tell: _Tell,
    *,
    out: _Path | None = None,
    layout: str | None = None,
    time: float | None = None,
    protocol: str | None = None,
    method: str | None = None,
    loss: str | None = None,
    regions: Sequence[int] | None = None,
    sets: int | None = None,
    input: str | None = None,
    chroma: float | None = None,
    similarity: str | None = None,
    smoothing: int | None = None,
    scales: int | None = None,
    preset: str | None = None,
    channels: int | None = None,
    white_level: int | None = None,
    size: _Pixels | None = None,
    tile: _Pixels | None = None,
    overlap: int | None = None,
    roi: _Path | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    patience: int | None = None,
    validation: float | None = None,
    calibration: float | None = None,
    group_by: str | None = None,
    without: _Path | None = None,
    bands: str | None = None,
    precision: str | None = None,
    seed: int | None = None,
) -> Run: ...
def calibrate(
    model: _Path,
    pictures: Sequence[_Path],
    tell: _Tell,
    *,
    out: _Path | None = None,
    without: _Path | None = None,
    roi: _Path | None = None,
    bands: str | None = None,
    precision: str | None = None,
) -> tuple[str, NDArray[np.float32], int]: ...
def evaluate(
    model: _Path,
    good: Sequence[_Path],
    bad: Sequence[_Path],
    tell: _Tell,
    *,
    synthetic: int | None = None,
    fpr: float | None = None,
    confidence: float | None = None,
    report: _Path | None = None,
    bands: str | None = None,
    precision: str | None = None,
) -> dict[str, Any]: ...
def auroc(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float: ...
def average_precision(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float: ...
def pixel_metrics(
    maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], limit: float
) -> tuple[float, float, float]: ...
def masks(k: int, n: int, shape: tuple[int, int], seed: int) -> NDArray[np.bool_]: ...
def msgms(a: NDArray[np.float32], b: NDArray[np.float32], batch: tuple[int, int, int, int]) -> float: ...
def gms(a: NDArray[np.float32], b: NDArray[np.float32], batch: tuple[int, int, int, int]) -> float: ...
def ssim(a: NDArray[np.float32], b: NDArray[np.float32], batch: tuple[int, int, int, int]) -> float: ...
def state_dict(model: _Path) -> bytes: ...
def with_weights(like: _Path, weights: _Path, out: _Path) -> None: ...
@final
class _Plane:
    @property
    def __array_interface__(self) -> dict[str, Any]: ...
