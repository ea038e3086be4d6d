"""What `cargo xtask bench` compares RIAD with: the same work in PyTorch, onnxruntime, OpenVINO, scikit-learn and Pillow.

    python peers.py prepare DIR            weights, images, maps and ONNX models for both sides
    python peers.py versions               of every package, as JSON
    python peers.py score DIR PRESET       one image to one score, as a program of its own
    python peers.py serve DIR [IMAGES…]    answers requests on standard input, as riad-bench does

Every variant is written as fast as its users' guides teach: batch norms folded, inference mode, channels-last,
Inductor's freezing, separable filters, fused Adam. THREADS in the environment says on how many threads.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

THREADS = int(os.environ.get("THREADS", os.cpu_count()))
WIDTHS = {"tiny": 16, "small": 32, "paper": 64}
REGION_SIZES, SETS, SIZE, SMOOTHING = (2, 4, 8, 16), 3, 256, 21
TRAINING_REGION = 8


def import_torch():
    import torch

    torch.set_num_threads(THREADS)
    return torch


def unet(torch, width, inputs=3):
    """The network of both public PyTorch implementations, under their names."""
    nn, relu = torch.nn, torch.nn.functional.relu

    class Block(nn.Module):
        def __init__(self, first, out):
            super().__init__()
            self.conv1, self.bn1 = first, nn.BatchNorm2d(out)
            self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1), nn.BatchNorm2d(out)

        def forward(self, x):
            x = relu(self.bn1(self.conv1(x)))
            return relu(self.bn2(self.conv2(x)))

    class Up(Block):
        def __init__(self, channels, out):
            super().__init__(nn.Conv2d(2 * out, out, 3, 1, 1), out)
            self.upconv = nn.ConvTranspose2d(channels, out, 4, 2, 1)

        def forward(self, x, skip):
            return super().forward(torch.cat((self.upconv(x), skip), 1))

    class UNet(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.down1 = Block(nn.Conv2d(inputs, w, 3, 1, 1), w)
            for level, (channels, out) in enumerate([(w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w)]):
                setattr(self, f"down{level + 2}", Block(nn.Conv2d(channels, out, 4, 2, 1), out))
            for level, (channels, out) in enumerate([(8 * w, 8 * w), (8 * w, 4 * w), (4 * w, 2 * w), (2 * w, w)]):
                setattr(self, f"up{level + 1}", Up(channels, out))
            self.conv_final = nn.Sequential(nn.Conv2d(w, 3, 3, 1, 1))

        def forward(self, x):
            d1 = self.down1(x)
            d2 = self.down2(d1)
            d3 = self.down3(d2)
            d4 = self.down4(d3)
            x = self.up1(self.down5(d4), d4)
            x = self.up4(self.up3(self.up2(x, d3), d2), d1)
            return torch.tanh(self.conv_final(x))

    return UNet(width)


def load(torch, path, width):
    from safetensors.torch import load_file

    given = load_file(path)
    model = unet(torch, width, given["down1.conv1.weight"].shape[1])
    wanted = model.state_dict()
    state = {name: tensor for name, tensor in given.items() if name in wanted}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return model


def random_unet(torch, width, images):
    """Random weights, and batch norms with the statistics of the images."""
    torch.manual_seed(width)
    model = unet(torch, width, images.shape[1]).train()
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
            module.momentum = None  # The statistics of the one batch below.
    with torch.no_grad():
        model.conv_final[0].weight *= 0.3
        model(images)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1  # As for training.
    return model


def folded(torch, model):
    """For inference: each batch norm folded into its convolution."""
    model = model.eval()
    for block in model.children():
        for number in ("1", "2"):
            if hasattr(block, "bn" + number):
                conv, norm = getattr(block, "conv" + number), getattr(block, "bn" + number)
                setattr(block, "conv" + number, torch.nn.utils.fuse_conv_bn_eval(conv, norm))
                setattr(block, "bn" + number, torch.nn.Identity())
    return model


def textures(torch, rng, count, size):
    """Smooth colours, a regular pattern and noise, in [0, 1]."""
    coarse = torch.from_numpy(rng.random((count, 3, 8, 8), np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").numpy()
    y, x = np.mgrid[:size, :size].astype(np.float32)
    pattern = 0.1 * np.sin(x / 3) * np.sin(y / 5)
    noise = 0.05 * rng.standard_normal((count, 3, size, size), np.float32)
    return np.clip(smooth + pattern + noise, 0, 1)


def read_floats(path, *shape):
    return np.fromfile(path, np.float32, int(np.prod(shape))).reshape(shape)


# What the maps are made of.


def luma(images):
    return 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]


def magnitudes(torch, gray):
    """Prewitt's filters, separable; the edge pixel is repeated beyond the border."""
    padded = torch.nn.functional.pad(gray, (1, 1, 1, 1), mode="replicate")
    sums = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    differences = padded[:, :, 2:] - padded[:, :, :-2]
    across = (sums[..., 2:] - sums[..., :-2]) / 3
    down = (differences[..., :-2] + differences[..., 1:-1] + differences[..., 2:]) / 3
    return torch.sqrt(across * across + down * down + 1e-8)


def gms(torch, gray, other, scales=4):
    """Gradient magnitude similarity at some scales, finest first."""
    for scale in range(scales):
        if scale:
            gray, other = (torch.nn.functional.avg_pool2d(x, 2) for x in (gray, other))
        a, b = magnitudes(torch, gray), magnitudes(torch, other)
        yield (2 * a * b + 0.0026) / (a * a + b * b + 0.0026)


def region_maps(torch, image_gray, reconstructions):
    """1 - the smoothed multi-scale GMS of each reconstruction."""
    mean = mean_gms(torch, image_gray, luma(reconstructions), 4)
    return (1 - mean_filter(torch, mean, SMOOTHING)).clamp(0, 1)


def mean_gms(torch, planes, others, scales):
    """Multi-scale GMS of planes, at their size."""
    interpolate, size = torch.nn.functional.interpolate, planes.shape[-2:]
    enlarge = lambda x: interpolate(x, size=size, mode="bilinear", align_corners=False) if x.shape[-2:] != size else x
    return sum(enlarge(scale) for scale in gms(torch, planes, others, scales)) / scales


def mean_filter(torch, maps, window):
    """Separable; beyond its border a map goes on mirrored."""
    avg_pool2d = torch.nn.functional.avg_pool2d
    half, arange = window // 2, partial(torch.arange, device=maps.device)
    rows, columns = (
        torch.cat((arange(half - 1, -1, -1), arange(n), arange(n - 1, n - 1 - half, -1))) for n in maps.shape[-2:]
    )
    mirrored = maps[:, :, rows][..., columns]
    return avg_pool2d(avg_pool2d(mirrored, (window, 1), 1), (1, window), 1)


# Restoration: the defaults of `riad --method restore`.

CHROMA = 50


def edges(torch, images):
    """Dilation less erosion of each colour."""
    dilated = torch.nn.functional.max_pool2d(images, 3, 1, 1)
    return dilated + torch.nn.functional.max_pool2d(-images, 3, 1, 1)


def restoration_map(torch, images, restored):
    """1 - the smoothed GMS of each colour, with the variance of the difference over the channels."""
    size = images.shape[-1]
    similar = mean_gms(torch, images.flatten(0, 1)[:, None], restored.flatten(0, 1)[:, None], 4 if size >= 256 else 3)
    similar = similar.reshape(images.shape).mean(1, keepdim=True)
    similar = similar - CHROMA * (restored - images).var(1, keepdim=True, correction=0)
    return (1 - mean_filter(torch, similar, SMOOTHING * size // 256 | 1)).clamp(0, 1)[:, 0]


# The loss of training.


def ssim_line(torch):
    line = torch.exp(-torch.arange(-5.0, 6.0) ** 2 / (2 * 1.5**2))
    return line / line.sum()


def ssim(torch, x, y, line):
    conv2d = torch.nn.functional.conv2d
    planes = torch.cat([x, y, x * x, y * y, x * y]).reshape(-1, 1, *x.shape[-2:])
    filtered = conv2d(conv2d(planes, line.reshape(1, 1, 11, 1)), line.reshape(1, 1, 1, 11))
    mx, my, xx, yy, xy = filtered.chunk(5)
    vx, vy, covariance = xx - mx * mx, yy - my * my, xy - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mx * my + c1) * (2 * covariance + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()


def training_loss(torch, images, hidden, output, line):
    """L2 + SSIM + MSGMS of the images and what the network made of their copies."""
    parts = output.float().reshape(SETS, *images.shape)
    reconstruction = ((parts * hidden).sum(0) + 1) / 2
    scales = gms(torch, luma(images), luma(reconstruction))
    msgms = sum((1 - scale).mean() for scale in scales) / 4
    l2 = torch.nn.functional.mse_loss(reconstruction, images)
    return l2 + (1 - ssim(torch, images, reconstruction, line)) + msgms


class Scoring:
    """Images to anomaly maps around any network that takes and gives batches."""

    def __init__(self, torch, directory, network, passes_at_once, maps):
        self.torch, self.network, self.passes_at_once, self.maps = torch, network, passes_at_once, maps
        cells = np.fromfile(directory / "masks.u8", np.uint8).reshape(len(REGION_SIZES), 1, 1, SIZE, SIZE)
        hidden = np.stack([cells == s for s in range(SETS)], 1).astype(np.float32)
        self.hidden = torch.from_numpy(hidden)  # [K, n, 1, 1, H, W]

    def __call__(self, images):
        torch = self.torch
        normalised = images * 2 - 1
        copies = ((1 - self.hidden) * normalised).flatten(0, 2)  # [K·n·B, 3, H, W]
        outputs = torch.cat([self.network(part) for part in copies.split(self.passes_at_once)])
        outputs = outputs.reshape(len(REGION_SIZES), SETS, *images.shape)
        reconstructions = ((outputs * self.hidden).sum(1) + 1) / 2  # [K, B, 3, H, W]
        gray = luma(images).repeat(len(REGION_SIZES), 1, 1, 1)
        maps = self.maps(gray, reconstructions.flatten(0, 1)).reshape(len(REGION_SIZES), -1, *images.shape[-2:])
        mean = maps.mean(0)
        return mean, mean.amax((1, 2))


# The networks, each a function from a batch to a batch of f32 tensors.


def torch_network(torch, directory, preset, peer):
    model = folded(torch, load(torch, directory / f"weights-{preset}.safetensors", WIDTHS[preset.split("-")[-1]]))
    dtype = torch.bfloat16 if peer.endswith("bf16") else torch.float32
    model = model.to(dtype)
    if peer.startswith("channels_last"):
        model = model.to(memory_format=torch.channels_last)
        return lambda x: model(x.to(dtype, memory_format=torch.channels_last)).float()
    if peer.startswith("compile"):
        import torch._inductor.config

        torch._inductor.config.freezing = True
        model = torch.compile(model)
    return lambda x: model(x.to(dtype)).float()


def onnx_network(torch, directory, preset):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        directory / f"model-{preset}.onnx", options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])


def openvino_network(torch, directory, preset, peer, shape):
    import openvino

    model = openvino.Core().read_model(directory / f"model-{preset}.onnx")
    model.reshape(list(shape))
    precision = "bf16" if peer.endswith("bf16") else "f32"
    options = {
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()

    def run(x):
        request.infer([x.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor().data.astype(np.float32))

    return run


def network(torch, directory, preset, peer, shape):
    if peer.startswith("openvino"):
        return openvino_network(torch, directory, preset, peer, shape)
    if peer == "onnxruntime":
        return onnx_network(torch, directory, preset)
    return torch_network(torch, directory, preset, peer)


# Workloads: each gives a function that runs once and returns its results, and a note for the report.


def forward(directory, peer, preset, batch):
    torch = import_torch()
    run = network(torch, directory, preset, peer, (batch, 3, SIZE, SIZE))
    hidden = torch.zeros(batch, 3, SIZE, SIZE)  # What riad-bench's single pass sees: every region hidden.

    def once():
        with torch.no_grad():
            return run(hidden)

    return once, lambda output: (output + 1) / 2, ""


def score(directory, peer, preset, count):
    torch = import_torch()
    images = torch.from_numpy(read_floats(directory / "images-256.f32", count, 3, SIZE, SIZE))

    def maps(gray, reconstructions):
        return region_maps(torch, gray, reconstructions)

    if peer.startswith("compile"):
        maps = torch.compile(maps)
    def scoring_with(passes_at_once):
        run = network(torch, directory, preset, peer, (passes_at_once, 3, SIZE, SIZE))
        return Scoring(torch, directory, run, passes_at_once, maps)

    def seconds_of_a_pass(scoring):
        batch = torch.zeros(scoring.passes_at_once, 3, SIZE, SIZE)
        scoring.network(batch)  # Packs weights.
        start = time.perf_counter()
        scoring.network(batch)
        return (time.perf_counter() - start) / scoring.passes_at_once

    scoring = scoring_with(1)
    # Compiling for two shapes takes minutes, and memory is measured of the way that needs least.
    if not (peer.startswith("compile") or "ONE_PASS_AT_A_TIME" in os.environ):
        at_once = scoring_with(len(REGION_SIZES) * SETS)
        with torch.no_grad():
            scoring = min(scoring, at_once, key=seconds_of_a_pass)
        del at_once

    def once():
        with torch.no_grad():
            # Image by image: a batch of images gains nothing where twelve passes do not, and takes more memory.
            return torch.cat([scoring(image)[0] for image in images.split(1)])

    return once, lambda maps: maps, "one pass at a time" if scoring.passes_at_once == 1 else "12 passes at once"


def restore(directory, peer, preset, size, count):
    torch = import_torch()
    images = torch.from_numpy(read_floats(directory / f"images-{size}.f32", count, 3, size, size))
    run = network(torch, directory, f"restore-{preset}", peer, (1, 3, size, size))
    maps = partial(restoration_map, torch)
    if peer.startswith("compile"):
        maps = torch.compile(maps)

    def once():
        with torch.no_grad():
            # Image by image: this is how they come from a line.
            return torch.cat([maps(x, (run(edges(torch, x) * 2 - 1) + 1) / 2) for x in images.split(1)])

    return once, lambda maps: maps, ""


def train(directory, peer, preset, size, batch):
    torch = import_torch()
    images = torch.from_numpy(read_floats(directory / f"images-{size}.f32", batch, 3, size, size))
    model = load(torch, directory / f"initial-{preset}-{size}-{batch}.safetensors", WIDTHS[preset]).train()
    memory_format = torch.contiguous_format
    if peer in ("channels_last", "channels_last_bf16"):
        memory_format = torch.channels_last
        model = model.to(memory_format=memory_format)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5, fused=True)
    line = ssim_line(torch)

    def loss_of(copies, hidden):
        return training_loss(torch, images, hidden, model(copies), line)

    step_loss = torch.compile(loss_of) if peer == "compile" else loss_of
    cells = (size // TRAINING_REGION) ** 2

    def once():
        order = torch.stack([torch.randperm(cells) for _ in range(batch)]) % SETS
        order = order.reshape(batch, 1, size // TRAINING_REGION, size // TRAINING_REGION)
        order = order.repeat_interleave(TRAINING_REGION, 2).repeat_interleave(TRAINING_REGION, 3)
        hidden = torch.stack([(order == s).float() for s in range(SETS)])
        copies = ((images * 2 - 1) * (1 - hidden)).flatten(0, 1).contiguous(memory_format=memory_format)
        with torch.autocast("cpu", torch.bfloat16, enabled=peer.endswith("bf16")):
            loss = step_loss(copies, hidden)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return once, lambda loss: loss, ""


def metrics(directory, peer, size):
    from skimage.measure import label
    from sklearn.metrics import roc_auc_score

    truth = np.fromfile(directory / f"truth-{size}.u8", np.uint8).reshape(-1, size, size)
    maps = read_floats(directory / f"maps-{size}.f32", *truth.shape)

    def changes():
        """What each pixel adds to the false positives, and to the summed overlap of the regions."""
        false_positives = np.zeros(truth.shape, np.uint32)
        overlap = np.zeros(truth.shape, np.float64)
        regions = 0
        for index, image in enumerate(truth):
            labels, count = label(image, connectivity=2, return_num=True)
            regions += count
            false_positives[index] = labels == 0
            for region in range(1, count + 1):
                inside = labels == region
                overlap[index][inside] = 1 / inside.sum()
        return false_positives.ravel(), overlap.ravel() / regions

    def aupro(rates, overlaps, limit=0.3):
        end = np.searchsorted(rates, limit, side="right")
        at_limit = np.interp(limit, rates, overlaps)
        rates, overlaps = np.append(rates[:end], limit), np.append(overlaps[:end], at_limit)
        return np.trapezoid(overlaps, rates) / limit

    def curve(order, last):
        false_positives, overlap = changes()
        rates = np.cumsum(false_positives[order], dtype=np.float64)
        overlaps = np.cumsum(overlap[order])
        rates /= rates[-1]
        return np.append(0, rates[last]), np.append(0, overlaps[last])

    def sorted_scores():
        scores = maps.ravel()
        order = np.argsort(scores)[::-1]
        ranked = scores[order]
        return order, np.append(np.diff(ranked) != 0, True)

    def scikit():
        """AUROC by scikit-learn, AUPRO as MVTec's evaluation computes it."""
        auroc = roc_auc_score(truth.ravel(), maps.ravel())
        return np.array([auroc, aupro(*curve(*sorted_scores()))])

    def one_sort():
        """Both from one sort: what neither library does, and the least that numpy needs."""
        order, last = sorted_scores()
        defects = np.cumsum(truth.ravel()[order], dtype=np.float64)
        good = np.arange(1, len(order) + 1) - defects
        auroc = np.trapezoid(np.append(0, defects[last]), np.append(0, good[last])) / (defects[-1] * good[-1])
        return np.array([auroc, aupro(*curve(order, last))])

    return {"scikit": scikit, "numpy": one_sort}[peer], lambda values: values, ""


def decode(peer, images):
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    def one(path):
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(np.asarray(resized, np.float32).transpose(2, 0, 1)) / 255

    if peer == "pillow":
        return lambda: np.stack([one(path) for path in images]), lambda values: values, ""
    pool = ThreadPoolExecutor(THREADS)
    return lambda: np.stack(list(pool.map(one, images))), lambda values: values, ""


def make(directory, images, workload, peer):
    kind, *arguments = workload.split("-")
    if kind == "forward":
        return forward(directory, peer, arguments[0], int(arguments[1]))
    if kind == "score":
        return score(directory, peer, arguments[0], int(arguments[1]))
    if kind == "restore":
        return restore(directory, peer, arguments[0], int(arguments[1]), int(arguments[2]))
    if kind == "train":
        return train(directory, peer, arguments[0], int(arguments[1]), int(arguments[2]))
    if kind == "metrics":
        return metrics(directory, peer, int(arguments[0]))
    if kind == "decode":
        return decode(peer, images)
    raise ValueError(f"there is no workload {workload}")


def serve(directory, images):
    # Whatever a library prints must not look like an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made = {}
    for line in sys.stdin:
        try:
            verb, *words = line.rstrip("\n").split(" ", 3)
            answer = {}
            if verb == "forget":
                made.clear()
            else:
                key = tuple(words[:2])
                if key not in made:
                    made[key] = make(directory, images, *key)
                once, values, note = made[key]
                start = time.perf_counter()
                output = once()
                answer = {"seconds": time.perf_counter() - start, "note": note}
                if verb == "output":
                    np.asarray(values(output), np.float64).tofile(words[2])
        except Exception as error:  # noqa: BLE001: whatever it is, the report tells it and the run goes on.
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(answer), file=answers, flush=True)


def score_once(directory, preset):
    """The whole way from a started process to a score, in eager PyTorch."""
    torch = import_torch()
    from PIL import Image

    with Image.open(directory / "image.png") as image:
        pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]) / 255
    run = torch_network(torch, directory, preset, "channels_last")
    with torch.inference_mode():
        scoring = Scoring(torch, directory, run, 1, lambda *images: region_maps(torch, *images))
        print(scoring(images)[1].item())


def prepare(directory):
    torch = import_torch()
    from PIL import Image
    from safetensors.torch import save_file

    rng = np.random.default_rng(1)
    images = textures(torch, rng, 32, SIZE)
    images.tofile(directory / "images-256.f32")
    textures(torch, rng, 4, 128).tofile(directory / "images-128.f32")
    Image.fromarray((images[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(directory / "image.png")

    for preset, width in WIDTHS.items():
        visible = torch.from_numpy(rng.random((2, 1, SIZE, SIZE)) > 1 / SETS)
        both = torch.from_numpy(images[:2])
        networks = {preset: (both * 2 - 1) * visible}
        if preset != "paper":  # Which no workload restores with.
            networks[f"restore-{preset}"] = edges(torch, both) * 2 - 1
        for name, seen in networks.items():
            model = random_unet(torch, width, seen)
            state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
            save_file(state, directory / f"weights-{name}.safetensors")
            export(torch, folded(torch, model), directory / f"model-{name}.onnx", seen.shape[1])

    for size in (256, 1024):
        y, x = np.mgrid[:size, :size].astype(np.float32) / size
        maps, truths = [], []
        for index in range(83):  # As bottle: 20 good images, 63 with one to three defects.
            truth = np.zeros((size, size), bool)
            for _ in range(0 if index < 20 else rng.integers(1, 4)):
                (cy, cx), (ry, rx) = rng.uniform(0.15, 0.85, 2), rng.uniform(0.02, 0.12, 2)
                truth |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
            coarse = torch.from_numpy(np.stack([rng.random((16, 16), np.float32)])[None])
            background = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")[0, 0].numpy()
            window = size // 12 | 1
            blurred = torch.from_numpy(truth[None, None].astype(np.float32))
            for shape in ((window, 1), (1, window)):
                padding = tuple(side // 2 for side in shape)
                blurred = torch.nn.functional.avg_pool2d(blurred, shape, 1, padding)
            blurred = blurred[0, 0].numpy()
            maps.append(0.3 * background + 0.4 * blurred * rng.uniform(0.5, 1.0) + 0.01 * rng.random((size, size), np.float32))
            truths.append(truth)
        np.stack(maps).astype(np.float32).tofile(directory / f"maps-{size}.f32")
        np.stack(truths).astype(np.uint8).tofile(directory / f"truth-{size}.u8")


def export(torch, model, path, inputs):
    batch, height, width = (torch.export.Dim(name) for name in ("batch", "height", "width"))
    dynamic = ({0: batch, 2: 16 * height, 3: 16 * width},)
    torch.onnx.export(model, (torch.zeros(2, inputs, SIZE, SIZE),), path, dynamic_shapes=dynamic, external_data=False)


def versions():
    from importlib.metadata import version

    names = ["torch", "onnxruntime", "openvino", "numpy", "scikit-learn", "scikit-image", "pillow"]
    print(json.dumps({"python": sys.version.split()[0]} | {name: version(name) for name in names}))


def main():
    command, *arguments = sys.argv[1:]
    if command == "versions":
        versions()
    elif command == "prepare":
        prepare(Path(arguments[0]))
    elif command == "score":
        score_once(Path(arguments[0]), arguments[1])
    elif command == "serve":
        serve(Path(arguments[0]), arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
