"""Writes the image files in this folder and what Pillow sees in them (expected.json).

    pip install numpy pillow imagecodecs tifffile && python make.py

expected.json: per file the upright size, every 13th pixel as 16-bit RGB (row by row; 8-bit samples times 257), and the
tolerance in 8-bit steps: 0 for lossless files, 1 where alpha is blended in 8 bits, more for JPEG and lossy WebP, whose
decoders may differ in their rounding and chroma upsampling.
"""

import json
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

HERE = Path(__file__).parent
W, H = 20, 12
y, x = np.mgrid[:H, :W]
# Smooth, so that JPEG keeps it, and without any symmetry, so that no wrong turn goes unnoticed.
RGB = np.stack([40 + 9 * x, 30 + 15 * y, 200 - 5 * x - 4 * y], -1).astype(np.uint8)
GRAY = (20 + 7 * x + 8 * y).astype(np.uint8)
ALPHA = np.clip(30 * x - 60, 0, 255).astype(np.uint8)
expected = {}


def expect(name, pixels16, tolerance=0):
    pixels16 = np.asarray(pixels16)
    if pixels16.ndim == 2:
        pixels16 = np.repeat(pixels16[..., None], 3, -1)
    expected[name] = {
        "height": pixels16.shape[0],
        "width": pixels16.shape[1],
        "tolerance": tolerance,
        "every_13th_pixel": pixels16.astype(int).reshape(-1, 3)[::13].ravel().tolist(),
    }


def pillow(name, tolerance=0):
    """What Pillow reads: upright, transparency over black."""
    image = ImageOps.exif_transpose(Image.open(HERE / name))
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    expect(name, np.asarray(image.convert("RGB")).astype(int) * 257, tolerance)


def save(name, image, tolerance=0, **options):
    image.save(HERE / name, **options)
    pillow(name, tolerance)


def png(name, samples, depth, color_type, extra=b""):
    """Writes the PNG kinds that Pillow cannot; `samples` is height × width × channels."""
    rows = np.asarray(samples).reshape(H, -1)
    if depth == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = ((rows[..., None].astype(int) >> np.arange(depth)[::-1]) & 1).reshape(H, -1)
        lines = [np.packbits(line.astype(np.uint8)).tobytes() for line in bits]
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", W, H, depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    content = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + content)


rgb, gray = Image.fromarray(RGB), Image.fromarray(GRAY)
rgba, la = Image.fromarray(np.dstack([RGB, ALPHA])), Image.fromarray(np.dstack([GRAY, ALPHA]), "LA")
palette = rgb.quantize(16)

save("gray8.png", gray)
save("rgb8.png", rgb)
save("gray_alpha.png", la, 1)
save("rgba.png", rgba, 1)
save("palette.png", palette)
save("palette_transparent.png", palette, 1, transparency=3)
for depth in (1, 2, 4):
    levels = (GRAY.astype(int) * 2**depth) // 256
    png(f"gray{depth}.png", levels, depth, 0)
    expect(f"gray{depth}.png", levels * 65535 // (2**depth - 1))
rgb16 = RGB.astype(int) * 250 + x[..., None] * 3 + 7
gray16 = GRAY.astype(int) * 250 + y * 5 + 3
alpha16 = ALPHA.astype(int) * 257
over_black = lambda value, alpha: np.floor(value * alpha / 65535 + 0.5)
png("rgb16.png", rgb16, 16, 2)
expect("rgb16.png", rgb16)
png("gray16.png", gray16, 16, 0)
expect("gray16.png", gray16)
png("rgba16.png", np.dstack([rgb16, alpha16]), 16, 6)
expect("rgba16.png", over_black(rgb16, alpha16[..., None]))
png("gray_alpha16.png", np.dstack([gray16, alpha16]), 16, 4)
expect("gray_alpha16.png", over_black(gray16, alpha16))

save("rgb.jpg", rgb, 3, quality=95, subsampling=0)
save("gray.jpg", gray, 2, quality=95)
save("progressive.jpg", rgb, 3, quality=95, subsampling=0, progressive=True)
cmyk = np.dstack([255 - RGB, (8 * y + 4).astype(np.uint8)])
# Pillow writes Adobe's inverted samples.
save("cmyk.jpg", Image.fromarray(cmyk, "CMYK"), 4, quality=95)
ycck = imagecodecs.jpeg8_encode(255 - cmyk, level=95, colorspace="CMYK", outcolorspace="YCCK")
(HERE / "ycck.jpg").write_bytes(ycck)
pillow("ycck.jpg", 4)


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


for value in range(1, 9):
    save(f"orientation{value}.jpg", rgb, 3, quality=95, subsampling=0, exif=oriented(value))
save("orientation6.png", rgb, exif=oriented(6))
save("orientation6.webp", rgb, lossless=True, exif=oriented(6))
tifffile.imwrite(HERE / "orientation6.tif", RGB, photometric="rgb", metadata=None, extratags=[(274, "H", 1, 6, False)])
pillow("orientation6.tif")

save("rgb.bmp", rgb)
save("gray.bmp", gray)
save("palette.bmp", palette)
save("rgb.tif", rgb, compression="tiff_lzw")
save("onebit.tif", gray.convert("1"))
tifffile.imwrite(HERE / "gray16.tif", gray16.astype(np.uint16), metadata=None)
expect("gray16.tif", gray16)
save("lossless.webp", rgb, lossless=True)
save("lossy.webp", rgb, 6, quality=95)
other = Image.fromarray(255 - RGB)
save("animated.webp", rgb, save_all=True, append_images=[other], lossless=True)
save("first_frame.gif", palette, save_all=True, append_images=[other.quantize(16)])
save("binary.ppm", rgb)

# Files that are refused.
tifffile.imwrite(HERE / "refused_float.tif", (GRAY / 255).astype(np.float32), metadata=None)
tifffile.imwrite(HERE / "refused_float_rgb.tif", (RGB / 255).astype(np.float32), photometric="rgb", metadata=None)

(HERE / "expected.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items()) + "\n}" + "\n")
print(len(expected), "files,", sum(f.stat().st_size for f in HERE.iterdir()), "bytes")
