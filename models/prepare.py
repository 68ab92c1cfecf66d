"""Turns the models as their authors publish them into the files committed here.

    prepare.py yunet|centerface|yolox-nano ORIGINAL.onnx RESULT.onnx

Nothing is rounded or retrained. What is done to all three:

- the declared batch is 1 and the declared height and width become symbols, because the originals name one fixed
  size (CenterFace even names a wrong one) although the networks take any multiple of 32;
- shapes recorded for intermediate values are dropped: they hold for the old fixed size only;
- weights that are listed as inputs as well are taken off the list of inputs;
- what nobody reads is left out: landmarks, and the 79 classes of YOLOX that are no persons.

Then the graph is made shorter, so that it says the same sooner:

- YuNet: at each stride, the small convolutions of the heads (cls, obj, bbox) read the same features. Their weights are
  stacked: one pair of convolutions, one output `head_S`. Turning it into rows, and the sigmoid of every cell, are left
  out: the decoder reads the maps as they lie, and takes the sigmoid of the few cells that count.
- CenterFace: the same for its three maps, which become the output `maps`; a normalisation behind two of its transposed
  convolutions becomes part of their weights.
- YOLOX-Nano: the picture's four interleaved quarters, cut out and stacked for the first convolution, become one
  convolution of twice the size and stride.

The result is the same byte for byte on every run: it depends on the original alone.
"""

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

CHANGES = {
    "yunet": "Modified: dynamic height and width; heads stacked into one output for each stride; no landmarks.",
    "centerface": "Modified: dynamic height and width; maps stacked into one output; no landmarks.",
    "yolox-nano": "Modified: dynamic height and width; the first convolution reads the picture itself; persons alone.",
}

HEADS = ("cls", "obj", "bbox")  # YuNet's heads that are read: 1 + 1 + 4 channels
STRIDES = (8, 16, 32)
MAPS = ("537", "538", "539")  # CenterFace's maps that are read: 1 score, 2 sizes, 2 offsets
PERSON = 0  # among the classes of COCO


class Graph:
    """A model's graph, with the few ways in which it is changed here."""

    def __init__(self, graph):
        self.graph = graph
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.makers = {output: node for node in graph.node for output in node.output}

    def add_weight(self, name, array):
        self.weights[name] = array
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def add_conv(self, source, weight, bias, result, pad, stride=1, group=1):
        size = self.weights[weight].shape[2]
        self.graph.node.append(helper.make_node(
            "Conv", [source, weight, bias], [result], name=result, dilations=[1, 1], group=group,
            kernel_shape=[size, size], pads=[pad] * 4, strides=[stride, stride],
        ))

    def stack(self, nodes, name):
        """The weights and biases of several convolutions, one after the other; their names."""
        for kind, place in (("weight", 1), ("bias", 2)):
            self.add_weight(f"{name}.{kind}", np.concatenate([self.weights[node.input[place]] for node in nodes]))
        return f"{name}.weight", f"{name}.bias"

    def before(self, value, *ops):
        """Walks back from a value over nodes of these kinds to a convolution; anything else is an error."""
        for op in ops:
            node = self.makers[value]
            assert node.op_type == op, f"{node.op_type} instead of {op}"
            value = node.input[0]
        node = self.makers[value]
        assert node.op_type == "Conv", f"{node.op_type} instead of Conv"
        return node

    def finish(self, shapes):
        """Declares input and outputs, and drops what does not lead to an output."""
        declared = {name: [1, *shape] for name, shape in shapes.items()}
        inputs = [value for value in self.graph.input if value.name not in self.weights]
        assert len(inputs) == 1, "expected one picture as input"
        replace(self.graph.input, [tensor_info(inputs[0].name, [1, 3, "height", "width"])])
        replace(self.graph.output, [tensor_info(name, shape) for name, shape in declared.items()])
        replace(self.graph.value_info, [])
        # Those that were appended stand behind their readers' place: bring all into the order of the data.
        makers = {output: node for node in self.graph.node for output in node.output}
        ordered, seen = [], set()

        def visit(value):
            node = makers.get(value)
            if node is None or value in seen:
                return
            seen.update(node.output)
            for source in node.input:
                visit(source)
            ordered.append(node)

        for name in declared:
            visit(name)
        needed = {source for node in ordered for source in node.input}
        replace(self.graph.node, ordered)
        replace(self.graph.initializer, [tensor for tensor in self.graph.initializer if tensor.name in needed])


def replace(repeated, values):
    values = list(values)
    del repeated[:]
    repeated.extend(values)


def tensor_info(name, shape):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def yunet(graph):
    shapes = {}
    for stride in STRIDES:
        name = f"head_{stride}"
        spread = [graph.before(f"{head}_{stride}", *(["Sigmoid"] if head != "bbox" else []), "Reshape", "Transpose")
                  for head in HEADS]
        point = [graph.before(node.input[0]) for node in spread]
        features = {node.input[0] for node in point}
        assert len(features) == 1, "the heads of one stride read different features"
        graph.add_conv(features.pop(), *graph.stack(point, f"{name}.point"), f"{name}.point", pad=0)
        graph.add_conv(f"{name}.point", *graph.stack(spread, f"{name}.spread"), name, pad=1, group=6)
        shapes[name] = [6, f"height_{stride}", f"width_{stride}"]
    graph.finish(shapes)


def centerface(graph):
    for node in [node for node in graph.graph.node if node.op_type == "BatchNormalization"]:
        source = graph.makers[node.input[0]]
        assert source.op_type == "ConvTranspose" and len(source.input) == 2, "a normalisation of something else"
        epsilon = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "epsilon")
        gain, shift, mean, variance = (graph.weights[name].astype(np.float64) for name in node.input[1:])
        gain = gain / np.sqrt(variance + epsilon)
        weight = graph.weights[source.input[1]].astype(np.float64) * gain[np.newaxis, :, np.newaxis, np.newaxis]
        name = source.input[1].removesuffix(".weight") + ".normalised"
        graph.add_weight(f"{name}.weight", weight.astype(np.float32))
        graph.add_weight(f"{name}.bias", (shift - mean * gain).astype(np.float32))
        replace(source.input, [source.input[0], f"{name}.weight", f"{name}.bias"])
        replace(source.output, node.output)
        graph.graph.node.remove(node)
    maps = [graph.before(name, *(["Sigmoid"] if name == "537" else [])) for name in MAPS]
    features = {node.input[0] for node in maps}
    assert len(features) == 1, "the maps read different features"
    graph.add_conv(features.pop(), *graph.stack(maps, "maps"), "maps", pad=0)
    graph.finish({"maps": [5, "height_4", "width_4"]})


def yolox_nano(graph):
    # The four quarters in the order in which they are stacked: (row, column) of their first pixel.
    quarters = ((0, 0), (1, 0), (0, 1), (1, 1))
    first = next(node for node in graph.graph.node if node.op_type == "Conv")
    assert graph.makers[first.input[0]].op_type == "Concat", "no stacked quarters before the first convolution"
    small = graph.weights[first.input[1]]
    large = np.zeros((small.shape[0], 3, 6, 6), np.float32)
    for n, (row, column) in enumerate(quarters):
        large[:, :, row::2, column::2] = small[:, 3 * n : 3 * n + 3]
    graph.add_weight("first.weight", large)
    graph.graph.node.remove(first)
    graph.add_conv("images", "first.weight", first.input[2], first.output[0], pad=2, stride=2)

    for node in graph.graph.node:
        if node.op_type == "Conv" and graph.weights[node.input[1]].shape[0] == 80:
            for place in (1, 2):
                name = f"{node.input[place]}.person"
                graph.add_weight(name, graph.weights[node.input[place]][PERSON : PERSON + 1])
                node.input[place] = name
        if node.op_type == "Reshape":
            shape = graph.weights[node.input[1]].copy()
            assert list(shape) == [1, 85, -1], "another shape than that of the anchors"
            shape[1] = 6
            name = f"{node.input[1]}.person"
            graph.add_weight(name, shape)
            node.input[1] = name
    graph.finish({"output": ["cells", 6]})


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHANGES:
        sys.exit("usage: prepare.py " + "|".join(CHANGES) + " ORIGINAL.onnx RESULT.onnx")
    name, original, result = sys.argv[1:]
    model = onnx.load(original)
    {"yunet": yunet, "centerface": centerface, "yolox-nano": yolox_nano}[name](Graph(model.graph))
    model.doc_string = CHANGES[name]
    onnx.checker.check_model(model, full_check=True)
    with open(result, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
