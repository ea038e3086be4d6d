"""What is an image, beside paths and the content of files: arrays, and images of Pillow."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Content = bytes | tuple[str, str, np.ndarray[Any, np.dtype[np.uint8]]]


def content(image: object) -> Content:
    """Gives what a file of the image would hold: bytes, or an array's type, shape and bytes."""
    # Who has one of Pillow's images has imported Pillow.
    if "PIL.Image" in sys.modules:
        from PIL import Image

        if isinstance(image, Image.Image):
            return _of_pillow(image)
    if isinstance(image, memoryview):
        return image.tobytes()
    if not (hasattr(image, "__array__") or hasattr(image, "__array_interface__")):
        raise TypeError(
            "an image is a path, the bytes of an image file, a numpy array of the shape (height, width, channels) or "
            f"(height, width), or an image of Pillow, and not {type(image).__name__}"
        )
    import numpy as np

    return _of_array(np.asarray(image))


def _of_array(array: np.ndarray[Any, Any]) -> Content:
    import numpy as np

    if array.dtype.hasobject or array.dtype.fields is not None:
        raise TypeError(
            f"an image is no array of {array.dtype}; the types are uint8, uint16, float32, float64 (in [0, 1]) and bool"
        )
    values = np.ascontiguousarray(array)
    shape = "(" + "".join(f"{side}, " for side in array.shape) + ")"
    return array.dtype.str, shape, values.reshape(-1).view(np.uint8)


def _of_pillow(image: Image.Image) -> Content:
    import numpy as np
    from PIL import ImageOps

    # A file is looked at upright as well.
    image = ImageOps.exif_transpose(image)
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image = image.convert("RGB")
    if image.mode in ("L", "RGB", "F") or image.mode.startswith("I;16"):
        return _of_array(np.asarray(image))
    if image.mode == "1":
        return _of_array(np.asarray(image.convert("L")))
    if image.mode == "I":
        # What Pillow makes of some files of 16 bits.
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(
                f"the image's values of 32 bits lie in [{values.min()}, {values.max()}]; convert it to one of 16 bits first"
            )
        return _of_array(values.astype(np.uint16))
    # Palettes and transparency: what such a file means is decided where files are read.
    if image.mode in ("RGBa", "PA"):
        image = image.convert("RGBA")
    if image.mode == "La":
        image = image.convert("LA")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
