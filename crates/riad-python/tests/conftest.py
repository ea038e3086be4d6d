"""What the tests share: images that are made up here, and a run that learned from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import riad
from numpy.typing import NDArray
from PIL import Image

# The same number in every process that the tests begin.
os.environ.setdefault("RAYON_NUM_THREADS", "2")


def picture(seed: int, *, defect: bool = False, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    """A disc on a ramp, with some noise; a defect is a bright square with a dark edge."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / min(height, width)
    disc = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.12
    values = np.stack([0.3 + 0.2 * x + 0.3 * disc, 0.3 + 0.1 * y + 0.2 * disc, 0.4 + 0.1 * disc], axis=-1)
    values += random.normal(0, 0.01, values.shape)
    if defect:
        top, left = random.integers(16, 36, 2)
        values[top : top + 12, left : left + 12] = 0.05
        values[top + 3 : top + 9, left + 3 : left + 9] = 0.95
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def write(folder: Path, seeds: range, *, defect: bool = False) -> Path:
    """Writes pictures to a folder."""
    folder.mkdir(parents=True)
    for seed in seeds:
        Image.fromarray(picture(seed, defect=defect)).save(folder / f"{seed:03}.png")
    return folder


@dataclass(frozen=True)
class Made:
    """A small world."""

    folder: Path
    good: Path
    """20 good pictures that the run learned from."""
    fresh: Path
    """10 other good ones."""
    bad: Path
    """5 with a defect."""
    run: Path
    """A run of one epoch, with 10 scores of good pictures."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    good = write(folder / "good", range(20))
    fresh = write(folder / "fresh", range(100, 110))
    bad = write(folder / "bad", range(200, 205), defect=True)
    run = riad.train(
        good, out=folder / "run", size=64, method="restore", epochs=1, batch=2, calibration=0.4, validation=0.1, seed=0
    )
    assert run.finished
    return Made(folder, good, fresh, bad, Path(run.path))


@pytest.fixture(scope="session")
def detector(made: Made) -> riad.Detector:
    return riad.Detector(made.run)
