"""What `cargo xtask race` runs against `riad eval`: a plain PyTorch loop for RIAD, trained for so many minutes.

    python loop.py CATEGORY MINUTES SEED

CATEGORY is a folder in MVTec AD's layout. The loop is what one writes with the method's description at hand, without the
known mistakes of the public implementations: width 16, 128×128, batch 4, Adam from 1e-3 with a cosine over the time given,
the three terms of the loss, one random region size per step, no augmentation, all training images, the last weights.
Channels-last, the faster layout on CPUs. Prints a line of JSON: steps, seconds of training, image and pixel AUROC.
THREADS in the environment says on how many threads.
"""

import json
import math
import random
import sys
import time
from pathlib import Path

import numpy as np
import peers
from PIL import Image
from sklearn.metrics import roc_auc_score

WIDTH, SIZE, BATCH, RATE, SMOOTHING = 16, 128, 4, 1e-3, 11
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


def images_in(folder):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def load(torch, paths):
    def one(path):
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(resized, np.float32).transpose(2, 0, 1) / 255)

    return torch.stack([one(path) for path in paths])


def mask_of(category, path):
    """The defect's pixels at the maps' size; none for a good image."""
    if path.parent.name == "good":
        return np.zeros((SIZE, SIZE), bool)
    mask = category / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    with Image.open(mask) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.NEAREST)) > 127


def hidden_sets(torch, region, count, generator):
    """[n, B, 1, H, W]: 1 where the set hides."""
    side = math.ceil(SIZE / region)
    cells = torch.stack([torch.randperm(side * side, generator=generator) for _ in range(count)]) % peers.SETS
    cells = cells.reshape(count, 1, side, side).repeat_interleave(region, 2).repeat_interleave(region, 3)
    cells = cells[..., :SIZE, :SIZE]
    return torch.stack([(cells == s).float() for s in range(peers.SETS)])


def reconstruct(network, images, hidden):
    copies = ((images * 2 - 1) * (1 - hidden)).flatten(0, 1)
    outputs = network(copies).reshape(peers.SETS, *images.shape)
    return ((outputs * hidden).sum(0) + 1) / 2


def main(category, minutes, seed):
    torch = peers.import_torch()
    functional = torch.nn.functional
    torch.manual_seed(seed)
    random.seed(seed)
    masks = torch.Generator().manual_seed(seed)
    images = load(torch, images_in(category / "train" / "good"))
    model = peers.unet(torch, WIDTH).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=1e-5, fused=True)
    line = torch.exp(-torch.arange(-5.0, 6.0) ** 2 / (2 * 1.5**2))
    line = line / line.sum()

    def ssim(x, y):
        planes = torch.cat([x, y, x * x, y * y, x * y]).reshape(-1, 1, SIZE, SIZE)
        filtered = functional.conv2d(functional.conv2d(planes, line.reshape(1, 1, 11, 1)), line.reshape(1, 1, 1, 11))
        mx, my, xx, yy, xy = filtered.chunk(5)
        vx, vy, covariance = xx - mx * mx, yy - my * my, xy - mx * my
        c1, c2 = 0.01**2, 0.03**2
        return (((2 * mx * my + c1) * (2 * covariance + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()

    def channels_last(copies):
        return model(copies.contiguous(memory_format=torch.channels_last))

    model.train()
    start, budget, steps = time.monotonic(), 60 * minutes, 0
    while (elapsed := time.monotonic() - start) < budget:
        for batch in torch.randperm(len(images)).split(BATCH):
            for group in optimiser.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * min(elapsed / budget, 1)))
            x = images[batch]
            hidden = hidden_sets(torch, random.choice(peers.REGION_SIZES), len(x), masks)
            y = reconstruct(channels_last, x, hidden)
            scales = peers.gms(torch, peers.luma(x), peers.luma(y))
            loss = functional.mse_loss(y, x) + (1 - ssim(x, y)) + sum((1 - scale).mean() for scale in scales) / 4
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            steps += 1
            elapsed = time.monotonic() - start
            if elapsed >= budget:
                break

    model.eval()
    peers.SMOOTHING = SMOOTHING
    masks = torch.Generator().manual_seed(seed)
    hidden = [hidden_sets(torch, region, 1, masks) for region in peers.REGION_SIZES]
    paths = [path for folder in sorted((category / "test").iterdir()) for path in images_in(folder)]
    maps = []
    with torch.no_grad():
        for path in paths:
            image = load(torch, [path])
            of_regions = [
                peers.region_maps(torch, peers.luma(image), reconstruct(channels_last, image, sets)) for sets in hidden
            ]
            maps.append(torch.cat(of_regions).mean(0)[0].numpy())
    maps = np.stack(maps)
    truth = np.stack([mask_of(category, path) for path in paths])
    is_defective = [path.parent.name != "good" for path in paths]
    result = {
        "steps": steps,
        "seconds": elapsed,
        "image_auroc": roc_auc_score(is_defective, maps.max((1, 2))),
        "pixel_auroc": roc_auc_score(truth.ravel(), maps.ravel()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
