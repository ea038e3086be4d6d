"""Weights into PyTorch and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import riad
from conftest import Made, picture

torch = pytest.importorskip("torch")

import riad.torch  # noqa: E402
from torch import nn  # noqa: E402


def block(inputs: int, outputs: int, **first: int) -> nn.Module:
    """Two convolutions with batch norm and ReLU, by the names of the public code."""
    module = nn.Module()
    module.conv1 = nn.Conv2d(inputs, outputs, **first)
    module.bn1 = nn.BatchNorm2d(outputs)
    module.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
    module.bn2 = nn.BatchNorm2d(outputs)
    return module


def test_a_state_dict_is_what_the_checkpoint_holds(made: Made) -> None:
    import json
    import struct

    weights = riad.torch.state_dict(made.run)
    # The format: a length, a header as JSON, and bytes.
    content = (made.run / "best.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    for name, tensor in weights.items():
        start, end = header[name]["data_offsets"]
        values = np.frombuffer(content[8 + length + start : 8 + length + end], "<f4")
        assert list(tensor.shape) == header[name]["shape"]
        assert np.array_equal(tensor.numpy().reshape(-1), values)
    assert {name for name in header if not name.startswith(("__", "riad."))} == set(weights)
    assert "down1.conv1.weight" in weights and "conv_final.0.weight" in weights


def test_a_module_takes_a_models_weights_and_gives_them_back(made: Made, tmp_path: Path) -> None:
    weights = riad.torch.state_dict(made.run)
    first = weights["down1.conv1.weight"]
    module = nn.Module()
    module.down1 = block(first.shape[1], first.shape[0], kernel_size=first.shape[2], padding=first.shape[2] // 2)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        riad.torch.load(module, made.run)
    of_first = {name: tensor for name, tensor in weights.items() if name.startswith("down1.")}
    module.load_state_dict(of_first)
    assert torch.equal(module.down1.conv1.weight, first)

    out = tmp_path / "again.safetensors"
    riad.torch.checkpoint(weights, out, like=made.run)
    again = riad.torch.state_dict(out)
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_checkpoint_of_changed_weights_scores_otherwise_and_has_no_threshold(made: Made, tmp_path: Path) -> None:
    image = picture(1, defect=True)
    weights = riad.torch.state_dict(made.run)
    same, other = tmp_path / "same.safetensors", tmp_path / "other.safetensors"
    riad.torch.checkpoint(weights, same, like=made.run)
    changed = {name: tensor + (0.01 if name.endswith("conv1.weight") else 0) for name, tensor in weights.items()}
    riad.torch.checkpoint(changed, other, like=made.run)
    first, second = riad.Detector(same), riad.Detector(other)
    assert not np.array_equal(first.inspect(image).map, second.inspect(image).map)
    assert first.size == riad.Detector(made.run).size
    with pytest.raises(riad.NotCalibratedError):
        first.threshold(fpr=0.1)
    # Twice the same weights are twice the same file.
    again = tmp_path / "again.safetensors"
    riad.torch.checkpoint(weights, again, like=same)
    assert np.array_equal(riad.Detector(again).inspect(image).map, first.inspect(image).map)


def test_weights_of_another_network_are_refused(made: Made, tmp_path: Path) -> None:
    weights = riad.torch.state_dict(made.run)
    out = tmp_path / "out.safetensors"
    cases = {
        "missing": {name: tensor for name, tensor in weights.items() if name != "down2.conv1.bias"},
        "more": weights | {"down9.conv1.weight": torch.zeros(1)},
        "shape": weights | {"down2.conv1.bias": torch.zeros(3)},
        "none": {},
    }
    for name, case in cases.items():
        with pytest.raises(riad.Error):
            riad.torch.checkpoint(case, out, like=made.run)
        assert not out.exists(), name


def test_half_precision_and_gradients_are_no_hindrance(made: Made, tmp_path: Path) -> None:
    weights = riad.torch.state_dict(made.run)
    halves = {name: nn.Parameter(tensor.to(torch.bfloat16)) for name, tensor in weights.items()}
    out = tmp_path / "out.safetensors"
    riad.torch.checkpoint(halves, out, like=made.run)
    again = riad.torch.state_dict(out)
    assert all(torch.equal(again[name], halves[name].detach().float()) for name in weights)
