"""What a cluster of many nodes would give, by a simulated schedule; `docs/scaling.md` has the model and what it assumes.

    python simulate.py --seconds 0.020 --bytes 150000
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """What the schedule depends on."""

    nodes: int
    """Machines."""
    actors: int = 4
    """Actors on each that look at images."""
    seconds: float = 0.02
    """Processor seconds of an actor for an image: decoding and scoring."""
    bytes: int = 150_000
    """Of an image's file."""
    images: int = 1_000_000
    """In all."""
    block: int = 64
    """Images of a task."""
    storage: float = 2e9
    """Bytes a second that the shared storage gives to all nodes together."""
    link: float = 1.25e9
    """Bytes a second that a node can take."""
    driver: float = 0.003
    """Seconds of Ray's driver for a task, one after the other: scheduling, and keeping book of its result."""
    start: float = 10.0
    """Seconds until an actor has started and opened its model."""
    scatter: float = 0.2
    """Standard deviation of a task's time as a share of it."""


def simulate(cluster: Cluster, seed: int = 0) -> tuple[float, float, float, float]:
    """The seconds that all takes; and how busy actors, storage and driver were, as shares of it.

    Tasks are handed out in order. A task waits for the driver, then for the storage, which serves one after the other at its full rate
    (as long as the node's link takes it), and then for the first actor that is free. Reading goes on ahead of the actors, two tasks for
    each.
    """
    dice = random.Random(seed)
    tasks = -(-cluster.images // cluster.block)
    workers = cluster.nodes * cluster.actors
    free = [cluster.start] * workers
    heapq.heapify(free)
    begun: list[float] = []
    driver = storage = worked = read_time = 0.0
    content = cluster.block * cluster.bytes
    for task in range(tasks):
        # It is read when a place ahead of the actors is free.
        ready = begun[task - 2 * workers] if task >= 2 * workers else 0.0
        driver = max(driver, ready) + cluster.driver
        storage = max(storage, driver) + content / cluster.storage
        arrived = max(storage, driver + content / cluster.link)
        start = max(heapq.heappop(free), arrived)
        took = cluster.block * cluster.seconds * max(0.1, dice.gauss(1.0, cluster.scatter))
        heapq.heappush(free, start + took)
        begun.append(start)
        worked += took
        read_time += content / cluster.storage
    end = max(free)
    return end, worked / (workers * end), read_time / end, tasks * cluster.driver / end


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Cluster(1)
    for name in ("actors", "seconds", "bytes", "images", "block", "storage", "link", "driver", "start"):
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help="(default: %(default)s)")
    settings = vars(parser.parse_args())
    print("| nodes | images a second | of a node times their number | actors busy | storage busy | driver busy |")
    print("|---|---|---|---|---|---|")
    alone = 0.0
    for nodes in (1, 2, 5, 10, 20, 50, 100, 200):
        cluster = Cluster(nodes, **settings)
        end, actors, storage, driver = simulate(cluster)
        rate = cluster.images / end
        alone = alone or rate
        print(f"| {nodes} | {rate:,.0f} | {rate / (alone * nodes):.0%} | {actors:.0%} | {storage:.0%} | {driver:.0%} |")


if __name__ == "__main__":
    main()
