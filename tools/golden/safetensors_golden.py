"""Writes models/safetensors/testdata/golden.safetensors with the reference implementation.

Every element type that torch has, a scalar, an empty tensor, names that need escaping, and the values i/4 - 1
(i = 0, 1, …) wherever a type holds them, so that the test can state them in closed form. One metadata key: the
reference writes several in random order. Run: python tools/golden/safetensors_golden.py (from the repository root;
needs safetensors, torch).
"""

import safetensors
import torch
from safetensors.torch import save_file

ramp = torch.arange(6, dtype=torch.float64) / 4 - 1
tensors = {
    "conv.weight": ramp.reshape(2, 3).to(torch.float32),
    "conv.bias": ramp[:3].to(torch.float16),
    "norm.weight": ramp[:5].to(torch.bfloat16),
    "alphas": ramp,
    "step": torch.tensor(-7, dtype=torch.int64),
    "empty": torch.zeros(0, 4),
    "ids.i32": torch.arange(3, dtype=torch.int32) - 1,
    "ids.i16": torch.arange(3, dtype=torch.int16) - 1,
    "ids.i8": torch.arange(3, dtype=torch.int8) - 1,
    "ids.u64": torch.arange(3).to(torch.uint64),
    "ids.u32": torch.arange(3).to(torch.uint32),
    "ids.u16": torch.arange(3).to(torch.uint16),
    "ids.u8": torch.arange(3).to(torch.uint8),
    "mask": torch.tensor([True, False, True]),
    "complex": torch.tensor([1 + 2j]),
    "f8.e4m3": ramp.to(torch.float8_e4m3fn),
    "f8.e5m2": ramp.to(torch.float8_e5m2),
    "f8.e8m0": torch.ones(1).to(torch.float8_e8m0fnu),
    "f8.e4m3fnuz": ramp.to(torch.float8_e4m3fnuz),
    "f8.e5m2fnuz": ramp.to(torch.float8_e5m2fnuz),
    "f4": torch.tensor([0x21, 0x43], dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    'weird é <&> "\\\t\x01\x7f/日本': torch.ones(1),
}
save_file(
    tensors,
    "models/safetensors/testdata/golden.safetensors",
    metadata={"made_by": f"safetensors {safetensors.__version__}, torch {torch.__version__}, tools/golden/safetensors_golden.py"},
)
