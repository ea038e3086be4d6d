"""Makes the seeds in this folder: small files as PyTorch writes them, of every kind that a state dict can be.

Run it with a Python that has PyTorch (they are of 2.x): python fuzz/seeds/pytorch/make.py
"""

from collections import OrderedDict
from pathlib import Path

import torch

folder = Path(__file__).parent
values = torch.arange(12, dtype=torch.float32).reshape(3, 4)

files = {
    "plain": OrderedDict({"module.down1.conv1.weight": values[:, :3].reshape(1, 3, 1, 3), "n.num_batches_tracked": torch.tensor(7)}),
    "nested": {"epoch": 3, "model": {"a": torch.nn.Parameter(values), "b": values.t(), "c": values[1:, ::2]}, "loss": 0.5},
    "kinds": {
        str(kind): torch.ones(2, dtype=kind)
        for kind in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
    },
    "other": [None, True, ("text", b"bytes", 2**70, {1, 2}), values],
}
for name, content in files.items():
    torch.save(content, folder / f"{name}.pth")
torch.save(files["plain"], folder / "legacy.pth", _use_new_zipfile_serialization=False)
