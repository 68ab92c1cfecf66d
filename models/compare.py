"""Compares a prepared model with the original it was made from, number by number, without any inference library.

    compare.py yunet|centerface|yolox-nano ORIGINAL.onnx RESULT.onnx

Both are run at 64x64 by ONNX's own reference implementation, on noise and on a gradient. Outputs of the original are
brought into the layout of the result.
Exits with 1 when any number differs by more than LIMIT.
"""

import sys

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

SIDE = 64
LIMIT = 1e-4  # of numbers up to about 10


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def yunet(old, new):
    for stride in (8, 16, 32):
        rows = new[f"head_{stride}"].transpose(0, 2, 3, 1).reshape(1, -1, 6)
        yield old[f"cls_{stride}"], sigmoid(rows[..., 0:1])
        yield old[f"obj_{stride}"], sigmoid(rows[..., 1:2])
        yield old[f"bbox_{stride}"], rows[..., 2:]


def centerface(old, new):
    maps = new["maps"]
    yield old["537"], sigmoid(maps[:, 0:1])
    yield old["538"], maps[:, 1:3]
    yield old["539"], maps[:, 3:5]


def yolox_nano(old, new):
    yield old["output"][..., :6], new["output"]


def runnable(path):
    """The model with the sizes that it declares made free: a fixed one would be enforced, right or wrong."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [v for v in model.graph.input if v.name not in weights]:
        for at, side in ((0, "one"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[at].dim_param = side
    # Momentum means something in training alone, but the reference implementation applies it: 1 stands for "not at all".
    for attribute in [a for n in model.graph.node if n.op_type == "BatchNormalization" for a in n.attribute]:
        if attribute.name == "momentum":
            attribute.f = 1.0
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(inputs)
    return ReferenceEvaluator(model), inputs[0].name, [value.name for value in model.graph.output]


def main():
    pairs = {"yunet": yunet, "centerface": centerface, "yolox-nano": yolox_nano}
    if len(sys.argv) != 4 or sys.argv[1] not in pairs:
        sys.exit("usage: compare.py " + "|".join(pairs) + " ORIGINAL.onnx RESULT.onnx")
    name, *paths = sys.argv[1:]
    models = [runnable(path) for path in paths]
    noise = np.random.default_rng(1).uniform(0, 255, (1, 3, SIDE, SIDE))
    gradient = np.linspace(0, 255, 3 * SIDE * SIDE).reshape(1, 3, SIDE, SIDE)
    worst = largest = 0.0
    for picture in (noise, gradient):
        old, new = (
            dict(zip(outputs, model.run(outputs, {source: picture.astype(np.float32)}), strict=True))
            for model, source, outputs in models
        )
        for a, b in pairs[name](old, new):
            assert a.shape == b.shape and np.isfinite(a).all() and np.isfinite(b).all(), "misshapen or not finite"
            worst = max(worst, float(np.abs(a - b).max()))
            largest = max(largest, float(np.abs(a).max()))
    print(f"{name}: numbers up to {largest:.1f} differ by at most {worst:.1e} from the original's")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
