"""How unlike two images are: the terms of the method's loss. 0 is for equal images.

Images are arrays ``(height, width)``, ``(height, width, channels)``, or several as ``(images, height, width, channels)``. They hold
uint8, uint16, or floats in [0, 1], the range that the constants of GMS and SSIM belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _riad  # pyright: ignore[reportPrivateUsage]
from ._errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Batch = tuple[NDArray[np.float32], tuple[int, int, int, int]]

__all__ = ["gms", "msgms", "ssim"]


def _batch(images: ArrayLike) -> Batch:
    import numpy as np

    values = np.asarray(images)
    if values.ndim == 2:
        values = values[None, :, :, None]
    elif values.ndim == 3:
        values = values[None]
    elif values.ndim != 4:
        raise RequestError(
            f"the images have the shape {values.shape}, and should have (height, width), (height, width, channels) or (images, "
            "height, width, channels)"
        )
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        values = values / np.float32(np.iinfo(values.dtype).max)
    elif values.dtype.kind != "f":
        raise RequestError(f"the images hold {values.dtype}, and should hold uint8, uint16 or floats in [0, 1]")
    elif values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RequestError(f"the images' values lie in [{values.min()}, {values.max()}], and floats should lie in [0, 1]")
    n, h, w, c = values.shape
    planes = np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)
    return planes.reshape(-1), (n, c, h, w)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int, int]]:
    (a, shape), (b, other) = _batch(a), _batch(b)
    if shape != other:
        raise RequestError(f"only images of one shape compare, and these have {shape} and {other} (images, channels, height, width)")
    return a, b, shape


def msgms(a: ArrayLike, b: ArrayLike) -> float:
    """The mean over four scales of 1 - GMS, the similarity of the images' edges in grey.

    >>> import numpy
    >>> image = numpy.random.default_rng(0).random((32, 32, 3))
    >>> riad.losses.msgms(image, image)
    0.0
    """
    return _riad.msgms(*_pair(a, b))


def gms(a: ArrayLike, b: ArrayLike) -> float:
    """The mean over the pixels of 1 - GMS, at the images' own scale alone.

    >>> import numpy
    >>> image = numpy.random.default_rng(0).random((32, 32, 3))
    >>> riad.losses.gms(image, 1 - image) < 1e-6 < riad.losses.gms(image, image / 2)
    True
    """
    return _riad.gms(*_pair(a, b))


def ssim(a: ArrayLike, b: ArrayLike) -> float:
    """One minus the mean SSIM of all windows of 11 pixels that lie within the images.

    >>> import numpy
    >>> image = numpy.random.default_rng(0).random((32, 32, 3))
    >>> abs(riad.losses.ssim(image, image)) < 1e-7 < riad.losses.ssim(image, 1 - image)
    True
    """
    return _riad.ssim(*_pair(a, b))
