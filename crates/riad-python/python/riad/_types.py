"""Values that calls give."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Verdict = Literal["good", "defective", "not_this_product"]
"""What a threshold makes of an image."""


class Region(NamedTuple):
    """A part of an image that is anomalous, in pixels of the image file, upright."""

    x: int
    """The first column of the box around it."""
    y: int
    """The first row of the box around it."""
    width: int
    """Columns of the box, at least 1."""
    height: int
    """Rows of the box, at least 1."""
    area: int
    """Pixels of it, at least 1."""
    peak: float
    """The largest value of the map in it."""


class Row(TypedDict):
    """What an evaluation found in one image."""

    path: str
    """Below the evaluation's :attr:`Evaluation.data`, with forward slashes."""
    label: int
    """1 for a defect, 0 for a good image."""
    defect: str | None
    """The kind of the defect."""
    score: float
    """In the digits that ``riad`` prints."""
    verdict: Verdict | None
    """At the evaluation's rate; ``None`` if the model has no threshold for it."""


@dataclass(frozen=True)
class Evaluation:
    """How good a model is. ``pandas.DataFrame(evaluation.rows)`` is a table of the images."""

    name: str
    """What the product is called."""
    data: str
    """The folder that the images lie in."""
    model: str
    """The model's folder or file."""
    sentence: str
    """How good it is at its threshold, in one sentence, or why it has none."""
    caution: str | None
    """What to know before the numbers are taken for those of a test."""
    notes: list[str]
    """What was left out, and which metrics are not defined."""
    rows: list[Row]
    """What was found in each image."""
    json: str
    """What ``riad eval`` writes to ``results.json``."""

    def results(self) -> dict[str, Any]:
        """What ``riad eval`` writes to ``results.json``, as a dictionary."""
        results: dict[str, Any] = json.loads(self.json)
        return results

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics as fractions of 1; ``None`` where the images do not define them."""
        names = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "f1_max")
        (category,) = self.results()["categories"].values()
        return {name: category[name] for name in names}


class Calibrated(NamedTuple):
    """A calibration that was made."""

    model: str
    """The file of the calibrated model."""
    scores: NDArray[np.float32]
    """The scores of the good images, in ascending order."""
    faults: int
    """How many images could not be scored. The logger ``riad`` was told of each."""
