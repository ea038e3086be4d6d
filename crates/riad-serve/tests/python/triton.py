"""The Open Inference Protocol as Triton's own client speaks it (PyPI's tritonclient).

python triton.py URL LINE PICTURE SCORE: each way to give the picture scores as the command said.
"""

import sys

import numpy
import tritonclient.http as triton
from PIL import Image

url, line, picture, expected = sys.argv[1].removeprefix("http://"), sys.argv[2], sys.argv[3], numpy.float32(sys.argv[4])
client = triton.InferenceServerClient(url)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(line)
assert client.get_model_metadata(line)["name"] == line

with open(picture, "rb") as file:
    encoded = numpy.array([file.read()], dtype=object)
pixels = numpy.array(Image.open(picture).convert("RGB"))
ways = [("BYTES", encoded, [1], True), ("UINT8", pixels, list(pixels.shape), True), ("UINT8", pixels, list(pixels.shape), False)]
for datatype, data, shape, is_binary in ways:
    tensor = triton.InferInput("image", shape, datatype)
    tensor.set_data_from_numpy(data, binary_data=is_binary)
    found = client.infer(line, [tensor])
    assert found.as_numpy("score")[0] == expected, (datatype, is_binary, found.as_numpy("score"), expected)
    assert found.as_numpy("verdict")[0] in ("good", "defective")

some = client.infer(line, [tensor], outputs=[triton.InferRequestedOutput("score")])
assert some.as_numpy("score")[0] == expected and some.as_numpy("verdict") is None

too_bright = triton.InferInput("image", [2, 2, 3], "FP32")
too_bright.set_data_from_numpy(numpy.full((2, 2, 3), 7, numpy.float32))
try:
    client.infer(line, [too_bright])
except triton.InferenceServerException as error:
    assert "[0, 1]" in str(error), error
else:
    raise AssertionError("values above 1 were taken")
