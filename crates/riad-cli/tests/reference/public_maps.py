"""Anomaly maps of an image in PyTorch, by a state dict with the public names and the published settings: 256×256, K = 2, 4,
8, 16, n = 3, MSGMS of luma, 21×21 mean filter. As in the public code every draw of masks is another.

    python public_maps.py STATE DRAWS IMAGE OUT     (numpy, torch, Pillow, scikit-learn; OUT: .npy, [DRAWS, 256, 256])

The network, the masks and the maps are those of bench/, which `cargo xtask race` compares with.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "bench"))
import loop
import peers

state, draws, image, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
torch = peers.import_torch()
loop.SIZE = peers.SIZE
tensors = torch.load(state, weights_only=True)
network = peers.unet(torch, len(tensors["conv_final.0.weight"][0]))
network.load_state_dict(tensors)
network.eval()
masks = torch.Generator().manual_seed(0)
x = loop.load(torch, [image])
maps = []
with torch.no_grad():
    for _ in range(draws):
        hidden = [loop.hidden_sets(torch, region, 1, masks) for region in peers.REGION_SIZES]
        of_regions = [peers.region_maps(torch, peers.luma(x), loop.reconstruct(network, x, sets)) for sets in hidden]
        maps.append(torch.cat(of_regions).mean(0)[0].numpy())
np.save(out, np.stack(maps).astype("<f4"))
