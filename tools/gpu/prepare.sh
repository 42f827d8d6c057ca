#!/usr/bin/env bash
# prepare.sh KIT [ORTGPU_PARTS]: everything that check.sh needs and a machine without network cannot get, in the folder KIT.
# Needs Go, a C compiler, and pip. ORTGPU_PARTS is a folder with the parts of ONNX Runtime's CUDA build (../shared/ortgpu/pack.sh).
set -euo pipefail
kit=${1:?usage: prepare.sh KIT [ORTGPU_PARTS]}
mkdir -p "$kit"; kit=$(cd "$kit" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); root=$(cd "$here/../.." && pwd)
cd "$root"
go build -trimpath -ldflags='-s -w' -o "$kit/immiscible" ./tools/immiscible
for package in models/engine models/engine/native pipeline; do
  go test -trimpath -ldflags='-s -w' -c -o "$kit/${package##*/}.test" "./$package"
done
if [ -n "${2:-}" ]; then
  rm -rf "$kit/ortgpu"; mkdir "$kit/ortgpu"; cp "$2"/ortgpu.* "$kit/ortgpu/"
fi
# The peer's libraries that are Python alone, whatever this machine has: PyTorch, huggingface_hub, safetensors, regex and
# requests are compiled for one Python, and the GPU machine has them.
if [ -z "${NO_PEER:-}" ]; then
  rm -rf "$kit/python"
  python3 -m pip install -q --target "$kit/python" --no-deps --no-compile diffusers==0.42.1 importlib_metadata zipp
fi
ls -l "$kit"
