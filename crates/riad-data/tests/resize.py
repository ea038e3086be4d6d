"""Prints what Pillow makes of images that resize.rs resizes too.

    python resize.py [shared/data]
"""

import sys

import numpy as np
from PIL import Image

y, x = np.mgrid[:37, :50]
made_up = np.stack([(x * x + 3 * y) % 256, (7 * x + y * y // 2) % 256, (x * y) % 256], -1).astype(np.uint8)


def show(name, image, height, width, step):
    small = np.asarray(image.convert("RGB").resize((width, height), Image.BILINEAR))
    print(name, small.reshape(-1)[::step].tolist())


# Shrunk, stretched along one axis, enlarged.
show("SHRUNK", Image.fromarray(made_up), 16, 16, 11)
show("MIXED", Image.fromarray(made_up), 64, 20, 61)
show("ENLARGED", Image.fromarray(made_up), 80, 90, 331)
if len(sys.argv) > 1:
    bottle = sys.argv[1] + "/mvtec_bottle_900/bottle/"
    show("BOTTLE", Image.open(bottle + "test/broken_large/000.png"), 256, 256, 3001)
