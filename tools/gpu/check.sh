#!/usr/bin/env bash
# check.sh KIT [cuda|cpu]: what issue 7 shows on an NVIDIA GPU, from the files of prepare.sh and without network, as one JSON
# under tools/gpu/results/. Run it in the repository. With "cpu" it is a dry run: the same commands on small models, whose
# figures mean nothing. Needs python3 with torch; a part that fails is recorded, and the rest goes on. Exit 1 if any failed.
#
# STEPS (default 30) are the timed steps of each bench; PARTS selects parts by a pattern such as "doctor|tests"; LIMIT
# (default 400) are the seconds after which a part is given up. The JSON is written anew after each part, so that what is
# done is kept if the machine goes. Where a call may take ten minutes and all of them thirty, five calls with
# OUT=DIR for a copy of the JSON in DIR, the most valuable first (the number is minutes, an estimate):
#   PARTS='doctor|peer|tests'                                                    4  1 of the issue's list
#   PARTS='^cifar-fp16$|^cifar-fp16-(alone|profile|compile|graph)|^cifar-fp32' LIMIT=200    5  2, cifar10-ddim at batch 256
#   PARTS='sd15-b32$|sd15-b32-(alone|compile)' STEPS=20 LIMIT=280                6  2, SD 1.5's U-Net, 256 pixels
#   PARTS='sd15-b128$|sd15-b128-alone|plan|pairing|resume' STEPS=10 LIMIT=200    7  2, 3 and 4
#   PARTS='cifar-.*(standard|nhwc)|bf16|sd15-b32-(standard|graph)' LIMIT=150    5  which lowering wins
# If tests-kernels or tests-agree-native fails, native figures mean nothing: read the part's "error" in the JSON, and go on
# with the last call's standard variants while it is mended.
# "summary" in the JSON are the figures that the issue asks for, from its parts.
set -uo pipefail
kit=$(cd "${1:?usage: check.sh KIT [cuda|cpu]}" && pwd) provider=${2:-cuda}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); root=$(cd "$here/../.." && pwd); cd "$root" || exit 1
case $provider in cuda|cpu) ;; *) echo "check.sh: $provider, want cuda or cpu" >&2; exit 2 ;; esac
for file in immiscible engine.test native.test pipeline.test; do
  [ -x "$kit/$file" ] || { echo "check.sh: $kit/$file is missing: run tools/gpu/prepare.sh first" >&2; exit 2; }
done
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
lines=$work/lines.jsonl; : > "$lines"
[ -d "$kit/python" ] && export PYTHONPATH="$kit/python${PYTHONPATH:+:$PYTHONPATH}"
if [ "$provider" = cuda ] && [ -d "$kit/ortgpu" ]; then
  join=$root/../shared/ortgpu/join.sh; [ -f "$kit/join.sh" ] && join=$kit/join.sh; [ -f "$root/shared/ortgpu/join.sh" ] && join=$root/shared/ortgpu/join.sh
  eval "$(bash "$join" "$kit/ortgpu" "$work/lib")"
fi
failed=0
out=$here/results/$provider-$(date -u +%Y%m%dT%H%M%SZ).json
write() { python3 "$here/summary.py" "$lines" "$out" "$provider" && { [ -z "${OUT:-}" ] || cp "$out" "$OUT/"; }; }
# part NAME COMMAND…: runs it and records exit status, time, the GPU's peak memory meanwhile, and what it printed.
part() {
  local name=$1; shift
  [[ $name =~ ${PARTS:-.} ]] || return 0
  echo "== $name" >&2
  local start sampler="" rc
  start=$(date +%s.%N)
  if [ "$provider" = cuda ]; then
    (while :; do nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0; sleep 0.2; done) > "$work/memory" 2>/dev/null &
    sampler=$!
  fi
  set -m # its own process group, so that what it started ends with it
  { set +m; "$@"; } > "$work/out" 2> "$work/err" & local n=$!
  (sleep "${LIMIT:-400}"; echo "given up after ${LIMIT:-400} s" >> "$work/err"; kill -- -$n) 2>/dev/null & local watch=$!
  set +m
  wait $n; rc=$?
  kill -- -$watch 2>/dev/null; wait $watch 2>/dev/null
  [ -n "$sampler" ] && kill "$sampler" && wait "$sampler" 2>/dev/null
  [ $rc -eq 0 ] || { failed=1; tail -n 5 "$work/err" "$work/out" >&2; }
  python3 - "$name" "$rc" "$start" "$*" "$work" "$kit" "$root" >> "$lines" <<'PY'
import json, pathlib, sys, time
name, rc, start, command, *places = sys.argv[1:]
work = pathlib.Path(places[0])
out = (work / "out").read_text(errors="replace")
try:
    result = [json.loads(line) for line in out.splitlines() if line.startswith("{")][-1]
except (ValueError, IndexError):
    result = out[-4000:]
memory = work / "memory"
used = [int(x) for x in memory.read_text().split() if x.isdigit()] if memory.exists() else []
line = json.dumps({"part": name, "command": command, "rc": int(rc), "seconds": round(time.time() - float(start), 1),
                  "gpu_memory_mib": max(used, default=None), "result": result,
                  **({"error": (work / "err").read_text(errors="replace")[-2000:]} if rc != "0" else {})})
for place, short in zip(places, ("WORK", "KIT", ".")):  # the file says nothing of this machine's folders
    line = line.replace(place, short)
print(line)
PY
  write
}
imm=$kit/immiscible
steps=${STEPS:-30}
on=(-set "runtime.provider=$provider")
cifar=(-preset cifar10-ddim) batch=256 big=(32 128) sd=() peerdevice=(--device cuda)
if [ "$provider" = cpu ]; then
  steps=1 cifar=(-preset fashion-mnist) batch=4 big=(1) sd=(--tiny) peerdevice=()
fi
inside() { (cd "$1" && shift && "$@"); }

part doctor "$imm" doctor -provider "$provider" -json
part peer python3 -c 'import json, diffusers, torch; diffusers.UNet2DConditionModel; print(json.dumps({"torch": torch.__version__, "cuda": torch.cuda.is_available(), "cudnn": torch.backends.cudnn.version(), "diffusers": diffusers.__version__}))'
# 1. CPU and CUDA agree; fp16 within 2 %; no node elsewhere; bytes over the bus.
export IMMISCIBLE_TEST_PROVIDER=$provider
part tests-engine inside models/engine "$kit/engine.test" -test.run 'CUDA|Placement|OutOfMemory|Driver|Feed|Recorded|SessionMemory'
[ "$provider" = cuda ] && IMMISCIBLE_TEST_OPERATORS=native part tests-kernels inside models/engine/native "$kit/native.test" -test.v -test.run 'TestCUDA(E|Ro|B|Arch|K|G|L|Q|I|Adam)'
for IMMISCIBLE_TEST_OPERATORS in standard native; do
  export IMMISCIBLE_TEST_OPERATORS
  part "tests-agree-$IMMISCIBLE_TEST_OPERATORS" inside pipeline "$kit/pipeline.test" -test.v -test.run 'TestDeviceAgrees|TestTrafficOfAStep|TestDeviceProduct'
  part "tests-fp16-$IMMISCIBLE_TEST_OPERATORS" inside pipeline "$kit/pipeline.test" -test.v -test.run 'TestMixedPrecisionGolden'
done
unset IMMISCIBLE_TEST_PROVIDER IMMISCIBLE_TEST_OPERATORS

# 2. Steps against PyTorch in the same run: eager, and compiled.
peer() { echo "python3 $root/tools/peers/torch_step.py ${peerdevice[*]} --fused --channels-last $*"; }
bench() { part "$1" "$imm" bench step -steps "$steps" -json "${on[@]}" "${@:2}"; }
half=(-set train.mixed_precision=fp16) amp="--amp fp16"
ours=(-set runtime.operators=native) onnx=(-set runtime.operators=standard)
[ "$provider" = cpu ] && amp=""
bench cifar-fp32 "${cifar[@]}" -batch "$batch" "${ours[@]}" -peer "$(peer --tf32)"
bench cifar-fp16 "${cifar[@]}" -batch "$batch" "${half[@]}" "${ours[@]}" -peer "$(peer $amp)"
bench cifar-fp16-standard "${cifar[@]}" -batch "$batch" "${half[@]}" "${onnx[@]}"
if [ "$provider" = cuda ]; then
  bench cifar-fp16-compile "${cifar[@]}" -batch "$batch" "${half[@]}" "${ours[@]}" -peer "$(peer $amp --compile)"
  bench cifar-fp16-nhwc "${cifar[@]}" -batch "$batch" "${half[@]}" "${ours[@]}" -set runtime.cuda.prefer_nhwc=true
  bench cifar-fp16-graph "${cifar[@]}" -batch "$batch" "${half[@]}" "${ours[@]}" -set runtime.cuda.enable_cuda_graph=true
  bench cifar-bf16 "${cifar[@]}" -batch "$batch" "${ours[@]}" -set train.mixed_precision=bf16
fi
bench cifar-fp16-alone "${cifar[@]}" -batch "$batch" "${half[@]}" "${ours[@]}" # its memory, without the peer's
# Where our step's time goes, by operator.
profile() { rm -f "$work"/trace*; "$imm" bench step -steps 5 -json "${on[@]}" -profile "$work/trace" "${cifar[@]}" -batch "$batch" "${half[@]}" "$@" >&2 && python3 "$here/operator_times.py" "$work"/trace-training*.json; }
part cifar-fp16-profile profile "${ours[@]}"
part cifar-fp16-standard-profile profile "${onnx[@]}"
side=32; [ "$provider" = cpu ] && side=8 # latents of 256 pixels
unet() { # bench, with the model's folder made for the first that is selected
  [[ $1 =~ ${PARTS:-.} ]] || return 0
  [ -d "$work/sd15" ] || python3 "$here/sd15.py" "$work/sd15" "${sd[@]}" || failed=1
  bench "$@"
}
for n in "${big[@]}"; do
  sd15=(-model "$work/sd15" -resolution $side -batch "$n" "${half[@]}")
  unet "sd15-b$n" "${sd15[@]}" "${ours[@]}" -peer "$(peer $amp)"
  unet "sd15-b$n-standard" "${sd15[@]}" "${onnx[@]}"
  [ "$provider" = cuda ] && unet "sd15-b$n-graph" "${sd15[@]}" "${ours[@]}" -set runtime.cuda.enable_cuda_graph=true
  [ "$provider" = cuda ] && unet "sd15-b$n-compile" "${sd15[@]}" "${ours[@]}" -peer "$(peer $amp --compile)"
  unet "sd15-b$n-alone" "${sd15[@]}" "${ours[@]}"
done
part plan "$imm" train "${cifar[@]}" "${on[@]}" "${half[@]}" "${ours[@]}" -set train.batch_size="$batch" -set noise.pool_size=$((4 * batch)) -dry-run -json

# 3. What linear assignment at pool 1,024 adds to a step.
# run replaces the shell that calls it, so that a signal meets the program: call it in a subshell.
run() { exec "$imm" train -preset fashion-mnist "${on[@]}" "${ours[@]}" -set checkpoint.every_steps=0 -set sample.every_steps=0 -set sample.steps=1 -set log.tensorboard=false "$@"; }
# The U-Net is about cifar10-ddim's: what a pool of four batches costs is told beside a step of that size.
pairing() {
  local sets=(-set train.max_steps=120 -set train.batch_size=256 -set train.micro_batch=256 -set train.mixed_precision=fp16 -set 'model.unet.block_out_channels=[128,256,256]') pool=1024
  [ "$provider" = cpu ] && sets=(-set train.max_steps=5 -set train.batch_size=32 -set train.micro_batch=32) pool=128
  for turn in 1 2; do
    (run -out "$work/none$turn" -set noise.pairing=independent -set noise.per_class=false "${sets[@]}" -set noise.pool_size=$pool) >&2 || return
    (run -out "$work/linear$turn" -set noise.pairing=linear -set noise.per_class=false "${sets[@]}" -set noise.pool_size=$pool) >&2 || return
    (run -out "$work/class$turn" -set noise.pairing=linear "${sets[@]}" -set noise.pool_size=$pool) >&2 || return
  done
  python3 - "$work" <<'PY'
import json, pathlib, statistics, sys
def log(run):
    lines = [json.loads(x) for turn in "12" for x in (pathlib.Path(sys.argv[1]) / (run + turn) / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["step"] > len(lines) // 10]
def step(run):
    return [line["step_ms"] for line in log(run)]
none = statistics.fmean(step("none"))
result = {"independent_step_ms": none}
for run in ("linear", "class"):
    result[run] = {"step_ms": statistics.fmean(step(run)), "median_ratio": statistics.median(step(run)) / statistics.median(step("none")),
                   "added": statistics.fmean(step(run)) / none - 1, "waited_ms": sum(x.get("pair_wait_ms") or 0 for x in log(run)) / len(log(run)),
                   "pair_ms": statistics.median(x["pair_ms"] for x in log(run) if x.get("pair_ms"))}
print(json.dumps(result))
PY
}
part pairing pairing

# 4. A run that is killed and goes on has the bits of one that is not.
resume() {
  local sets=(-set runtime.deterministic=true -set train.mixed_precision=fp16 -set train.max_steps=30) n
  [ "$provider" = cpu ] && sets+=(-set train.batch_size=4 -set noise.pool_size=8 -set train.micro_batch=4)
  (run -out "$work/whole" "${sets[@]}") >&2 || return
  (run -out "$work/cut" "${sets[@]}" -set checkpoint.every_steps=2) >&2 & n=$!
  for _ in $(seq 6000); do [ -d "$work/cut/checkpoint-4" ] && break; sleep 0.02; done
  kill -9 $n; wait $n 2>/dev/null
  [ -d "$work/cut/checkpoint-30" ] && { echo "the run was too fast to be killed" >&2; return 1; }
  (run -out "$work/cut" "${sets[@]}" -set checkpoint.every_steps=2) >&2 || return
  local a b
  a=$(cd "$work/whole/checkpoint-30" && sha256sum unet/*.safetensors unet_ema/*.safetensors optimizer.safetensors) &&
    b=$(cd "$work/cut/checkpoint-30" && sha256sum unet/*.safetensors unet_ema/*.safetensors optimizer.safetensors) || return
  [ "$a" = "$b" ] && echo '{"same_bits": true}' && return
  echo '{"same_bits": false}'; return 1
}
part resume resume

write; echo "$out"
exit $failed
