"""How fast actors of a cluster on this machine look at images, beside one process, on the same cores.

    python measure.py photos runs/lid

Each way is begun several times in turn, since other programs make times vary. Together, the actors have as many threads as the process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

import psutil
import pyarrow.parquet as pq
import ray
import ray.data
import riad
import riad.ray
from score import score


class Timed(riad.ray.Inspector):
    """An actor that notes when it began and ended a batch, and its memory."""

    def __call__(self, batch):  # type: ignore[no-untyped-def]
        start = time.time()
        table = super().__call__(batch)
        with open(os.path.join(os.environ["RIAD_TIMES"], f"{os.getpid()}.txt"), "a") as file:
            memory = psutil.Process().memory_info().rss
            print(start, time.time(), table.num_rows, memory, file=file)
        return table


def on_ray(photos: str, model: str, workers: int, times: str) -> tuple[float, int]:
    """Images a second from the first batch on, and the largest memory of an actor."""
    riad.ray.Inspector = Timed  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as out:
        threads = max(1, (os.cpu_count() or 1) // workers)
        score(photos, model, out, workers=workers, cpus=0.5, batch=16, blocks=16, threads=threads)
        assert sum(pq.read_metadata(os.path.join(out, f)).num_rows for f in os.listdir(out)) > 0
    lines = [line.split() for f in os.listdir(times) for line in open(os.path.join(times, f))]
    for file in os.listdir(times):
        os.remove(os.path.join(times, file))
    begun = min(float(line[0]) for line in lines)
    ended = max(float(line[1]) for line in lines)
    return sum(int(line[2]) for line in lines) / (ended - begun), max(int(line[3]) for line in lines)


def main() -> None:
    """Prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    photos, model = os.path.abspath(arguments.photos), os.path.abspath(arguments.model)
    with tempfile.TemporaryDirectory() as times:
        os.environ["RIAD_TIMES"] = times
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"RIAD_TIMES": times}})
        detector = riad.Detector(model)
        rates: dict[str, list[float]] = {}
        memory: dict[str, int] = {}
        for _ in range(arguments.rounds):
            start = time.time()
            count = sum(1 for _ in detector.inspect_many(photos))
            rates.setdefault("one process", []).append(count / (time.time() - start))
            for workers in (1, os.cpu_count() or 2):
                name = f"Ray, {workers} actor" + "s" * (workers > 1)
                rate, most = on_ray(photos, model, workers, times)
                rates.setdefault(name, []).append(rate)
                memory[name] = max(memory.get(name, 0), most)
    print(f"{count} images; load {os.getloadavg()[0]:.1f}")
    for name, values in rates.items():
        shown = ", ".join(f"{value:.1f}" for value in values)
        most = f"; an actor takes {memory[name] / 2**20:.0f} MiB" if name in memory else ""
        print(f"{name}: {statistics.median(values):.1f} ({shown}){most}")


if __name__ == "__main__":
    main()
