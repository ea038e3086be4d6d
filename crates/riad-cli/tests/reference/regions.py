"""The parts of a map above a threshold, by SciPy: pixels that touch, corners included, as boxes in the pixels of an image of
HEIGHT x WIDTH.

    python regions.py MAP THRESHOLD HEIGHT WIDTH     (numpy, scipy; MAP: .npy, [H, W])

Prints an array of JSON, the highest peak first.
"""

import json
import math
import sys
from fractions import Fraction

import numpy as np
from scipy import ndimage

values = np.load(sys.argv[1])
threshold, sides = np.float32(sys.argv[2]), [int(side) for side in sys.argv[3:5]]
scales = [Fraction(to, of) for to, of in zip(sides, values.shape)]
labels, count = ndimage.label(values > threshold, structure=np.ones((3, 3)))
regions = []
for label, box in enumerate(ndimage.find_objects(labels), 1):
    first = [math.floor(part.start * scale) for part, scale in zip(box, scales)]
    last = [math.ceil(part.stop * scale) for part, scale in zip(box, scales)]
    pixels = int((labels == label).sum())
    regions.append(
        {
            "x": first[1],
            "y": first[0],
            "width": last[1] - first[1],
            "height": last[0] - first[0],
            "area": max(1, math.floor(pixels * scales[0] * scales[1] + Fraction(1, 2))),
            "peak": float(values[labels == label].max()),
        }
    )
print(json.dumps(sorted(regions, key=lambda region: -region["peak"])))
