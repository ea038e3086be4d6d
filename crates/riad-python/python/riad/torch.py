"""Weights into a ``torch.nn.Module`` and out of it, by the names that the public implementations of RIAD have.

PyTorch is not required for anything else of this package. A module of these names and shapes has the layers of the public U-Net:
``down1.conv1.weight`` to ``conv_final.0.weight``. What images look like that go into it is in :meth:`riad.Detector.facts`.
"""

# What it builds on has no types, or is not installed.
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import _riad  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    import torch

    from ._work import Path

__all__ = ["checkpoint", "load", "state_dict"]


def state_dict(model: Path) -> dict[str, torch.Tensor]:
    """The weights of a run, a checkpoint or a ``.pth`` file: what ``load_state_dict`` takes."""
    import torch

    content = io.BytesIO(_riad.state_dict(model))
    tensors: dict[str, torch.Tensor] = torch.load(content, weights_only=True)
    return tensors


def load(module: torch.nn.Module, model: Path) -> None:
    """Puts a model's weights into a module. Every tensor of either must be in the other, save PyTorch's ``num_batches_tracked``."""
    module.load_state_dict(state_dict(model))


def checkpoint(module: torch.nn.Module | Mapping[str, torch.Tensor], out: Path, *, like: Path) -> None:
    """Writes a checkpoint of a module's weights, or of a state dict, with the settings of the model ``like``.

    What belongs to the weights of ``like`` stays behind: its calibration, and what is normal at each place. So scores have another
    scale, and :func:`riad.calibrate` gives thresholds anew.
    """
    import torch

    weights = dict(module) if isinstance(module, Mapping) else module.state_dict()
    weights = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in weights.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "weights.pth")
        torch.save(weights, file)
        _riad.with_weights(like, file, out)
