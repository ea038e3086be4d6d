"""What TensorBoard makes of a run's events: the steps and values of loss/train, the steps of a picture, and its size.

    python crates/riad-cli/tests/reference/tensorboard_read.py RUN     (tensorboard)
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
events.Reload()
pictures = events.Images("validation/a.png")
print(
    [[scalar.step, scalar.value] for scalar in events.Scalars("loss/train")],
    [picture.step for picture in pictures],
    [pictures[0].height, pictures[0].width],
)
