"""What PyTorch computes for the network, the reconstruction, the loss, its gradients and Adam: parity.json; and a
checkpoint as the public training scripts save it, the state dict nested under "model": nested.pth.

    python crates/riad-model/tests/reference/parity.py     (torch, numpy)

Weights and images are sines of their index, which both sides compute; the masks are those that riad-core draws for
region size 8, 3 sets, 32x32 and the seeds 7 and 8 (asserted by the test that reads parity.json).
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTH, SIZE, K, SETS = 4, 32, 8, 3
# Set of each 8x8 cell, row by row, of the two images.
CELLS = [
    [2, 0, 2, 1, 1, 2, 1, 0, 0, 0, 1, 0, 1, 2, 0, 2],
    [0, 1, 1, 1, 0, 2, 0, 0, 2, 2, 0, 2, 0, 2, 1, 1],
]


class Down(nn.Module):
    def __init__(self, i, o, first):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, 1, 1) if first else nn.Conv2d(i, o, 4, 2, 1)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(o)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Up(nn.Module):
    def __init__(self, i, o, skip):
        super().__init__()
        self.upconv = nn.ConvTranspose2d(i, o, 4, 2, 1)
        self.conv1 = nn.Conv2d(o + skip, o, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(o)

    def forward(self, x, skip):
        x = torch.cat((self.upconv(x), skip), 1)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class UNet(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.down1 = Down(3, w, True)
        self.down2 = Down(w, 2 * w, False)
        self.down3 = Down(2 * w, 4 * w, False)
        self.down4 = Down(4 * w, 8 * w, False)
        self.down5 = Down(8 * w, 8 * w, False)
        self.up1 = Up(8 * w, 8 * w, 8 * w)
        self.up2 = Up(8 * w, 4 * w, 4 * w)
        self.up3 = Up(4 * w, 2 * w, 2 * w)
        self.up4 = Up(2 * w, w, w)
        self.conv_final = nn.Sequential(nn.Conv2d(w, 3, 3, 1, 1))

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(d1)
        d3 = self.down3(d2)
        d4 = self.down4(d3)
        x = self.up1(self.down5(d4), d4)
        x = self.up2(x, d3)
        x = self.up3(x, d2)
        x = self.up4(x, d1)
        return torch.tanh(self.conv_final(x))


def sines(count, phase):
    return np.sin(0.37 * np.arange(count, dtype=np.float64) + phase)


def fill(model):
    """Tensor t (in the order of names) holds bound * sin(0.37 i + t); scales and variances around 1."""
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    for t, name in enumerate(sorted(state)):
        v = state[name]
        s = sines(v.numel(), float(t))
        if ".bn" in name:
            if name.endswith("weight") or name.endswith("running_var"):
                s = 1.0 + 0.25 * s
            else:
                s = 0.1 * s
        else:
            fan_in = v[0].numel() if v.dim() == 4 else 16
            s = s * np.sqrt(3.0 / fan_in)
        v.copy_(torch.tensor(s.astype(np.float32)).reshape(v.shape))


def ssim(x, y):
    line = torch.exp(-torch.arange(-5.0, 6.0, dtype=torch.float64) ** 2 / (2 * 1.5**2))
    line = line / line.sum()
    window = torch.outer(line, line)[None, None]
    f = lambda t: F.conv2d(t.reshape(-1, 1, SIZE, SIZE), window)
    mx, my = f(x), f(y)
    vx, vy, cov = f(x * x) - mx * mx, f(y * y) - my * my, f(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()


def magnitude(g):
    g = F.pad(g, (1, 1, 1, 1), mode="replicate")
    hx = torch.tensor([[1.0, 0, -1]] * 3, dtype=torch.float64)[None, None] / 3
    return torch.sqrt(F.conv2d(g, hx) ** 2 + F.conv2d(g, hx.transpose(2, 3)) ** 2 + 1e-8)


def msgms(x, y):
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[None, :, None, None]
    x, y = (x * luma).sum(1, keepdim=True), (y * luma).sum(1, keepdim=True)
    total = 0
    for scale in range(4):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        a, b = magnitude(x), magnitude(y)
        total = total + (1 - (2 * a * b + 0.0026) / (a * a + b * b + 0.0026)).mean()
    return total / 4


def terms(images, reconstruction):
    x, y = images.double(), reconstruction.double()
    return ((x - y) ** 2).mean(), 1 - ssim(x, y), msgms(x, y)


def masked(images, hidden):
    """n masked copies of the batch, set by set, in the network's range."""
    return torch.cat([(images * 2 - 1) * (1 - hidden[s]) for s in range(SETS)])


def compose(output, hidden):
    parts = output.reshape(SETS, -1, 3, SIZE, SIZE)
    return (sum(parts[s] * hidden[s] for s in range(SETS)) + 1) / 2


def main():
    torch.set_num_threads(1)
    model = UNet(WIDTH)
    with torch.no_grad():
        fill(model)
    images = torch.tensor((0.5 + 0.4 * sines(2 * 3 * SIZE * SIZE, 0.5)).astype(np.float32)).reshape(2, 3, SIZE, SIZE)
    cells = torch.tensor(CELLS).reshape(2, SIZE // K, SIZE // K)
    cells = cells.repeat_interleave(K, 1).repeat_interleave(K, 2)
    hidden = torch.stack([(cells == s).float()[:, None] for s in range(SETS)])
    out = {"cells": CELLS}

    model.eval()
    with torch.no_grad():
        output = model(masked(images, hidden))
        reconstruction = compose(output, hidden)
    out["eval_output"] = output.flatten()[::997].tolist()
    out["eval_reconstruction"] = reconstruction.flatten()[::101].tolist()
    out["eval_terms"] = [t.item() for t in terms(images, reconstruction)]

    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-2)
    out["train_totals"], out["gradients"] = [], {}
    for step in range(4):
        optimiser.zero_grad()
        l2, s, g = terms(images, compose(model(masked(images, hidden)), hidden))
        loss = l2 + s + g
        loss.backward()
        out["train_totals"].append(loss.item())
        if step == 0:
            out["gradients"] = {n: p.grad.norm().item() for n, p in model.named_parameters()}
            out["gradient_samples"] = {
                n: p.grad.flatten()[:3].tolist()
                for n, p in model.named_parameters()
                if n in ("down1.conv1.weight", "down3.bn1.weight", "up1.upconv.weight", "up4.conv1.weight", "conv_final.0.bias")
            }
        optimiser.step()
    out["running"] = {
        n: b.flatten()[:3].tolist() for n, b in model.named_buffers() if n.startswith("down2.bn1.running")
    }
    path = pathlib.Path(__file__).with_name("parity.json")
    path.write_text(json.dumps(out, indent=1) + "\n")

    small = UNet(1)
    with torch.no_grad():
        fill(small)
    torch.save({"epoch": 3, "model": small.state_dict(), "loss": 0.5}, path.with_name("nested.pth"))


if __name__ == "__main__":
    main()
