"""What `cargo xtask bench --device cuda` compares RIAD with on an NVIDIA GPU: the same work in PyTorch.

    python gpu_peers.py                                  every work and peer, at the size of the paper
    python gpu_peers.py --work train --batches 4,16      only training steps, of 4 and of 16 images
    python gpu_peers.py --device cpu --width 16 --size 64 --images 1 --batches 1 --seconds 0.1
                                                         whether the script runs, on a machine without a GPU

Prints one line of JSON per result, and first one with the versions. Network, loss and maps are those of peers.py; like
there, each peer is written as fast as its users' guides teach: TF32 or bf16, channels-last, fused Adam, pinned memory.
Peers that compile come last, and are left out after `--limit` seconds.
"""

import argparse
import gc
import json
import resource
import statistics
import sys
import time

import numpy as np

import peers
from peers import REGION_SIZES, SETS, TRAINING_REGION

# Cheap ones first; those of the second list only with --thorough, or by name.
PEERS = {
    "train": (["eager", "eager_amp", "compile_amp"], ["compile_amp_autotune"]),
    "score": (["channels_last_bf16", "channels_last_tf32", "compile_bf16"], ["compile_bf16_graphs"]),
    "forward": (["channels_last_bf16", "channels_last_tf32", "compile_bf16"], ["compile_bf16_graphs"]),
}
MODES = {"autotune": "max-autotune-no-cudagraphs", "graphs": "reduce-overhead"}
FORWARD_BATCH = len(REGION_SIZES) * SETS
MOST_RUNS = 500


class Bench:
    def __init__(self, torch, options):
        self.torch, self.options, self.device = torch, options, options.device
        self.cuda = options.device == "cuda"
        rng = np.random.default_rng(1)
        count = max(options.batches + options.images + [FORWARD_BATCH])
        self.pictures = torch.from_numpy(peers.textures(torch, rng, count, options.size))
        visible = torch.from_numpy(rng.random((2, 1, options.size, options.size)) > 1 / SETS)
        if options.weights:
            model = peers.load(torch, options.weights, options.width)
        else:
            model = peers.random_unet(torch, options.width, (self.pictures[:2] * 2 - 1) * visible)
        self.state = model.state_dict()

    def model(self):
        model = peers.unet(self.torch, self.options.width)
        model.load_state_dict(self.state)
        return model.to(self.device)

    def synchronize(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def order(self, batch, region):
        """The set [B, 1, H, W] in which each pixel is hidden: equal sets of cells, at random, without waiting."""
        cells = -(-self.options.size // region)
        order = self.torch.rand(batch, cells * cells, device=self.device).argsort(1) % SETS
        order = order.reshape(batch, 1, cells, cells)
        order = order.repeat_interleave(region, 2).repeat_interleave(region, 3)
        return order[..., : self.options.size, : self.options.size]

    def compiled(self, function, peer):
        if not peer.startswith("compile"):
            return function
        return self.torch.compile(function, dynamic=False, mode=MODES.get(peer.rsplit("_", 1)[-1]))

    # The works: each gives a function that runs once, one that tells a number of what it made, whether its runs are
    # queued without waiting for each other, and a note.

    def train(self, peer, batch):
        torch, size = self.torch, self.options.size
        amp = "amp" in peer
        torch.backends.cudnn.benchmark = amp
        memory_format = torch.channels_last if amp else torch.contiguous_format
        images = self.pictures[:batch].to(self.device)
        model = self.model().to(memory_format=memory_format).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5, fused=True)
        line = peers.ssim_line(torch).to(self.device)

        def loss_of(order):
            hidden = torch.stack([(order == s).float() for s in range(SETS)])
            copies = ((images * 2 - 1) * (1 - hidden)).flatten(0, 1).contiguous(memory_format=memory_format)
            with torch.autocast(self.device, torch.bfloat16, enabled=amp):
                output = model(copies)
            # The loss in f32: SSIM's variances are differences of squares.
            return peers.training_loss(torch, images, hidden, output, line)

        step_loss = self.compiled(loss_of, peer)

        def once():
            loss = step_loss(self.order(batch, TRAINING_REGION))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            return loss.detach()

        note = f"{SETS * batch} copies of {size}x{size}, images already on the device, masks made there"
        return once, lambda loss: f"last loss {loss.item():.4f}", True, note

    def network(self, peer):
        """With batch norms folded, from and to f32."""
        torch = self.torch
        torch.backends.cudnn.benchmark = True
        dtype = torch.bfloat16 if "bf16" in peer else torch.float32
        model = peers.folded(torch, self.model()).to(dtype=dtype, memory_format=torch.channels_last)
        return lambda x: model(x.to(dtype, memory_format=torch.channels_last)).float(), dtype

    def score(self, peer, batch):
        torch, size = self.torch, self.options.size

        class Scoring(peers.Scoring):
            def __init__(scoring):
                scoring.torch, scoring.network = torch, self.network(peer)[0]
                scoring.passes_at_once = FORWARD_BATCH * batch
                scoring.maps = lambda gray, reconstructions: peers.region_maps(torch, gray, reconstructions)
                orders = torch.stack([self.order(1, region) for region in REGION_SIZES])
                scoring.hidden = torch.stack([orders == s for s in range(SETS)], 1).float()  # [K, n, 1, 1, H, W]

        images = self.pictures[:batch]
        maps, scores = torch.empty(batch, size, size), torch.empty(batch)
        if self.cuda:
            images, maps, scores = (tensor.pin_memory() for tensor in (images, maps, scores))
        scoring = self.compiled(Scoring().__call__, peer)

        def once():
            with torch.no_grad():
                made = scoring(images.to(self.device, non_blocking=True))
            for host, tensor in zip((maps, scores), made):
                host.copy_(tensor, non_blocking=True)
            self.synchronize()
            return scores

        note = f"{FORWARD_BATCH} passes per image, all at once; from pinned host memory to maps and scores there"
        return once, lambda scores: f"first score {scores[0].item():.4f}", False, note

    def forward(self, peer, batch):
        torch = self.torch
        network, dtype = self.network(peer)
        network = self.compiled(network, peer)
        visible = self.order(batch, TRAINING_REGION) != 0
        copies = (self.pictures[:batch].to(self.device) * 2 - 1) * visible
        copies = copies.to(dtype, memory_format=torch.channels_last)

        def once():
            with torch.no_grad():
                return network(copies)

        note = "input on the device, already in the network's own type and channels-last"
        return once, lambda output: f"mean output {output.mean().item():.4f}", True, note

    def measure(self, once, queued):
        """Medians of groups of runs; the device is waited for after each group, and within it where a run does so."""
        seconds = self.options.seconds

        def timed(count):
            self.synchronize()
            start = time.perf_counter()
            for _ in range(count):
                output = once()
            self.synchronize()
            return (time.perf_counter() - start) / count, output

        timed(1)  # Compiles, and tries the algorithms of cuDNN.
        warm, end = [timed(1)[0], timed(1)[0]], time.perf_counter() + min(1, seconds / 4)
        while time.perf_counter() < end:
            warm.append(timed(1)[0])
        group = max(1, min(50, round(seconds / 10 / min(warm)))) if queued else 1
        if self.cuda:
            self.torch.cuda.reset_peak_memory_stats()
        groups, end = [], time.perf_counter() + seconds
        while len(groups) < 3 or (time.perf_counter() < end and len(groups) < MOST_RUNS):
            taken, output = timed(group)
            groups.append(taken)
        if self.cuda:
            peak = self.torch.cuda.max_memory_allocated()
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Of all peers up to here.
        return groups, group, peak, output

    def result(self, work, peer, batch, freezing):
        import torch._inductor.config

        torch._inductor.config.freezing = freezing
        start = time.perf_counter()
        self.torch.manual_seed(1)
        once, told, queued, note = getattr(self, work)(peer, batch)
        groups, group, peak, output = self.measure(once, queued)
        median = statistics.median(groups)
        spread = f"{min(groups) * 1e3:.3f} to {max(groups) * 1e3:.3f} ms"
        whole = time.perf_counter() - start
        notes = [note, "frozen" if freezing else "", f"median of groups of {group}, {spread}", told(output)]
        return {
            "work": work,
            "peer": peer,
            "batch": batch,
            "seconds": median,
            "images_per_second": batch / median,
            "peak_memory_bytes": peak,
            "runs": len(groups) * group,
            "note": "; ".join(filter(None, [*notes, f"{whole:.0f} s with compiling and warm-up"])),
        }

    def clear(self):
        gc.collect()
        self.torch._dynamo.reset()
        if self.cuda:
            self.torch.cuda.empty_cache()

    def run(self, work, peer, batch):
        """The first result that comes: with Inductor's freezing where it works, else without."""
        errors = []
        for freezing in [True, False] if peer.startswith("compile") and work != "train" else [False]:
            try:
                return self.result(work, peer, batch, freezing)
            except Exception as error:  # noqa: BLE001: whatever it is, the line tells it and the rest goes on.
                errors.append(f"{type(error).__name__}: {error}".splitlines()[0][:300])
            finally:
                self.clear()
        return {"work": work, "peer": peer, "batch": batch, "error": "; ".join(errors)}


def versions(torch, options):
    line = {"python": sys.version.split()[0], "torch": torch.__version__, "device": options.device}
    if options.device == "cuda":
        line |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        line |= {"cudnn": torch.backends.cudnn.version()}
    return line | {"width": options.width, "size": options.size, "weights": options.weights or "random"}


def main():
    def numbers(text):
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batches", type=numbers, default=[4], help="images in a training step, such as 4,16")
    parser.add_argument("--images", type=numbers, default=[1, 8], help="images scored at once")
    parser.add_argument("--work", default="train,score,forward")
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument("--seconds", type=float, default=4, help="that each measurement takes, after warm-up")
    parser.add_argument("--limit", type=float, default=200, help="seconds after which no further peer is compiled")
    parser.add_argument("--weights", help="a file of safetensors; without one they are random, from a fixed seed")
    parser.add_argument("--thorough", action="store_true", help="also autotuning, and CUDA graphs")
    options = parser.parse_args()

    start = time.perf_counter()
    torch = peers.import_torch()
    torch.set_float32_matmul_precision("high")  # TF32 in matrix products, as in cuDNN's convolutions.
    torch.backends.cudnn.allow_tf32 = True
    print(json.dumps(versions(torch, options)), flush=True)
    bench = Bench(torch, options)
    batches = {"train": options.batches, "score": options.images, "forward": [FORWARD_BATCH]}
    jobs = []
    for work in options.work.split(","):
        usual, more = PEERS[work]
        wanted = options.peers.split(",") if options.peers else usual + more * options.thorough
        jobs += [(work, peer, batch) for peer in usual + more if peer in wanted for batch in batches[work]]

    def cost(job):
        compiles = job[1].startswith("compile")
        return compiles, job[1].endswith(tuple(MODES)), compiles and job[0] == "train"  # Two graphs, forward and back.

    for work, peer, batch in sorted(jobs, key=cost):
        if peer.startswith("compile") and time.perf_counter() - start > options.limit:
            line = {"work": work, "peer": peer, "batch": batch, "error": "left out: the time limit is reached"}
        else:
            line = bench.run(work, peer, batch)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
