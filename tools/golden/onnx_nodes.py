"""ONNX's own node tests for the operators that models/graph/importer knows.

    python3 tools/golden/onnx_nodes.py          (needs onnx)

writes models/graph/importer/testdata/nodes.zip: for each test case of onnx.backend.test.case.node whose operators all
stand in importer's tables (read from its Go files), <case>.onnx, and <case>.data, a model whose initializers are the
case's inputs and outputs. Inputs that importer wants to know at import (shapes, axes, bounds) are initializers of the
model. testdata/nodes_left_out.txt names every other case, by operator, and says why it is left out.
"""

import collections
import pathlib
import re
import warnings
import zipfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case import node

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2] / "models/graph/importer"
# Positions of inputs that are settings, by operator.
SETTINGS = {
    "Reshape": [1], "Slice": [1, 2, 3, 4], "Pad": [1, 2, 3], "Tile": [1], "Expand": [1], "Resize": [1, 2, 3], "Split": [1], "Squeeze": [1],
    "Unsqueeze": [1], "CumSum": [1], "OneHot": [1], "Trilu": [1], "ConstantOfShape": [0], "Range": [0, 1, 2], "Dropout": [1, 2], "NonZero": [0],
    "If": [0],
} | {f"Reduce{x}": [1] for x in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")}
LARGEST = 100_000  # bytes of a case's data


def operators():
    text = "".join((ROOT / name).read_text() for name in ("ops.go", "fold.go"))
    return set(re.findall(r'"([A-Z][A-Za-z0-9]*)": +[a-z]', text)) | {"Identity", "Shape", "Size", "If", "Mod"}


def tensor(x, name):
    if isinstance(x, TensorProto):
        x = numpy_helper.to_array(x)
    return numpy_helper.from_array(numpy.asarray(x), name)


def settle(model, inputs):
    """Makes initializers of the settings among the graph's inputs."""
    names = {n.input[i] for n in model.graph.node for i in SETTINGS.get(n.op_type, []) if i < len(n.input)}
    for value, array in zip(model.graph.input, inputs):
        if value.name in names:
            model.graph.initializer.append(tensor(array, value.name))


def main():
    known, left = operators(), collections.defaultdict(list)
    count = 0
    with zipfile.ZipFile(ROOT / "testdata/nodes.zip", "w") as archive:
        def put(name, data):
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, 9)

        for case in sorted(node.collect_testcases(None), key=lambda c: c.name):
            model = case.model
            used = {n.op_type for n in model.graph.node}
            missing = sorted(used - known) + sorted(n.domain for n in model.graph.node if n.domain)
            values = list(model.graph.input) + list(model.graph.output)
            if missing or not used:
                left["no rule: " + ", ".join(missing)].append(case.name)
                continue
            if any(not v.type.HasField("tensor_type") for v in values):
                left["sequences and optionals"].append(case.name)
                continue
            if any(v.type.tensor_type.elem_type in (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128) or
                   v.type.tensor_type.elem_type >= TensorProto.FLOAT8E4M3FN for v in values):
                left["strings, complex numbers, and types narrower than a byte"].append(case.name)
                continue
            inputs, outputs = case.data_sets[0]
            if not isinstance(inputs, (list, tuple)) or sum(len(tensor(x, "").raw_data) for x in [*inputs, *outputs]) > LARGEST:
                left[f"more than {LARGEST} bytes of data"].append(case.name)
                continue
            settle(model, inputs)
            pairs = [("in." + v.name, x) for v, x in zip(model.graph.input, inputs)] + [("out." + v.name, x) for v, x in zip(model.graph.output, outputs)]
            graph = helper.make_graph([], "data", [], [], [tensor(x, name) for name, x in pairs])
            put(case.name + ".onnx", model.SerializeToString())
            put(case.name + ".data", helper.make_model(graph, producer_name="onnx " + onnx.__version__).SerializeToString())
            count += 1
    lines = [f"Node tests of onnx {onnx.__version__} that are not in nodes.zip (which has {count}), by tools/golden/onnx_nodes.py."]
    for why in sorted(left):
        lines += ["", f"{why} ({len(left[why])})"] + ["  " + name for name in left[why]]
    (ROOT / "testdata/nodes_left_out.txt").write_text("\n".join(lines) + "\n")
    print(count, "cases,", sum(map(len, left.values())), "left out,", (ROOT / "testdata/nodes.zip").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
