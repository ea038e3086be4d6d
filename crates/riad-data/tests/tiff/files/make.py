"""Writes the TIFFs in this folder and what NumPy holds of them (expected.json).

    pip install numpy pillow imagecodecs tifffile && python make.py

expected.json: per file the size, every 13th pixel as 16-bit RGB (row by row; samples of n bits times 65535 / (2^n - 1)), and the
tolerance in steps of 1/255. The files whose names begin with refused_ are not to be read.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

HERE = Path(__file__).parent
W, H = 20, 12
y, x = np.mgrid[:H, :W]
RGB = np.stack([40 + 9 * x, 30 + 15 * y, 200 - 5 * x - 4 * y], -1).astype(np.uint8)
GRAY = (20 + 7 * x + 8 * y).astype(np.uint8)
ALPHA = np.clip(30 * x - 60, 0, 255).astype(np.uint8)
BITS = GRAY > 128
expected = {}


def expect(name, values, tolerance=0.01):
    """`values` in [0, 1]."""
    values = np.asarray(values, np.float64)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, -1)
    expected[name] = {
        "height": values.shape[0],
        "width": values.shape[1],
        "tolerance": tolerance,
        "every_13th_pixel": np.rint(values * 65535).astype(int).reshape(-1, 3)[::13].ravel().tolist(),
    }


def save(name, array, values=None, tolerance=0.01, **options):
    tifffile.imwrite(HERE / name, array, metadata=None, **options)
    if values is not None:
        expect(name, values, tolerance)


gray = {"photometric": "minisblack"}
rgb = {"photometric": "rgb"}

# Packed samples.
for bits in (1, 2, 3, 4, 6, 10, 12, 14):
    levels = (GRAY.astype(int) * (2**bits - 1) // 255).astype(np.uint16 if bits > 8 else np.uint8)
    save(f"gray{bits}.tif", levels, levels / (2**bits - 1), bitspersample=bits, **gray)
levels = (RGB.astype(int) * 4095 // 255).astype(np.uint16)
packed = [imagecodecs.packints_encode(row.ravel(), 12) for row in levels]


def raw(name, tags, data, order="<"):
    """A TIFF of one strip by its tags."""
    tags = {256: W, 257: H, 278: H, 279: len(data), **tags}
    tags = {tag: value for tag, value in tags.items() if value is not None}
    out = io.BytesIO()
    out.write({"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 0))
    offset = out.tell()
    out.write(data)
    if 513 in tags:
        tags[513] = offset
    else:
        tags.setdefault(273, offset)
    entries = []
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, (list, tuple)) else [value]
        kind = 4 if tag in (273, 279, 513, 514) else 3
        body = struct.pack(order + "IH"[kind == 3] * len(values), *values)
        if len(body) > 4:
            out.seek(0, 2)
            place = out.tell()
            out.write(body)
            body = struct.pack(order + "I", place)
        entries.append(struct.pack(order + "HHI", tag, kind, len(values)) + body.ljust(4, b"\0"))
    out.seek(0, 2)
    place = out.tell()
    out.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", 0))
    out.seek(4)
    out.write(struct.pack(order + "I", place))
    (HERE / name).write_bytes(out.getvalue())


raw("rgb12.tif", {258: [12] * 3, 259: 1, 262: 2, 277: 3}, b"".join(packed))
expect("rgb12.tif", levels / 4095)
# Samples begin with their highest bit whatever the order of bytes.
raw("rgb12_big_endian.tif", {258: [12] * 3, 259: 1, 262: 2, 277: 3}, b"".join(packed), ">")
expect("rgb12_big_endian.tif", levels / 4095)

# Alpha: colours that were multiplied by it, and colours that were not.
seen = lambda value: value / 255 * (ALPHA / 255)[(...,) + (None,) * (value.ndim - 2)]
times = lambda value: np.rint(seen(value) * 255).astype(np.uint8)
save("gray_alpha_unassociated.tif", np.dstack([GRAY, ALPHA]), seen(GRAY), 0.01, planarconfig="contig", extrasamples=["unassalpha"], **gray)
save("gray_alpha_associated.tif", np.dstack([times(GRAY), ALPHA]), times(GRAY) / 255, planarconfig="contig", extrasamples=["assocalpha"], **gray)
save("rgb_alpha_unassociated.tif", np.dstack([RGB, ALPHA]), seen(RGB), 0.01, extrasamples=["unassalpha"], **rgb)
save("rgb_alpha_associated.tif", np.dstack([times(RGB), ALPHA]), times(RGB) / 255, extrasamples=["assocalpha"], **rgb)
wide = np.dstack([RGB, ALPHA]).astype(np.uint16) * 257
save("rgb16_alpha_unassociated.tif", wide, seen(RGB), 0.01, extrasamples=["unassalpha"], **rgb)
save("rgb_alpha_planar.tif", np.moveaxis(np.dstack([RGB, ALPHA]), -1, 0).copy(), seen(RGB), 0.01, planarconfig="separate", extrasamples=["unassalpha"], **rgb)
save("refused_transparent.tif", np.dstack([RGB, ALPHA * 0]), extrasamples=["unassalpha"], **rgb)

# Palettes.
indices = (x + y) % 16
colours = RGB.reshape(-1, 3)[:256]
colours = np.vstack([colours, np.zeros((16, 3), np.uint8)])[:256]
full = colours.T.astype(np.uint16) * 257
save("palette8.tif", indices.astype(np.uint8) * 3, colours[indices * 3] / 255, photometric="palette", colormap=full)
raw("palette4.tif", {258: 4, 259: 1, 262: 3, 277: 1, 320: [int(v) << 8 for v in colours[:16].T.ravel()]}, bytes((indices[:, ::2] << 4 | indices[:, 1::2]).astype(np.uint8)))
expect("palette4.tif", colours[indices] / 255)

# Ink: as much light as the ink and the black leave.
cmyk = np.dstack([255 - RGB, (8 * y + 4).astype(np.uint8)])
light = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255 / 255
save("cmyk.tif", cmyk, light, 0.51, photometric="separated")
save("cmyk16.tif", cmyk.astype(np.uint16) * 257, light, 0.01, photometric="separated")

# White is 0.
save("white_is_zero.tif", 255 - GRAY, GRAY / 255, photometric="miniswhite")
save("white_is_zero_1.tif", ~BITS, BITS, photometric="miniswhite", bitspersample=1)

# JPEG inside, decoded by Pillow.
for name, array, photometric, options in [
    ("jpeg_ycbcr.tif", RGB, "ycbcr", {"subsampling": (1, 1)}),
    ("jpeg_rgb.tif", RGB, "rgb", {}),
    ("jpeg_gray.tif", GRAY, "minisblack", {}),
    ("jpeg_tiles.tif", RGB, "ycbcr", {"subsampling": (1, 1), "tile": (16, 16)}),
]:
    save(name, array, photometric=photometric, compression="jpeg", compressionargs={"level": 95}, **options)
    expect(name, np.asarray(Image.open(HERE / name)) / 255, 3)
jpeg = io.BytesIO()
Image.fromarray(RGB).save(jpeg, "JPEG", quality=95, subsampling=0)
raw("jpeg_old.tif", {258: [8] * 3, 259: 6, 262: 6, 277: 3, 278: None, 279: None, 513: 0, 514: len(jpeg.getvalue())}, jpeg.getvalue())
expect("jpeg_old.tif", np.asarray(Image.open(jpeg)) / 255, 3)

# Layouts, compressions, sizes of places.
save("bigtiff.tif", RGB, RGB / 255, bigtiff=True, **rgb)
save("bigtiff_big_endian.tif", RGB.astype(np.uint16) * 251, RGB.astype(int) * 251 / 65535, bigtiff=True, byteorder=">", **rgb)
save("planar.tif", np.moveaxis(RGB, -1, 0).copy(), RGB / 255, planarconfig="separate", **rgb)
save("planar_cut_tiles.tif", np.moveaxis(RGB, -1, 0).copy(), RGB / 255, planarconfig="separate", tile=(16, 16), **rgb)
save("tiles.tif", RGB, RGB / 255, tile=(16, 16), compression="zlib", predictor=2, **rgb)
save("strips.tif", RGB, RGB / 255, rowsperstrip=5, compression="lzw", **rgb)
save("lzw_predictor_big_endian.tif", RGB.astype(np.uint16) * 251, RGB.astype(int) * 251 / 65535, byteorder=">", compression="lzw", predictor=2, **rgb)
save("packbits.tif", RGB // 64 * 64, RGB // 64 * 64 / 255, compression="packbits", **rgb)
# Deflate: as it should be, and strips of 5 rows of which the last is filled up to 5 of them.
noise = np.random.default_rng(0).integers(0, 256, RGB.shape, np.uint8)
save("deflate.tif", noise, noise / 255, compression="zlib", **rgb)
filled = np.vstack([RGB, np.zeros((3, W, 3), np.uint8)])
strips = [zlib.compress(filled[top : top + 5].tobytes()) for top in range(0, H, 5)]
lens = [len(strip) for strip in strips]
raw("deflate_filled.tif", {258: [8] * 3, 259: 8, 262: 2, 277: 3, 278: 5, 279: lens, 273: [8 + sum(lens[:i]) for i in range(3)]}, b"".join(strips))
expect("deflate_filled.tif", RGB / 255)
# LZW and PackBits: the same, and LZW of pixels that repeat.
save("lzw_flat.tif", RGB // 64 * 64, RGB // 64 * 64 / 255, compression="lzw", **rgb)
for name, number, encode in [("lzw", 5, imagecodecs.lzw_encode), ("packbits", 32773, imagecodecs.packbits_encode)]:
    save(f"{name}_noise.tif", noise, noise / 255, compression=name, **rgb)
    strips = [encode(filled[top : top + 5].tobytes()) for top in range(0, H, 5)]
    lens = [len(strip) for strip in strips]
    raw(f"{name}_filled.tif", {258: [8] * 3, 259: number, 262: 2, 277: 3, 278: 5, 279: lens, 273: [8 + sum(lens[:i]) for i in range(3)]}, b"".join(strips))
    expect(f"{name}_filled.tif", RGB / 255)
for group in ("group3", "group4"):
    Image.fromarray(BITS).save(HERE / f"{group}.tif", compression=group)
    expect(f"{group}.tif", BITS)

# Bits that begin with the lowest.
reverse = lambda data: bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
bits = np.packbits(BITS, axis=1).tobytes()
raw("reversed_1.tif", {258: 1, 259: 1, 262: 1, 266: 2, 277: 1}, reverse(bits))
expect("reversed_1.tif", BITS)
levels = (GRAY.astype(int) * 4095 // 255).astype(np.uint16)
packed = b"".join(imagecodecs.packints_encode(row, 12) for row in levels)
raw("reversed_12.tif", {258: 12, 259: 1, 262: 1, 266: 2, 277: 1}, reverse(packed))
expect("reversed_12.tif", levels / 4095)
raw("reversed_lzw.tif", {258: 8, 259: 5, 262: 1, 266: 2, 277: 1}, reverse(imagecodecs.lzw_encode(GRAY.tobytes())))
expect("reversed_lzw.tif", GRAY / 255)
fax = tifffile.TiffFile(HERE / "group4.tif").pages[0]
data = (HERE / "group4.tif").read_bytes()[fax.dataoffsets[0] :][: fax.databytecounts[0]]
photometric = int(fax.photometric)
raw("reversed_group4.tif", {258: 1, 259: 4, 262: photometric, 266: 2, 277: 1}, reverse(data))
expect("reversed_group4.tif", BITS)

# More pages than one.
other = 255 - RGB
with tifffile.TiffWriter(HERE / "two_of_three_pages.tif") as file:
    file.write(RGB[::4, ::4].copy(), metadata=None, subfiletype=1, **rgb)
    file.write(RGB, metadata=None, **rgb)
    file.write(other, metadata=None, **rgb)
expect("two_of_three_pages.tif", RGB / 255)

# A thumbnail in front, marked as such or not, and the picture within its page, as in DNG.
for name, mark in [("within_thumbnail.tif", 1), ("within_unmarked.tif", None)]:
    with tifffile.TiffWriter(HERE / name) as file:
        file.write(other[::4, ::4].copy(), metadata=None, subifds=2, subfiletype=mark, **rgb)
        file.write(other[::2, ::2].copy(), metadata=None, subfiletype=1, **rgb)
        file.write(RGB, metadata=None, subfiletype=0, **rgb)
expect("within_thumbnail.tif", RGB / 255)
expect("within_unmarked.tif", other[::4, ::4] / 255)
with tifffile.TiffWriter(HERE / "refused_within_thumbnail.tif") as file:
    file.write(RGB[::4, ::4].copy(), metadata=None, subifds=1, subfiletype=1, **rgb)
    file.write(GRAY, metadata=None, subfiletype=0, photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)])

# What is not read.
save("refused_zstd.tif", RGB, compression="zstd", **rgb)
save("refused_webp.tif", RGB, compression="webp", **rgb)
save("refused_lzma.tif", RGB, compression="lzma", **rgb)
save("refused_lab.tif", RGB, photometric="cielab")
save("refused_cfa.tif", GRAY, photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)])
save("refused_u32.tif", GRAY.astype(np.uint32), **gray)
save("refused_i16.tif", GRAY.astype(np.int16), **gray)
save("refused_f32.tif", (GRAY / 255).astype(np.float32), **gray)
raw("refused_different_bits.tif", {258: [5, 6, 5], 259: 1, 262: 2, 277: 3}, bytes(W * H * 2))
raw("refused_png.tif", {258: 8, 259: 34933, 262: 1, 277: 1}, bytes(W * H))
raw("refused_run_lengths.tif", {258: 1, 259: 2, 262: 1, 277: 1}, bytes(W * H))
raw("refused_ycbcr.tif", {258: [8] * 3, 259: 1, 262: 6, 277: 3}, bytes(W * H * 3))

(HERE / "expected.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items()) + "\n}\n")
print(len(expected), "files,", sum(f.stat().st_size for f in HERE.iterdir()), "bytes")
