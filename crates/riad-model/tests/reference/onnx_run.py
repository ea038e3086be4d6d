"""Checks model.onnx with ONNX's own checker and runs it on the images in input with onnxruntime: map and score.

    python crates/riad-model/tests/reference/onnx_run.py     (numpy, onnx, onnxruntime; in the folder of these files)
"""

import numpy as np
import onnx
import onnxruntime

onnx.checker.check_model("model.onnx", full_check=True)
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape
images = np.fromfile("input", "<f4").reshape(-1, *shape[1:])
for name, values in zip(("map", "score"), session.run(["map", "score"], {"image": images})):
    values.astype("<f4").tofile(name)
