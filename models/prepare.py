"""Turns the models as their authors publish them into the files committed here.

    prepare.py yunet|centerface|yolox-nano ORIGINAL.onnx RESULT.onnx

No weight is changed, rounded or retrained. What is done to all three:

- the declared batch is 1 and the declared height and width become symbols, because the originals name one fixed
  size (CenterFace even names a wrong one) although the networks take any multiple of 32;
- shapes recorded for intermediate values are dropped: they hold for the old fixed size only;
- weights that are listed as inputs as well are taken off the list of inputs.

YuNet only: at each of its three strides, four heads (cls, obj, bbox, kps) read the same features, each through its
own small convolutions. Their weights are stacked, so that one pair of convolutions does the work of four. The numbers
that come out are the same, and so are the names and shapes of the twelve outputs.

The result is the same byte for byte on every run: it depends on the original alone.
"""

import sys

import onnx
from onnx import helper

CHANGES = {
    "yunet": "Modified: dynamic height and width; the four head convolutions of each stride stacked into one.",
    "centerface": "Modified: dynamic height and width; weights no longer listed as inputs.",
    "yolox-nano": "Modified: dynamic height and width.",
}

HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # YuNet's heads and their channels
STRIDES = (8, 16, 32)
MAPS = {"537": 1, "538": 2, "539": 2, "540": 10}  # CenterFace's maps and their channels

# Shapes of the outputs; what depends on the input's height and width is a symbol.
OUTPUTS = {
    "yunet": {f"{head}_{s}": [1, f"cells_{s}", k] for head, k in HEADS.items() for s in STRIDES},
    "centerface": {name: [1, k, "height_4", "width_4"] for name, k in MAPS.items()},
    "yolox-nano": {"output": [1, "cells", 85]},
}


def set_shape(value, dims):
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for dim in dims:
        if isinstance(dim, int):
            shape.dim.add().dim_value = dim
        else:
            shape.dim.add().dim_param = dim


def make_dynamic(name, graph):
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    assert len(inputs) == 1, "expected one picture as input"
    del graph.input[:]
    graph.input.extend(inputs)
    set_shape(graph.input[0], [1, 3, "height", "width"])
    assert {value.name for value in graph.output} == set(OUTPUTS[name]), "unexpected outputs"
    for value in graph.output:
        set_shape(value, OUTPUTS[name][value.name])
    del graph.value_info[:]


def stack(parts, name):
    """One tensor from several, one after the other along the first axis (output channels of a convolution)."""
    assert all(p.data_type == onnx.TensorProto.FLOAT and p.raw_data and p.dims[1:] == parts[0].dims[1:] for p in parts)
    whole = onnx.TensorProto()
    whole.name = name
    whole.data_type = onnx.TensorProto.FLOAT
    whole.dims.extend([sum(p.dims[0] for p in parts), *parts[0].dims[1:]])
    whole.raw_data = b"".join(p.raw_data for p in parts)
    return whole


def conv(source, weight, bias, result, kernel, group):
    return helper.make_node(
        "Conv", [source, weight, bias], [result], name=result,
        dilations=[1, 1], group=group, kernel_shape=[kernel, kernel], pads=[kernel // 2] * 4, strides=[1, 1],
    )


def merge_heads(graph):
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers = {}
    for node in graph.node:
        for source in node.input:
            readers.setdefault(source, []).append(node)
    old, old_tensors, merged, new_tensors = set(), set(), [], []

    for level, stride in enumerate(STRIDES):
        pairs, sizes = [], []
        for head in HEADS:
            # Walk back from the output to the two convolutions; anything but the known chain is an error.
            node = makers[f"{head}_{stride}"]
            for op in (["Sigmoid"] if head in ("cls", "obj") else []) + ["Reshape", "Transpose"]:
                assert node.op_type == op, f"{head}_{stride}: {node.op_type} instead of {op}"
                old.add(node.output[0])
                if op == "Reshape":
                    old_tensors.add(node.input[1])
                node = makers[node.input[0]]
            spread, point = node, makers[node.input[0]]
            for part, count in ((point, 1), (spread, tensors[spread.input[1]].dims[0])):
                attributes = {a.name: helper.get_attribute_value(a) for a in part.attribute}
                assert part.op_type == "Conv" and attributes["group"] == count and attributes["strides"] == [1, 1]
                assert len(readers[part.output[0]]) == 1, "somebody else reads the head"
                old.add(part.output[0])
                old_tensors.update(part.input[1:])
            pairs.append((point, spread))
            sizes.append(tensors[spread.input[1]].dims[0])

        features = {point.input[0] for point, _ in pairs}
        assert len(features) == 1, "the heads of one stride read different features"
        for step, column in (("point", 0), ("spread", 1)):
            for kind, place in (("weight", 1), ("bias", 2)):
                parts = [tensors[pair[column].input[place]] for pair in pairs]
                new_tensors.append(stack(parts, f"head_{level}.{step}.{kind}"))
        channels = sum(sizes)
        head = f"head_{level}"
        merged += [
            conv(features.pop(), f"{head}.point.weight", f"{head}.point.bias", f"{head}.point", 1, 1),
            conv(f"{head}.point", f"{head}.spread.weight", f"{head}.spread.bias", f"{head}.spread", 3, channels),
            helper.make_node("Transpose", [f"{head}.spread"], [f"{head}.rows"], name=f"{head}.rows", perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{head}.rows", "head.cells"], [f"{head}.cells"], name=f"{head}.cells"),
            helper.make_node(
                "Split", [f"{head}.cells"],
                [f"{head}.cls", f"{head}.obj", f"bbox_{stride}", f"kps_{stride}"],
                name=f"{head}.split", axis=2, split=sizes,
            ),
            helper.make_node("Sigmoid", [f"{head}.cls"], [f"cls_{stride}"], name=f"cls_{stride}"),
            helper.make_node("Sigmoid", [f"{head}.obj"], [f"obj_{stride}"], name=f"obj_{stride}"),
        ]

    new_tensors.append(helper.make_tensor("head.cells", onnx.TensorProto.INT64, [3], [1, -1, channels]))
    kept = [node for node in graph.node if node.output[0] not in old]
    weights = [tensor for tensor in graph.initializer if tensor.name not in old_tensors]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept + merged)
    graph.initializer.extend(weights + new_tensors)


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHANGES:
        sys.exit("usage: prepare.py " + "|".join(CHANGES) + " ORIGINAL.onnx RESULT.onnx")
    name, original, result = sys.argv[1:]
    model = onnx.load(original)
    make_dynamic(name, model.graph)
    if name == "yunet":
        merge_heads(model.graph)
    model.doc_string = CHANGES[name]
    onnx.checker.check_model(model, full_check=True)
    with open(result, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
