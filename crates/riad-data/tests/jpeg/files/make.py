"""Writes the JPEGs in this folder, in which everything is.

    pip install numpy pillow imagecodecs && python make.py
"""

from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
W, H = 50, 37  # no multiple of a block's side, or of several blocks'
y, x = np.mgrid[:H, :W]
noise = np.random.default_rng(0).integers(0, 60, (H, W, 3))
RGB = (np.stack([40 + 3 * x, 30 + 4 * y, 190 - 2 * x - y], -1) + noise).astype(np.uint8)
rgb, gray = Image.fromarray(RGB), Image.fromarray(RGB[..., 1].copy())

gray.save(HERE / "gray.jpg", quality=70)
gray.save(HERE / "gray_progressive.jpg", quality=70, progressive=True)
for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
    rgb.save(HERE / f"{name}.jpg", quality=60, subsampling=subsampling, optimize=name == "422")
    rgb.save(HERE / f"{name}_progressive.jpg", quality=60, subsampling=subsampling, progressive=True)
rgb.save(HERE / "restarts.jpg", quality=60, restart_marker_blocks=2)
rgb.save(HERE / "restarts_progressive.jpg", quality=60, restart_marker_blocks=3, progressive=True)
rgb.convert("CMYK").save(HERE / "cmyk.jpg", quality=50)
rgb.save(HERE / "perfect.jpg", quality=100, subsampling=0)
# Two pictures, and a picture with a preview, each with the index of the Multi-Picture Format.
rgb.save(HERE / "two.mpo", quality=60, save_all=True, append_images=[rgb.rotate(180)])
rgb.save(HERE / "preview.mpo", quality=60, save_all=True, append_images=[rgb.resize((W // 2, H // 2))])
(HERE / "unsupported_12_bits.jpg").write_bytes(imagecodecs.jpeg8_encode(RGB[..., 1].astype(np.uint16) * 16, bitspersample=12))
(HERE / "unsupported_lossless.jpg").write_bytes(imagecodecs.ljpeg_encode(RGB[..., 1].astype(np.uint16)))
print(sum(f.stat().st_size for f in HERE.iterdir()), "bytes")
