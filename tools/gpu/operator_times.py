"""The time of one session's runs by operator and provider, from a trace that ONNX Runtime wrote.

    python3 tools/gpu/operator_times.py TRACE.json

One JSON object: microseconds and number of nodes for each operator, the dearest first, and the ten dearest nodes. On a GPU
they are times on the host, from launch to launch, unless CUDA's own events are in the trace as well (category "Kernel").
"""

import collections
import json
import sys


def main():
    ops, nodes, kernels = collections.defaultdict(lambda: [0, 0]), collections.Counter(), collections.Counter()
    for event in json.load(open(sys.argv[1])):
        args = event.get("args", {})
        if event.get("cat") == "Node" and args.get("provider"):
            entry = ops[args["op_name"] + ", " + args["provider"].removesuffix("ExecutionProvider")]
            entry[0] += event["dur"]
            entry[1] += 1
            nodes[event["name"].removesuffix("_kernel_time")] += event["dur"]
        elif event.get("cat") == "Kernel":
            kernels[event["name"]] += event["dur"]
    print(json.dumps({"us_by_op": {op: {"us": us, "runs": runs} for op, (us, runs) in sorted(ops.items(), key=lambda x: -x[1][0])},
                      "us_by_node": dict(nodes.most_common(10)), "us_by_kernel": dict(kernels.most_common(10))}))


if __name__ == "__main__":
    main()
