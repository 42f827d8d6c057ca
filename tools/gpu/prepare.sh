#!/usr/bin/env bash
# prepare.sh KIT [ORTGPU_PARTS]: everything that check.sh needs and a machine without network cannot get, in the folder KIT.
# Needs Go, a C compiler, and pip. ORTGPU_PARTS is a folder with the parts of ONNX Runtime's CUDA build (../shared/ortgpu/pack.sh).
set -euo pipefail
kit=${1:?usage: prepare.sh KIT [ORTGPU_PARTS]}
mkdir -p "$kit"; kit=$(cd "$kit" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); root=$(cd "$here/../.." && pwd)
cd "$root"
go build -trimpath -o "$kit/immiscible" ./tools/immiscible
go test -trimpath -c -o "$kit/engine.test" ./models/engine
go test -trimpath -c -o "$kit/native.test" ./models/engine/native
go test -trimpath -c -o "$kit/pipeline.test" ./pipeline
if [ -n "${2:-}" ]; then
  rm -rf "$kit/ortgpu"; mkdir "$kit/ortgpu"; cp "$2"/ortgpu.* "$kit/ortgpu/"
fi
# The peer's libraries, PyTorch itself apart, which the GPU machine has.
if ! python3 -c 'import diffusers' 2>/dev/null && [ -z "${NO_PEER:-}" ]; then
  python3 -m pip install -q --target "$kit/python" --no-deps diffusers==0.42.1 huggingface_hub safetensors regex importlib_metadata zipp filelock tqdm pyyaml packaging requests
fi
ls -l "$kit"
