"""Prints the constants of ../pytorch.rs: PyTorch's convolutions and their gradients on sine waves, in f64."""

import torch
import torch.nn.functional as F

# name, transposed, (images, height, width, channels), out_channels, (kernel, stride, padding)
CASES = [
    ("conv 3x3", False, (2, 7, 9, 5), 18, (3, 1, 1)),
    ("conv 4x4 stride 2", False, (1, 10, 7, 17), 6, (4, 2, 1)),
    ("conv 5x5 stride 3", False, (2, 11, 11, 3), 4, (5, 3, 2)),
    ("transposed 4x4 stride 2", True, (2, 5, 3, 17), 7, (4, 2, 1)),
    ("transposed 3x3 stride 2", True, (1, 4, 6, 2), 19, (3, 2, 0)),
    ("transposed 2x2 stride 3", True, (1, 3, 4, 3), 3, (2, 3, 0)),
]


def wave(count, frequency, phase):
    return torch.sin(torch.arange(count, dtype=torch.float64) * frequency + phase)


def sample(values):
    flat = values.contiguous().flatten()
    picked = [flat[i * (flat.numel() - 1) // 5].item() for i in range(6)]
    return f"({flat.numel()}, {flat.square().sum().item():.9}, [{', '.join(f'{v:.9}' for v in picked)}])"


for name, transposed, (n, h, w, c), out, (k, s, p) in CASES:
    x = wave(n * h * w * c, 0.1, 0.0).reshape(n, h, w, c).permute(0, 3, 1, 2).requires_grad_()
    weight = wave(c * out * k * k, 0.3, 1.0).reshape(*((c, out) if transposed else (out, c)), k, k).requires_grad_()
    bias = wave(out, 0.5, 2.0).requires_grad_()
    y = (F.conv_transpose2d if transposed else F.conv2d)(x, weight, bias, stride=s, padding=p)
    dy = wave(y.numel(), 0.7, 3.0).reshape(n, *y.shape[2:], out).permute(0, 3, 1, 2)
    dx, dw, db = torch.autograd.grad(y, [x, weight, bias], dy)
    flag = "true" if transposed else "false"
    print(f"    // {name}")
    print(f"    (({flag}, ({n}, {h}, {w}, {c}), {out}, ({k}, {s}, {p})), [")
    for tensor in (y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), dw, db):
        print(f"        {sample(tensor)},")
    print("    ]),")
