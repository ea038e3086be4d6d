"""A program that uses everything, which type checkers look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import riad


def all_of_it(run: Path, photo: Path, good: Path, bad: Path) -> int:
    """Looks at a photo in every way."""
    detector = riad.Detector(run)
    found = detector.inspect(photo, fpr=0.2)
    score: float = found.score
    verdict: riad.Verdict = found.verdict(fpr=0.1)
    p_value: float | None = found.p_value
    shapes = [found.map.shape, found.overlay().shape, found.heat_map().shape]
    regions = [region.x + region.width for region in found.regions()]
    detector.inspect(np.zeros((64, 64, 3), np.uint8))
    detector.inspect(photo.read_bytes())
    many = [one.score for one in detector.inspect_many([photo, str(photo)], fpr=0.1) if one.error is None]
    evaluation = riad.evaluate(run, good=[good], bad=bad, fpr=0.1)
    rows = [row["score"] for row in evaluation.rows if row["verdict"] == "defective"]
    auroc = riad.metrics.auroc([0.1, 0.2], [0, 1]) + (evaluation.metrics["image_auroc"] or 0.0)
    loss = riad.losses.msgms(np.zeros((16, 16)), np.zeros((16, 16)))
    masks = riad.masks(k=8, n=3, shape=(16, 16))
    try:
        riad.Detector("no-such-model")
    except riad.Error as error:
        assert error.path == "no-such-model"
    assert score >= 0 and auroc >= 0 and loss == 0 and masks.any() and p_value is not None and verdict
    return len(shapes) + len(regions) + len(many) + len(rows)
