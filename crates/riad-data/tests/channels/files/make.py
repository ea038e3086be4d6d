"""Writes the files in this folder, images of other numbers of channels than three, and what NumPy holds of them.

    pip install numpy tifffile imagecodecs && python make.py

expected.json: per file its channels, height and width, and every 5th value of the array [channels, height, width] in [0, 1].
The files whose names begin with refused_ are not to be read.
"""

import json
from pathlib import Path

import numpy as np
import tifffile

HERE = Path(__file__).parent
H, W = 5, 7
expected = {}


def planes(count, kind):
    """Without any symmetry, so that no exchange of axes goes unnoticed; over the whole range."""
    c, y, x = np.mgrid[:count, :H, :W]
    values = (c * 53 + y * 31 + x * 17 + c * y * x * 3) % 256
    return (values * (257 if kind == np.uint16 else 1)).astype(kind) + (np.uint16(3) * (values < 200) if kind == np.uint16 else 0)


def expect(name, array):
    array = np.asarray(array)
    white = {"u": {1: 255, 2: 65535}, "f": {4: 1, 8: 1}, "b": {1: 1}}[array.dtype.kind][array.dtype.itemsize]
    values = array.astype(np.float64) / white
    expected[name] = {
        "shape": list(values.shape),
        "every_5th_value": [float(f"{value:.8g}") for value in values.flatten()[::5]],
    }


def tif(name, pages, array, **options):
    """`array` is [channels, height, width]."""
    with tifffile.TiffWriter(HERE / name, byteorder=">" if "big_endian" in name else "<") as file:
        for page in pages:
            file.write(page, metadata=None, **options)
    if not name.startswith("refused_"):
        expect(name, array)


def npy(name, stored, array=None):
    np.save(HERE / name, stored)
    if not name.startswith("refused_"):
        expect(name, array)


u8, u16 = planes(4, np.uint8), planes(4, np.uint16).astype(np.uint16)
gray = {"photometric": "minisblack"}
last = lambda array: np.ascontiguousarray(np.moveaxis(array, 0, -1))

tif("pages_u8.tif", u8, u8, **gray)
tif("pages_u16_lzw_big_endian.tif", u16, u16, compression="lzw", predictor=2, **gray)
tif("samples_u16.tif", [last(u16)], u16, planarconfig="contig", **gray)
tif("samples_u8_deflate.tif", [last(u8)], u8, planarconfig="contig", compression="zlib", **gray)
tif("samples_planar_u16.tif", [u16], u16, planarconfig="separate", **gray)
tif("rgba_u8.tif", [last(u8)], u8, photometric="rgb", extrasamples=["unassalpha"])
six = planes(6, np.uint8)
tif("two_rgb_pages.tif", [last(six[:3]), last(six[3:])], six, photometric="rgb")
two = planes(2, np.uint8)
tif("tiles.tif", [np.pad(page, ((0, 11), (0, 9)))[:H, :W] for page in two], two, tile=(16, 16), **gray)
tif("cut_planar_tiles.tif", [u8], u8, planarconfig="separate", tile=(16, 16), **gray)
# Stored lying; viewers turn it a quarter to the right.
tif("orientation6.tif", two, np.rot90(two, -1, (1, 2)), extratags=[(274, "H", 1, 6, True)], **gray)
three = planes(3, np.uint16).astype(np.uint16)
tif("three_pages.tif", three, three, **gray)
tif("three_samples.tif", [last(three)], three, planarconfig="contig", **gray)

with tifffile.TiffWriter(HERE / "thumbnail.tif") as file:
    for page in two:
        file.write(page, metadata=None, **gray)
        file.write(page[::2, ::2], metadata=None, subfiletype=1, **gray)
expect("thumbnail.tif", two)

tif("refused_sizes.tif", [u8[0], u8[1], u8[2], u8[3][:, :6]], None, **gray)
tif("refused_unknown_sample.tif", [last(u8)], None, photometric="rgb", extrasamples=["unspecified"])
tif("refused_float.tif", (u8 / 255).astype(np.float32), None, **gray)
tif("refused_signed.tif", u8.astype(np.int16), None, **gray)
tif("refused_u32.tif", u8.astype(np.uint32), None, **gray)

npy("hw_u8.npy", u8[0], u8[:1])
npy("hwc_u8.npy", last(u8), u8)
npy("chw_u16.npy", u16, u16)
npy("hwc_u16_big_endian.npy", last(u16).astype(">u2"), u16)
f32 = (u16 / 65535).astype(np.float32)
npy("chw_f32.npy", f32, f32)
npy("hwc_f32_big_endian.npy", last(f32).astype(">f4"), f32)
npy("chw_f64_fortran.npy", np.asfortranarray(u16 / 65535), u16 / 65535)
npy("hwc_u8_fortran.npy", np.asfortranarray(last(u8)), u8)
npy("hw_f64_big_endian.npy", (u8[1] / 255).astype(">f8"), u8[1:2] / 255)
npy("chw_bool.npy", u8 > 127, u8 > 127)
with open(HERE / "version3.npy", "wb") as file:
    np.lib.format.write_array(file, u8, version=(3, 0))
expect("version3.npy", u8)

npy("refused_int64.npy", u8.astype(np.int64))
npy("refused_float16.npy", f32.astype(np.float16))
npy("refused_range.npy", f32 * 255)
nan = f32.copy()
nan[2, 3, 1] = np.nan
npy("refused_nan.npy", nan)
npy("refused_ambiguous.npy", np.zeros((4, 6, 4), np.uint8))
npy("refused_4d.npy", u8[None])
npy("refused_1d.npy", u8.ravel())
npy("refused_empty.npy", np.zeros((4, 0, 7), np.uint8))
npy("refused_structure.npy", np.zeros((H, W), [("a", "u1"), ("b", "u1")]))
npy("refused_complex.npy", f32.astype(np.complex64))

(HERE / "expected.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items()) + "\n}\n")
print(len(expected), "files,", sum(f.stat().st_size for f in HERE.iterdir()), "bytes")
