"""Looking at images, whatever they come as."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import subprocess
import weakref
from pathlib import Path

import numpy as np
import pytest
import riad
from conftest import Made, picture
from PIL import Image


def photo(made: Made) -> Path:
    return made.bad / "200.png"


def test_a_file_its_bytes_and_its_pixels_are_one_image(made: Made, detector: riad.Detector) -> None:
    file = photo(made)
    image = Image.open(file)
    array = np.asarray(image)
    of_file = detector.inspect(file)
    others = {
        "str": str(file),
        "bytes": file.read_bytes(),
        "bytearray": bytearray(file.read_bytes()),
        "memoryview": memoryview(file.read_bytes()),
        "pillow": image,
        "uint8": array,
        "uint16": array.astype(np.uint16) * 257,
        "big endian": (array.astype(np.uint16) * 257).astype(">u2"),
        "float32": array.astype(np.float32) / np.float32(255),
        "float64": array / 255,
        "channels first": np.ascontiguousarray(array.transpose(2, 0, 1)),
        "not contiguous": np.asfortranarray(array)[::1],
        "flipped twice": array[::-1][::-1],
    }
    for name, image in others.items():
        found = detector.inspect(image)  # type: ignore[arg-type]
        assert found.score == of_file.score, name
        assert np.array_equal(found.map, of_file.map), name
        assert np.array_equal(found.overlay(), of_file.overlay()), name
        assert found.path == (str(file) if name == "str" else None), name


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 100), (200, 130)])
def test_an_image_of_any_size_has_its_regions_and_pictures_at_that_size(
    detector: riad.Detector, height: int, width: int
) -> None:
    found = detector.inspect(picture(1, defect=True, height=height, width=width))
    assert found.original_size == (height, width)
    assert found.overlay().shape == found.heat_map().shape == (height, width, 3)
    assert found.overlay().dtype == np.uint8
    for region in found.regions(fpr=0.2):
        assert 0 <= region.x < region.x + region.width <= width
        assert 0 <= region.y < region.y + region.height <= height
        assert 1 <= region.area <= region.width * region.height


def test_pillows_modes_are_looked_at_as_their_files_are(detector: riad.Detector, tmp_path: Path) -> None:
    colours = Image.fromarray(picture(3, defect=True))
    half = colours.copy()
    half.putalpha(Image.fromarray(np.full((64, 64), 128, np.uint8)))
    modes = {mode: colours.convert(mode) for mode in ("RGB", "L", "P", "1")}
    modes |= {"RGBA": half, "LA": half.convert("LA")}
    modes["I;16"] = Image.fromarray(np.asarray(colours.convert("L")).astype(np.uint16) * 257)
    for mode, image in modes.items():
        file = tmp_path / f"{mode.replace(';', '')}.png"
        image.save(file)
        assert detector.inspect(image).score == detector.inspect(file).score, mode
    # As libjpeg writes it; the reader decodes CMYK itself.
    colours.convert("CMYK").save(tmp_path / "cmyk.tif")
    in_ints = Image.fromarray(np.asarray(colours.convert("L")).astype(np.int32) * 257)
    assert in_ints.mode == "I"
    assert detector.inspect(in_ints).score == detector.inspect(modes["I;16"]).score


def test_pillows_images_are_looked_at_upright(detector: riad.Detector) -> None:
    tall = Image.fromarray(picture(4, height=64, width=96))
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned
    file = io.BytesIO()
    tall.save(file, "PNG", exif=exif)
    found = detector.inspect(Image.open(file))
    assert found.original_size == (96, 64)
    assert found.score == detector.inspect(file.getvalue()).score


def test_a_score_has_the_digits_of_the_map_and_of_the_program(made: Made, detector: riad.Detector) -> None:
    found = detector.inspect(photo(made))
    assert np.float32(found.score) == found.map.max()
    # The shortest digits that tell the value from every other of 32 bits.
    assert repr(found.score) == str(np.float32(found.score))
    program = os.environ.get("RIAD")
    if program is None:
        pytest.skip("RIAD names no program to compare with")
    paths = sorted(str(path) for folder in (made.fresh, made.bad) for path in folder.iterdir())
    command = [program, "score", "--model", made.run, "--fpr", "0.1", *paths]

    def lines(*options: str) -> list[str]:
        return subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout.splitlines()

    found = list(detector.inspect_many(paths, fpr=0.1))
    ours = [(str(one.path), str(one.score), one.p_value, str(one.verdict())) for one in found]
    # A p-value of 1 is "1" there and "1.0" here, and the same number.
    theirs = [(path, score, float(p_value), verdict) for path, score, p_value, verdict in csv.reader(lines()[1:])]
    assert ours == theirs
    # JSON has the digits of 64 bits.
    for one, line in zip(found, lines("--format", "jsonl"), strict=True):
        row = json.loads(line)
        assert row["score"] == float(np.float32(one.score))
        regions = [region._asdict() | {"peak": float(np.float32(region.peak))} for region in one.regions()]
        assert row["regions"] == regions


def test_a_map_is_no_copy_and_outlives_what_it_came_from(made: Made) -> None:
    detector = riad.Detector(made.run)
    found = detector.inspect(photo(made))
    first, second = found.map, found.map
    assert first.ctypes.data == second.ctypes.data
    assert first.dtype == np.float32 and first.shape == (64, 64)
    assert not first.flags.writeable
    with pytest.raises(ValueError):
        first[0, 0] = 1
    with pytest.raises(ValueError):
        first.flags.writeable = True
    before = first.copy()
    gone = weakref.ref(first)
    del found, detector, first
    gc.collect()
    assert gone() is None
    assert np.array_equal(second, before)


def test_verdicts_follow_from_the_threshold(made: Made, detector: riad.Detector) -> None:
    assert detector.calibration is not None
    scores = detector.calibration
    assert len(scores) == 10 and list(scores) == sorted(scores)
    # Split conformal: of n scores the ⌈(n + 1)(1 − rate)⌉-th.
    for rate in (0.1, 0.2, 0.5):
        place = int(np.ceil((len(scores) + 1) * (1 - rate) - 1e-9))
        assert np.float32(detector.threshold(fpr=rate)) == scores[place - 1]
        for found in detector.inspect_many(made.fresh, fpr=rate):
            is_above = np.float32(found.score) > scores[place - 1]
            assert found.verdict() == ("defective" if is_above else "good")
            assert bool(found.regions()) == is_above
            above = (scores >= np.float32(found.score)).sum()
            assert found.p_value == (above + 1) / (len(scores) + 1)


def test_a_rate_is_remembered_until_another_is_asked_for(made: Made, detector: riad.Detector) -> None:
    score = min(found.score for found in detector.inspect_many(made.bad))
    found = detector.inspect(photo(made), fpr=0.5)
    assert found.verdict() == found.verdict(fpr=0.5)
    assert found.verdict(fpr=0.1) == ("defective" if found.score > detector.threshold(fpr=0.1) else "good")
    assert score > 0
    # Nothing was asked for, and 0.05 takes more images than there are.
    with pytest.raises(riad.NotCalibratedError, match="19"):
        detector.inspect(photo(made)).verdict()


def test_many_files_are_looked_at_in_their_order(made: Made, detector: riad.Detector) -> None:
    paths = sorted(made.fresh.iterdir()) + sorted(made.bad.iterdir())
    alone = [detector.inspect(path).score for path in paths]
    for given in (paths, [str(path) for path in paths], iter(paths), tuple(paths)):
        assert [found.score for found in detector.inspect_many(given)] == alone
    folder = list(detector.inspect_many(made.fresh))
    assert [found.path for found in folder] == [str(path) for path in paths[:10]]
    assert list(detector.inspect_many([])) == []


def test_an_unreadable_image_stops_nothing(made: Made, detector: riad.Detector, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(photo(made).read_bytes()[:200])
    bad = [tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "missing.png", tmp_path]
    good = sorted(made.fresh.iterdir())
    mixed = [path for pair in zip(bad, good) for path in pair]
    found = list(detector.inspect_many(mixed, fpr=0.1))
    assert [one.path for one in found] == [str(path) for path in mixed]
    for at, one in enumerate(found):
        if at % 2:
            assert one.error is None
            assert one.score == detector.inspect(mixed[at]).score
            continue
        assert isinstance(one.error, (riad.ImageError, riad.FileError))
        assert one.error.path == str(mixed[at])
        assert str(mixed[at]) in str(one.error)
        for what in ("score", "p_value", "map", "original_size"):
            with pytest.raises(type(one.error)):
                getattr(one, what)
        with pytest.raises(riad.Error):
            one.verdict()
        assert one._repr_png_() is None
        assert "<img" not in one._repr_html_()


def test_paths_are_taken_as_they_are_needed(made: Made, detector: riad.Detector) -> None:
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield photo(made)

    found = detector.inspect_many(endless())
    scores = {next(found).score for _ in range(300)}
    assert len(scores) == 1
    assert taken <= 512


def test_what_an_iterable_raises_comes_after_what_it_gave(made: Made, detector: riad.Detector) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield photo(made)
        yield photo(made)
        raise RuntimeError("the list ends here")

    found = detector.inspect_many(broken())
    assert next(found).error is None
    assert next(found).error is None
    with pytest.raises(RuntimeError, match="the list ends here"):
        next(found)
    assert list(found) == []
    with pytest.raises(TypeError):
        list(detector.inspect_many([1]))  # type: ignore[list-item]


def test_an_overlay_is_written_as_it_is(made: Made, detector: riad.Detector, tmp_path: Path) -> None:
    found = detector.inspect(photo(made))
    file = tmp_path / "new" / "overlay.png"
    found.save_overlay(file, fpr=0.5)
    assert np.array_equal(np.asarray(Image.open(file)), found.overlay(fpr=0.5))
    png = found._repr_png_()
    assert png is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), found.overlay())
    if found.regions(fpr=0.5):
        assert not np.array_equal(found.overlay(fpr=0.5), found.overlay())


def test_a_notebook_shows_the_overlay_and_no_markup_of_a_name(made: Made, detector: riad.Detector, tmp_path: Path) -> None:
    file = tmp_path / "<b>&'.png"
    file.write_bytes(photo(made).read_bytes())
    html = detector.inspect(file)._repr_html_()
    assert "data:image/png;base64," in html
    assert "<b>&'" not in html and "&lt;b&gt;&amp;&#x27;" in html


def test_what_is_known_of_a_model(made: Made, detector: riad.Detector) -> None:
    assert (detector.channels, detector.size, detector.tiled) == (3, (64, 64), False)
    assert detector.path == str(made.run)
    assert detector.facts()["channels"] == "3, RGB"
    assert repr(detector) == f'riad.Detector("{made.run}")'
