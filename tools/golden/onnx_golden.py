"""Writes models/onnx/testdata/tensors.onnx: each element type of ONNX once in its typed field and once as raw_data.

The two initializers of a type are named "<TYPE>.typed" and "<TYPE>.raw"; onnx itself packs both, so that their bytes
must agree after decoding. Run: python tools/golden/onnx_golden.py (from the repository root; needs onnx, numpy,
ml_dtypes). Versions are recorded in the file's metadata_props.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

VALUES = {
    "FLOAT": [0.5, -1.25, 3e38, float("inf"), -0.0],
    "DOUBLE": [0.1, -1e300, 5e-324],
    "FLOAT16": [0.5, -65504.0, 6e-8],
    "BFLOAT16": [1.0, -3.0e38, 0.0078125],
    "FLOAT8E4M3FN": [1.0, -448.0, 0.015625],
    "FLOAT8E5M2": [1.0, -57344.0, 0.25],
    "INT8": [-128, 127, -1],
    "INT16": [-32768, 32767, -2],
    "INT32": [-(2**31), 2**31 - 1, -3],
    "INT64": [-(2**63), 2**63 - 1, -4],
    "UINT8": [0, 255, 7],
    "UINT16": [0, 65535, 7],
    "UINT32": [0, 2**32 - 1, 7],
    "UINT64": [0, 2**64 - 1, 7],
    "BOOL": [True, False, True],
    "COMPLEX64": [1 + 2j, -3 - 0.5j],
    "COMPLEX128": [1 + 2j, -3 - 0.5j],
    "INT4": [-8, 7, -1],
    "UINT4": [0, 15, 9],
    "FLOAT4E2M1": [0.5, -6.0, 1.5],
}

initializers = []
for name, values in VALUES.items():
    dtype = getattr(TensorProto, name)
    array = np.array(values, dtype=helper.tensor_dtype_to_np_dtype(dtype))
    initializers.append(helper.make_tensor(name + ".typed", dtype, array.shape, array))
    raw = onnx.numpy_helper.from_array(array, name + ".raw")
    assert raw.data_type == dtype and raw.HasField("raw_data") and not initializers[-1].HasField("raw_data"), name
    initializers.append(raw)

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
graph = helper.make_graph([helper.make_node("Add", ["x", "FLOAT.raw"], ["y"], name="add")], "tensors", [x], [y], initializers)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, producer_name="tools/golden/onnx_golden.py")
helper.set_model_props(model, {"onnx": onnx.__version__, "numpy": np.__version__})
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "models/onnx/testdata/tensors.onnx")
