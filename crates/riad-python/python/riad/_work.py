"""Work that takes a while: training, calibrating, evaluating."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union

from . import _riad  # pyright: ignore[reportPrivateUsage]
from ._progress import Progress, teller
from ._riad import Run
from ._types import Calibrated, Evaluation

Path = Union[str, "os.PathLike[str]"]
"""A path of a file or a folder."""

Paths = Union[Path, Iterable[Path]]
"""One path, or several."""

if TYPE_CHECKING:
    Pixels = Union[int, tuple[int, int]]


def _several(paths: Paths | None) -> list[Path]:
    if paths is None:
        return []
    if isinstance(paths, (str, os.PathLike)):
        return [paths]
    return list(paths)


def train(
    data: Path,
    *,
    out: Path | None = None,
    preset: Literal["tiny", "small", "paper"] | None = None,
    size: Pixels | None = None,
    method: Literal["riad", "restore", "autoencoder"] | None = None,
    protocol: Literal["default", "paper"] | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    calibration: float | None = None,
    validation: float | None = None,
    time: float | None = None,
    progress: Progress = False,
    layout: str | None = None,
    bands: str | None = None,
    channels: int | None = None,
    white_level: int | None = None,
    roi: Path | None = None,
    tile: Pixels | None = None,
    overlap: int | None = None,
    group_by: str | None = None,
    without: Path | None = None,
    loss: str | None = None,
    regions: Sequence[int] | None = None,
    sets: int | None = None,
    input: str | None = None,
    chroma: float | None = None,
    similarity: str | None = None,
    smoothing: int | None = None,
    scales: int | None = None,
    patience: int | None = None,
    precision: Literal["f32", "bf16"] | None = None,
) -> Run:
    """Trains on the good images below a folder, or on a category of a data set whose layout is told by what is there.

    The run lies in the folder ``out``, by default ``runs/`` and the name of ``data``. Where there is a run already, it goes on: after
    Ctrl-C, a kill, or when ``time``, in seconds, is up. Ctrl-C stops at the next good place, and is raised as ``KeyboardInterrupt``
    then. A run that goes on ends with the same bytes as one that was never stopped. What is ``None`` takes the protocol's default.

    Images are resized to ``size``, 128 by default; ``preset`` is the size of the network, ``"tiny"`` by default. ``calibration`` is the
    share of the images that is held out for thresholds; 19 of them allow a false-positive rate of 0.05. By default it is a tenth from
    185 images on, and none of fewer. With restoration the images for validation set the threshold as well, so 93 images are enough. The
    other settings are those of ``riad train``, which its help explains.

    ``progress=True`` shows bars where tqdm is installed, or else lines. A function is called with each event instead.

    >>> run = riad.train(GOOD, out=OUT, size=32, epochs=1, method="restore", calibration=0.5)
    >>> run.finished
    True
    >>> riad.train(GOOD, out=OUT, size=64)
    Traceback (most recent call last):
        ...
    riad._errors.RunError: the run in ... was started with another value of size; ...
    """
    settings: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name not in ("data", "progress") and value is not None
    }
    return _riad.train(data, teller(progress), **settings)


def calibrate(
    model: Path,
    pictures: Paths,
    *,
    out: Path | None = None,
    without: Path | None = None,
    roi: Path | None = None,
    bands: str | None = None,
    precision: Literal["f32", "bf16"] | None = None,
    progress: Progress = False,
) -> Calibrated:
    """Gives a model thresholds, from good images that it was not trained with.

    ``pictures`` are files and folders of good images. A run is calibrated in place; of a file the calibrated model goes to ``out``,
    which may be the same file. Images that cannot be read are left out, and named to the logger ``riad``.

    >>> calibrated = riad.calibrate(RUN, FRESH, out=COPY)
    >>> len(calibrated.scores)
    10
    >>> riad.Detector(COPY).threshold(fpr=0.1) in calibrated.scores
    True
    """
    done = _riad.calibrate(
        model, _several(pictures), teller(progress), out=out, without=without, roi=roi, bands=bands, precision=precision
    )
    return Calibrated(*done)


def evaluate(
    model: Path,
    good: Paths | None = None,
    bad: Paths | None = None,
    *,
    synthetic: int | None = None,
    fpr: float | None = None,
    confidence: float | None = None,
    report: Path | None = None,
    bands: str | None = None,
    precision: Literal["f32", "bf16"] | None = None,
    progress: Progress = False,
) -> Evaluation:
    """Measures a model on pictures that are known to be good or bad: files, and folders with their subfolders.

    The subfolders of ``bad`` name kinds of defects. With the seed ``synthetic``, defects are made up on the good pictures, or without
    those on what the run held out. With no picture at all, the model's run is measured on the test images of its data set. Verdicts
    are given at the rate ``fpr``, 0.05 by default. ``report`` is the HTML file that a page with all pictures is written to.

    >>> evaluation = riad.evaluate(RUN, good=FRESH, bad=BAD, fpr=0.1)
    >>> evaluation.rows[0]["label"], evaluation.rows[0]["verdict"]
    (0, 'good')
    >>> 0.0 <= evaluation.metrics["image_auroc"] <= 1.0
    True
    """
    found = _riad.evaluate(
        model,
        _several(good),
        _several(bad),
        teller(progress),
        synthetic=synthetic,
        fpr=fpr,
        confidence=confidence,
        report=report,
        bands=bands,
        precision=precision,
    )
    return Evaluation(**found)
