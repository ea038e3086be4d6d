"""Finds defects in pictures of products after seeing only good ones.

>>> detector = riad.Detector(RUN)
>>> found = detector.inspect(PHOTO)
>>> print(found.verdict(fpr=0.1), found.regions(fpr=0.1))
good []
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import losses, metrics
from ._errors import Error, FileError, ImageError, ModelError, NotCalibratedError, RequestError, RunError
from ._riad import Detector, Inspection, Inspections, Run, __version__
from ._riad import masks as _masks
from ._types import Calibrated, Evaluation, Region, Row, Verdict
from ._work import calibrate, evaluate, train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Calibrated",
    "Detector",
    "Error",
    "Evaluation",
    "FileError",
    "Inspection",
    "ImageError",
    "Inspections",
    "ModelError",
    "NotCalibratedError",
    "Region",
    "RequestError",
    "Row",
    "Run",
    "RunError",
    "Verdict",
    "__version__",
    "calibrate",
    "evaluate",
    "losses",
    "masks",
    "metrics",
    "train",
]


def masks(k: int, n: int, shape: tuple[int, int], seed: int = 0) -> NDArray[np.bool_]:
    """Deals the cells of ``k`` by ``k`` pixels of an image of ``shape`` into ``n`` random disjoint sets.

    The array is ``(n, height, width)``, and true where the set hides a pixel. Every pixel is hidden in one set. Equal arguments give
    equal masks on every machine, and those that the method draws from the same seed.

    >>> masks = riad.masks(k=8, n=3, shape=(64, 48), seed=0)
    >>> masks.shape, bool((masks.sum(axis=0) == 1).all())
    ((3, 64, 48), True)
    """
    return _masks(k, n, shape, seed)
