"""The JSON of tools/gpu/check.sh, from the lines of its parts, and the figures that the issue asks for.

    python3 tools/gpu/summary.py LINES.jsonl OUT.json PROVIDER

A figure whose part has not run, or has failed, is null.
"""

import importlib.metadata
import json
import os
import subprocess
import sys


def say(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def torch_version():
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    lines, out, provider = sys.argv[1:]
    parts = [json.loads(line) for line in open(lines)]
    by_name = {p["part"]: p for p in parts}

    def passed(name):
        return by_name[name]["rc"] == 0 if name in by_name else None

    def result(name, *keys):
        found = by_name.get(name, {}).get("result")
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def bench(name):
        """One setting: against eager and compiled PyTorch (above 1 is faster than it), memory, the bus."""
        ours, batch = result(name, "step_ms", "median"), result(name, "batch")
        theirs = {peer: (ms, median) for peer, part in (("eager", name), ("compile", name + "-compile"))
                  for ms, median in [(result(part, "step_ms", "median"), result(part, "peer", "step_ms", "median"))]}
        alone, peer_mb = by_name.get(name + "-alone", {}).get("gpu_memory_mib"), result(name, "peer", "peak_device_mb")
        estimate = result(name, "device", "estimated_bytes", "activations")
        counted = result(name, "device", "activations_mb")
        return {
            "images_per_second": batch / ours * 1e3 if ours and batch else None,
            "speed_over": {peer: median / ms if ms and median else None for peer, (ms, median) in theirs.items()},
            "gpu_memory_mib": alone, "peer_reserved_mib": peer_mb, "memory_ratio": alone / peer_mb if alone and peer_mb else None,
            "activations_estimate_over_counted": estimate / 2**20 / counted if estimate and counted else None,
            "bytes_up_a_step": result(name, "device", "bytes_up"), "bytes_down_a_step": result(name, "device", "bytes_down"),
            "phase_ms": result(name, "phase_ms"),
            "step_ms": {variant or "as set": result(name + variant, "step_ms", "median") for variant in ("", "-standard", "-alone", "-graph", "-nhwc")},
        }

    settings = [p["part"] for p in parts if p["part"] in ("cifar-fp32", "cifar-fp16") or p["part"].rsplit("-b", 1)[-1].isdigit()]
    summary = {
        **{f"1_{what}": {operators: passed(f"tests-{part}-{operators}") for operators in ("standard", "native")}
           for what, part in (("agree", "agree"), ("fp16_2_percent", "fp16"))}, "1_placement": passed("tests-engine"),
        "2": {name: bench(name) for name in settings},
        "3_pairing_added": {"class_blind": result("pairing", "linear", "added"), "within_class": result("pairing", "class", "added")},
        "4_resume_same_bits": result("resume", "same_bits"),
    }
    text = json.dumps({"provider": provider, "gpu": say("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"),
                       "commit": say("git", "rev-parse", "HEAD"), "torch": torch_version(),
                       "failed": [p["part"] for p in parts if p["rc"]], "summary": summary, "parts": parts}, indent=1)
    with open(out + ".tmp", "w") as f:  # whoever ends this now leaves the file of the part before
        f.write(text + "\n")
    os.replace(out + ".tmp", out)


if __name__ == "__main__":
    main()
