"""Writes expected.json: what PyTorch, scikit-image, scikit-learn and SciPy say about the inputs made below.

    pip install torch scikit-image scikit-learn scipy numpy
    python expected.py > expected.json

The tests make the same inputs from the same formulas (tests/it/inputs.rs), so that only results are stored. Everything
is computed in f64.
"""

import json

import numpy as np
import scipy.ndimage
import skimage.metrics
import sklearn.metrics
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


# ---- inputs -----------------------------------------------------------------------------------------------------------


def noise(seed, count):
    """Multiplicative hashing: integers in 0..65536 that are the same in every language."""
    index = np.arange(count, dtype=np.uint64) + np.uint64(seed) * np.uint64(1_000_003)
    return ((index * np.uint64(2_654_435_761)) & np.uint64(0xFFFFFFFF)) >> np.uint64(16)


def images(seed, shape):
    """Waves with noise on top and a flat corner, rounded to f32."""
    planes, height, width = shape[0] * shape[1], shape[2], shape[3]
    values = noise(seed, planes * height * width).astype(np.float64) / 65535
    plane, y, x = np.meshgrid(np.arange(planes), np.arange(height), np.arange(width), indexing="ij")
    waves = np.sin(0.4 * x + 0.1 * seed + plane) * np.cos(0.3 * y - 0.2 * seed)
    out = 0.5 + 0.35 * waves + 0.1 * (values.reshape(waves.shape) - 0.5)
    out[(y < 4) & (x < 6)] = 0.25
    return out.astype(np.float32).astype(np.float64).reshape(shape)


# ---- similarity -------------------------------------------------------------------------------------------------------


def gray(images):
    return (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def gms(target, recon):
    x = torch.tensor([[1.0, 0, -1], [1, 0, -1], [1, 0, -1]]).view(1, 1, 3, 3) / 3
    y = x.transpose(2, 3)

    def magnitude(plane):
        padded = F.pad(plane, (1, 1, 1, 1), mode="replicate")
        return torch.sqrt(F.conv2d(padded, x) ** 2 + F.conv2d(padded, y) ** 2 + 1e-8)

    g, r = magnitude(target), magnitude(recon)
    return (2 * g * r + 0.0026) / (g**2 + r**2 + 0.0026)


def scales(target, recon):
    """GMS maps of four scales. Odd sizes: ceil_mode keeps the last row, count_include_pad its mean."""
    maps = []
    for _ in range(4):
        maps.append(gms(target, recon))
        target, recon = (
            F.avg_pool2d(plane, 2, ceil_mode=True, count_include_pad=False) for plane in (target, recon)
        )
    return maps


def msgms_loss(target, recon):
    return sum((1 - level).mean() for level in scales(gray(target), gray(recon))) / 4


def msgms_maps(target, recon):
    """The mean maps of the first scale, of the first two, three and four."""
    height, width = target.shape[2:]
    full = [
        F.interpolate(level, scale_factor=2**i, mode="bilinear", align_corners=False)[:, :, :height, :width]
        for i, level in enumerate(scales(target, recon))
    ]
    return [sum(full[:count]) / count for count in range(1, 5)]


def ssim_loss(target, recon):
    """Wang et al. 2004 over the valid windows, for autograd; its value is asserted to be scikit-image's below."""
    taps = torch.exp(-0.5 * (torch.arange(-5, 6) / 1.5) ** 2)
    taps = taps / taps.sum()
    window = (taps[:, None] * taps[None, :]).expand(target.shape[1], 1, 11, 11)
    mean = lambda planes: F.conv2d(planes, window, groups=planes.shape[1])
    mx, my = mean(target), mean(recon)
    vx, vy, cov = mean(target**2) - mx**2, mean(recon**2) - my**2, mean(target * recon) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return 1 - (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def ssim_by_skimage(target, recon):
    results = [
        skimage.metrics.structural_similarity(
            t, r, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=0, full=True
        )
        for t, r in zip(target, recon)
    ]
    return 1 - np.mean([mean for mean, _ in results]), np.stack([full.mean(0) for _, full in results])


def losses(seed, shape):
    target = torch.tensor(images(seed, shape))
    recon_values = images(seed + 1, shape)
    out = {"shape": shape, "seed": seed}
    for name, loss in {
        "l1": lambda t, r: (t - r).abs().mean(),
        "l2": lambda t, r: ((t - r) ** 2).mean(),
        "msgms": msgms_loss,
        "ssim": ssim_loss,
    }.items():
        recon = torch.tensor(recon_values, requires_grad=True)
        value = loss(target, recon)
        value.backward()
        gradient = recon.grad.flatten()
        # Every 13th value meets all rows and columns of these shapes; the sum of squares covers the rest.
        out[name] = {
            "value": value.item(),
            "gradient": rounded(gradient[::13].numpy()),
            "gradient_norm": gradient.norm().item(),
        }
    value, full = ssim_by_skimage(target.numpy(), recon_values)
    assert abs(value - out["ssim"]["value"]) < 1e-12
    out["ssim_map"] = rounded(full.flatten()[::3])
    return out


def gray_maps(seed, height, width):
    target, recon = (torch.tensor(images(s, [1, 1, height, width])) for s in (seed, seed + 1))
    return {
        "height": height,
        "width": width,
        "seed": seed,
        "maps": [rounded(map.flatten().numpy()) for map in msgms_maps(target, recon)],
    }


def chroma_map(seed, channels, height, width):
    target, recon = (images(s, [1, channels, height, width])[0] for s in (seed, seed + 1))
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "seed": seed,
        "map": rounded(np.var(recon - target, axis=0).flatten()),
    }


# ---- edges ------------------------------------------------------------------------------------------------------------


def edges(seed, height, width, window):
    plane = images(seed, [1, 1, height, width])[0, 0]
    mean = scipy.ndimage.uniform_filter(plane, window, mode="reflect")
    return {
        "height": height,
        "width": width,
        "seed": seed,
        "window": window,
        "gradient": rounded(scipy.ndimage.morphological_gradient(plane, size=3, mode="nearest").flatten()),
        "high_pass": rounded((plane - mean).flatten()),
    }


# ---- smoothing --------------------------------------------------------------------------------------------------------


def smoothed(seed, height, width, window):
    plane = images(seed, [1, 1, height, width])[0, 0]
    return {
        "height": height,
        "width": width,
        "seed": seed,
        "window": window,
        "values": rounded(scipy.ndimage.uniform_filter(plane, window, mode="reflect").flatten()),
    }


# ---- metrics ----------------------------------------------------------------------------------------------------------


def curve_metrics(scores, labels):
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]
    return {
        "auroc": sklearn.metrics.roc_auc_score(labels, scores),
        "average_precision": sklearn.metrics.average_precision_score(labels, scores),
        "f1": f1[best],
        "threshold": thresholds[best],
        "precision": precision[best],
        "recall": recall[best],
    }


def samples(seed, count, levels):
    """Scores with many ties (`levels` of them), defects scoring higher on average."""
    labels = noise(seed, count) % 3 == 0
    scores = (noise(seed + 1, count) % levels + labels * (levels // 3)).astype(np.float64) / 64
    return scores, labels


def curves(scores, labels):
    """Points in order of falling thresholds; scikit-learn gives precision and recall in the other order."""
    x, y, _ = sklearn.metrics.roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, scores)
    return {"roc": points(x, y), "precision_recall": points(recall[::-1], precision[::-1])}


def points(x, y):
    return [[float(x), float(y)] for x, y in zip(x, y)]


def image_metrics(seed, count, levels):
    scores, labels = samples(seed, count, levels)
    out = {"seed": seed, "count": count, "levels": levels, **curve_metrics(scores, labels)}
    # The curve of a thousand distinct scores would fill the file.
    return out | (curves(scores, labels) if levels < 1000 else {})


def defects(seed, count, height, width):
    """Discs and a diagonal, some touching at corners only; every third image is good."""
    masks = np.zeros((count, height, width), bool)
    y, x = np.mgrid[:height, :width]
    for image in range(count):
        if image % 3 == 2:
            continue
        for cy, cx, radius in (noise(seed + image, 9) % np.uint64(1000)).reshape(3, 3).astype(np.int64):
            masks[image] |= (y - cy % height) ** 2 + (x - cx % width) ** 2 <= (radius % 5) ** 2
        masks[image] |= (y == x) & (y > height - 6)
    return masks


def aupro(maps, masks, limit):
    """MVTec's definition, point by point: a threshold at every distinct score, regions one by one."""
    regions = []
    for image, mask in enumerate(masks):
        labels, count = scipy.ndimage.label(mask, np.ones((3, 3)))
        regions += [maps[image][labels == region] for region in range(1, count + 1)]
    good = maps[~masks]
    x, y = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        x.append((good >= threshold).mean())
        y.append(np.mean([(region >= threshold).mean() for region in regions]))
    x, y = np.array(x), np.array(y)
    inside = x <= limit
    if x[inside][-1] < limit:
        x, y = np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))
    return np.trapezoid(y, x) / limit, len(regions), points(x, y)


def pixel_metrics(seed, count, height, width, levels):
    masks = defects(seed, count, height, width)
    scores = (noise(seed + 50, masks.size) % levels).reshape(masks.shape)
    maps = (scores + masks * np.uint64(levels // 2)).astype(np.float64) / 64
    out = {"seed": seed, "count": count, "height": height, "width": width, "levels": levels}
    out |= curve_metrics(maps.flatten(), masks.flatten()) | curves(maps.flatten(), masks.flatten())
    out["aupro"] = [[limit, *aupro(maps, masks, limit)] for limit in (0.05, 0.3, 1.0)]
    return out


# ---- output -----------------------------------------------------------------------------------------------------------


def rounded(values):
    return [float(f"{value:.7g}") for value in values]


print(
    json.dumps(
        {
            "losses": [losses(3, [2, 3, 29, 23]), losses(8, [1, 3, 16, 32]), losses(5, [1, 3, 11, 11])],
            "gray_maps": [gray_maps(1, 29, 23), gray_maps(2, 16, 24), gray_maps(4, 1, 5)],
            "chroma_maps": [chroma_map(3, 3, 7, 5), chroma_map(4, 1, 4, 4), chroma_map(6, 5, 3, 8)],
            "edges": [edges(1, 13, 9, 3), edges(2, 6, 17, 9), edges(3, 1, 5, 3), edges(4, 7, 1, 5), edges(5, 2, 2, 3)],
            "smoothed": [smoothed(1, 13, 9, 1), smoothed(2, 13, 9, 5), smoothed(3, 13, 9, 21)]
            + [smoothed(4, 13, 9, 101), smoothed(5, 1, 7, 3), smoothed(6, 6, 4, 23)],
            "image_metrics": [image_metrics(1, 200, 40), image_metrics(5, 50, 3), image_metrics(9, 1000, 60000)],
            "pixel_metrics": [pixel_metrics(1, 6, 24, 20, 60), pixel_metrics(2, 3, 17, 31, 4)],
        },
        indent=None,
        separators=(",", ":"),
    )
)
