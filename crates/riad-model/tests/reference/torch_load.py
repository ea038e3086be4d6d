"""Loads model.pt into the public network, strictly, and runs it on the images in input: output.

    python crates/riad-model/tests/reference/torch_load.py     (numpy, torch; in the folder of these files)
"""

import numpy as np
import torch

from parity import UNet

state = torch.load("model.pt", weights_only=True)
model = UNet(len(state["conv_final.0.weight"][0]))
model.load_state_dict(state, strict=True)
model.eval()
with torch.no_grad():
    images = torch.from_numpy(np.fromfile("input", "<f4").reshape(-1, 3, 32, 32))
    model(images).numpy().astype("<f4").tofile("output")
