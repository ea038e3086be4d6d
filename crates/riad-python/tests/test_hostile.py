"""Input that means harm, or that nobody thought of: each is an exception of ours that says why."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import riad
from conftest import Made


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (b"", riad.ImageError),
        (b"\x89PNG", riad.ImageError),
        (b"\x93NUMPY\x01\x00\xff\xff", riad.ImageError),
        (np.zeros((0, 5, 3), np.uint8), riad.ImageError),
        (np.zeros((5, 0, 3), np.uint8), riad.ImageError),
        (np.zeros((4, 4, 4), np.uint8), riad.ImageError),
        (np.zeros((4,), np.uint8), riad.ImageError),
        (np.zeros((), np.uint8), riad.ImageError),
        (np.zeros((2, 4, 4, 3), np.uint8), riad.ImageError),
        (np.zeros((4, 4, 3), np.int64), riad.ImageError),
        (np.zeros((4, 4, 3), np.float16), riad.ImageError),
        (np.zeros((4, 4, 3), np.complex64), riad.ImageError),
        (np.full((4, 4, 3), np.nan), riad.ImageError),
        (np.full((4, 4, 3), np.inf, np.float32), riad.ImageError),
        (np.full((4, 4, 3), 255.0), riad.ImageError),
        (np.full((4, 4, 3), -0.1), riad.ImageError),
        (np.array([["a", "b"]]), riad.ImageError),
        (np.array([[object()]]), TypeError),
        (np.zeros((4, 4), [("r", "u1"), ("g", "u1")]), TypeError),
        (np.datetime64("2020-01-01"), riad.ImageError),
        (None, TypeError),
        (3, TypeError),
        ([[1, 2], [3, 4]], TypeError),
        ("", riad.Error),
        ("a\0b", (riad.Error, ValueError)),
        ("no/such/file.png", riad.FileError),
        ("/dev/zero", riad.ImageError),
        ("/", riad.ImageError),
    ],
    ids=repr,
)
def test_what_is_no_image_is_refused(detector: riad.Detector, image: Any, error: Any) -> None:
    with pytest.raises(error) as raised:
        detector.inspect(image)
    assert str(raised.value)


def test_a_header_that_claims_gigabytes_takes_none(detector: riad.Detector) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(riad.ImageError, match="60000x60000"):
        detector.inspect(png)


def test_any_bytes_are_an_error_and_no_crash(made: Made, detector: riad.Detector) -> None:
    random = np.random.default_rng(0)
    png = (made.bad / "200.png").read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(png[: random.integers(1, len(png) + 1)])
        for at in random.integers(0, len(damaged), 3):
            damaged[at] = random.integers(256)
        try:
            detector.inspect(bytes(damaged))
        except riad.Error:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", riad.ModelError), (b"PK\x03\x04 no archive", riad.ModelError), (b"\xff" * 64, riad.ModelError)],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, error: type[riad.Error]) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(error) as raised:
        riad.Detector(file)
    assert raised.value.path == str(file)
    assert str(file) in str(raised.value)
    with pytest.raises(riad.Error):
        riad.Detector(tmp_path)
    with pytest.raises(riad.FileError):
        riad.Detector(tmp_path / "missing.safetensors")
    with pytest.raises(TypeError):
        riad.Detector(3)  # type: ignore[arg-type]


def test_settings_that_do_not_exist_are_refused(made: Made, detector: riad.Detector) -> None:
    for fpr in (0.0, 1.0, -1.0, 7.0, float("nan"), float("inf")):
        with pytest.raises(riad.RequestError):
            detector.threshold(fpr=fpr)
        with pytest.raises(riad.RequestError):
            detector.inspect_many([], fpr=fpr)
    with pytest.raises(riad.RequestError):
        detector.threshold(fpr=0.1, confidence=2.0)
    with pytest.raises(riad.Error, match="bf8"):
        riad.Detector(made.run, precision="bf8")  # type: ignore[arg-type]
    with pytest.raises(riad.Error):
        riad.Detector(made.run, bands="no braces")


def test_exceptions_are_pickled_with_their_paths() -> None:
    for name in ("Error", "RequestError", "NotCalibratedError", "ImageError", "ModelError", "FileError", "RunError"):
        error = getattr(riad, name)("what went wrong", "some/path")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.path) == (type(error), "what went wrong", "some/path")
    assert issubclass(riad.RequestError, ValueError) and issubclass(riad.FileError, OSError)
    assert issubclass(riad.NotCalibratedError, riad.RequestError)
