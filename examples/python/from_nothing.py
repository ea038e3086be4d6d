"""From a folder of good pictures to verdicts and an overlay, in Python alone.

    python from_nothing.py bottle/train/good bottle/test/good bottle/test/broken_large --time 300
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import riad


def main() -> int:
    """Trains, measures, and draws the worst picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", help="good pictures to learn from")
    parser.add_argument("good", help="other good pictures")
    parser.add_argument("bad", help="pictures with a defect")
    parser.add_argument("--out", default="runs/from-nothing")
    parser.add_argument("--time", type=float, help="seconds to train for at most")
    arguments = parser.parse_args()

    # Ctrl-C stops it, and the same call goes on.
    run = riad.train(arguments.train, out=arguments.out, calibration=0.2, time=arguments.time, progress=True)
    detector = riad.Detector(run)
    print("calibrated with " + detector.facts().get("calibrated with", "nothing: it has no threshold"))

    report = Path(arguments.out) / "report.html"
    evaluation = riad.evaluate(run, good=arguments.good, bad=arguments.bad, report=report)
    print(evaluation.sentence)
    print(", ".join(f"{name} {value:.3f}" for name, value in evaluation.metrics.items() if value is not None))

    worst = max((found for found in detector.inspect_many(arguments.bad) if found.error is None), key=lambda found: found.score)
    overlay = Path(arguments.out) / "overlay.png"
    worst.save_overlay(overlay, fpr=0.05)
    print(f"{worst.path} is {worst.verdict(fpr=0.05)}: score {worst.score}, {len(worst.regions(fpr=0.05))} regions, in {overlay}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
