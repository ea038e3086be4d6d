"""How well scores and maps tell defects from what is good.

A score is higher where a defect is more likely. Values equal scikit-learn's. Scores are compared as float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import _riad  # pyright: ignore[reportPrivateUsage]
from ._errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["aupro", "auroc", "average_precision"]


def _scores(scores: ArrayLike) -> NDArray[np.float32]:
    import numpy as np

    return np.asarray(scores, dtype=np.float32).reshape(-1)


def _labels(labels: ArrayLike) -> NDArray[np.bool_]:
    import numpy as np

    return np.asarray(np.asarray(labels).reshape(-1) != 0, dtype=np.bool_)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the receiver operating characteristic: the chance that a defect scores above a good sample, equal scores counting
    half.

    ``labels`` are 0 for a good sample, and anything else for a defect.

    >>> riad.metrics.auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return _riad.auroc(_scores(scores), _labels(labels))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Precision averaged over the defects in order of their scores, without interpolation.

    >>> round(riad.metrics.average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    return _riad.average_precision(_scores(scores), _labels(labels))


def aupro(maps: Iterable[ArrayLike], masks: Iterable[ArrayLike], limit: float = 0.3) -> float:
    """Area under the per-region overlap up to a false-positive rate of ``limit``, divided by that.

    ``maps`` are anomaly maps ``(height, width)``, one after the other or as one array. ``masks`` have their sizes, and are 0 where
    nothing is wrong.

    >>> import numpy
    >>> mask = numpy.zeros((8, 8))
    >>> mask[2:4, 2:4] = 1
    >>> riad.metrics.aupro([mask], [mask])
    1.0
    """
    import numpy as np

    def planes(arrays: Iterable[ArrayLike], what: str) -> list[NDArray[Any]]:
        planes = [np.asarray(array) for array in arrays]
        for plane in planes:
            if plane.ndim != 2:
                raise RequestError(f"{what} has the shape {plane.shape}, and should have (height, width)")
        return planes

    of_maps = [plane.astype(np.float32) for plane in planes(maps, "a map")]
    of_masks = [np.not_equal(plane, 0) for plane in planes(masks, "a mask")]
    if len(of_maps) != len(of_masks):
        raise RequestError(f"there are {len(of_maps)} maps and {len(of_masks)} masks; each map has one")
    _, _, aupro = _riad.pixel_metrics(of_maps, of_masks, limit)
    return aupro
