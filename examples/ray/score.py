"""Looks at all images below a folder on a cluster, and writes what is found as Parquet files.

    python score.py photos runs/lid results --fpr 0.05 --workers 4

One unreadable image is a row with an error. After a crash the same command goes on where it was: an image whose path, content and
model have a row is passed over. What is found does not depend on the number of workers, on blocks or on their order.
"""

from __future__ import annotations

import argparse
import os
import sys

import ray
import ray.data
import riad
import riad.ray

# What the reader looks at. The content decides, whatever the name.
EXTENSIONS = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif", "ppm", "pgm", "npy"]


def score(
    photos: str,
    model: str,
    out: str,
    *,
    fpr: float | None = None,
    workers: int = 1,
    cpus: float = 0.5,
    batch: int = 16,
    blocks: int | None = None,
    threads: int | None = None,
) -> int:
    """Looks at what has no row yet, and gives how many rows there were before."""
    os.makedirs(out, exist_ok=True)
    before = riad.ray.done(out)
    images = ray.data.read_binary_files(
        photos, include_paths=True, file_extensions=EXTENSIONS, override_num_blocks=blocks
    )
    results = images.map_batches(
        riad.ray.Inspector,
        # Every node checks that it opens the very file.
        fn_constructor_args=[riad.Detector(model)],
        fn_constructor_kwargs={"fpr": fpr, "passed_over": ray.put(before), "threads": threads},
        batch_size=batch,
        batch_format="pyarrow",
        # Where actors take all processors, nothing is left to read with.
        num_cpus=cpus,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    results.write_parquet(out)
    return len(before)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder, with its subfolders")
    parser.add_argument("model", help="a run's folder or a checkpoint, on storage that every node sees")
    parser.add_argument("out", help="the folder for Parquet files, likewise")
    parser.add_argument("--fpr", type=float, help="gives verdicts and regions at this false-positive rate")
    parser.add_argument("--workers", type=int, default=1, help="actors that look at images (default: %(default)s)")
    parser.add_argument("--cpus", type=float, default=0.5, help="processors of each (default: %(default)s)")
    parser.add_argument("--address", help="Ray's head; by default a cluster that is there, or one on this machine")
    arguments = parser.parse_args()
    ray.init(address=arguments.address)
    before = score(
        os.path.abspath(arguments.photos),
        os.path.abspath(arguments.model),
        os.path.abspath(arguments.out),
        fpr=arguments.fpr,
        workers=arguments.workers,
        cpus=arguments.cpus,
    )
    rows = ray.data.read_parquet(os.path.abspath(arguments.out)).count()
    print(f"{rows} rows in {arguments.out}, {before} of them from before")
    return 0


if __name__ == "__main__":
    sys.exit(main())
