"""Trains a model for each product, a folder with good images each, on a cluster; with a table at the end.

    python train_many.py products runs --cpus 2 --preset tiny

Runs lie on storage that every node sees. A worker that is killed is begun again elsewhere, and goes on from the run's last save to the
same bytes. The same command goes on after any crash, and trains no finished run again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import ray
import riad


def train(data: str, out: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Trains a product, or goes on. Whatever is wrong with one product keeps no other from being trained."""
    row: dict[str, Any] = {"product": os.path.basename(out), "run": out, "error": None}
    start = time.monotonic()
    try:
        run = riad.train(data, out=out, **settings)
        detector = riad.Detector(run)
        scores = detector.calibration
        row |= {
            "epochs": len(run.history()),
            "model": detector.id,
            "calibrated with": 0 if scores is None else len(scores),
        }
    except riad.Error as error:
        row["error"] = str(error)
    row["seconds"] = round(time.monotonic() - start, 1)
    return row


def train_many(products: dict[str, str], runs: str, settings: dict[str, Any], *, cpus: float = 1) -> list[dict[str, Any]]:
    """Trains every product of a name and a folder; a row for each, in the order of the names."""
    # A node or a worker that dies is no error of the product: it is tried until it is done.
    task = ray.remote(num_cpus=cpus, max_retries=-1)(train)
    names = sorted(products)
    return ray.get([task.remote(products[name], os.path.join(runs, name), settings) for name in names])


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", help="a folder with a folder of good images, or a data set's category, for each product")
    parser.add_argument("runs", help="the folder for runs")
    parser.add_argument("--cpus", type=float, default=1, help="processors of each training (default: %(default)s)")
    parser.add_argument("--preset", choices=["tiny", "small", "paper"])
    parser.add_argument("--size", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--address", help="Ray's head; by default a cluster that is there, or one on this machine")
    arguments = parser.parse_args()
    ray.init(address=arguments.address)
    products = {entry.name: os.path.abspath(entry.path) for entry in os.scandir(arguments.products) if entry.is_dir()}
    settings = {name: getattr(arguments, name) for name in ("preset", "size", "epochs")}
    # Ray counts on it that a task takes no more.
    os.environ.setdefault("RAYON_NUM_THREADS", str(max(1, int(arguments.cpus))))
    rows = train_many(products, os.path.abspath(arguments.runs), settings, cpus=arguments.cpus)
    columns = ("product", "epochs", "calibrated with", "model", "seconds", "error")
    table = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return 1 if any(row["error"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
