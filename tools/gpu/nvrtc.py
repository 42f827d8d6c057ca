"""Compiles kernels of models/engine/native with the real NVRTC, which needs no GPU,
and prints for each what the assembler says of it: registers, bytes of shared and of
spilled memory.

The sources are those that the tests launch, so that nothing else has to list them:

    mkdir /tmp/kernels
    FAKEGPU_KERNELS=/tmp/kernels go test ./models/engine/native -run CUDA -count 1
    python tools/gpu/nvrtc.py /tmp/kernels .../libnvrtc.so.13 [80 90 100] [-ptx NAME]

-ptx prints the PTX of the kernels whose file begins with NAME instead.
"""
import collections, ctypes, pathlib, re, sys

OPTIONS = ["--std=c++17", "--device-as-default-execution-space", "--fmad=true", "--ptxas-options=-v", "--diag-suppress=177"]  # the first three as in cuda_rtc.c


def compile(nvrtc, source, name, target):
    """A program's log and PTX; raises with the log where it does not compile."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None)
    options = [o.encode() for o in [f"--gpu-architecture={target}"] + OPTIONS]
    code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if code:
        raise RuntimeError(f"{name} for {target}: error {code}\n{log.value.decode()}")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return log.value.decode(), ptx.value.decode()


def main():
    arguments = sys.argv[1:]
    wanted = arguments.pop(arguments.index("-ptx") + 1) if "-ptx" in arguments else None
    folder, library, *archs = [a for a in arguments if a != "-ptx"]
    nvrtc = ctypes.CDLL(library)
    archs = archs or ["80", "90", "100"]
    rows = collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).glob("*.cu")):
        source, name = path.read_bytes(), path.name.rsplit("-", 1)[0]
        if wanted:
            if path.name.startswith(wanted):
                print(source.decode().split("// What the kernels are", 1)[0], compile(nvrtc, source, name, "compute_" + archs[0])[1])
            continue
        head = " ".join(source.decode().split("// What the kernels are", 1)[0].replace("#define ", "").split())
        for arch in archs:
            try:
                log, _ = compile(nvrtc, source, name, "sm_" + arch)
            except RuntimeError as e:  # one is a test's, of what an error says
                print(e, file=sys.stderr)
                continue
            registers = re.search(r"Used (\d+) registers", log)
            shared, stack, spills = re.search(r"(\d+) bytes smem", log), re.search(r"(\d+) bytes stack frame", log), re.findall(r"(\d+) bytes spill", log)
            rows[name, head].append((arch, registers and int(registers[1]), shared and int(shared[1]) or 0, stack and int(stack[1]) or 0, sum(map(int, spills))))
            if "warning" in log:
                print(log, file=sys.stderr)
    print("kernel | registers by architecture | static shared | stack | spilled | form")
    for (name, head), found in rows.items():
        print(name, " ".join(f"{a}:{r}" for a, r, *_ in found), *(max(f[i] for f in found) for i in (2, 3, 4)), head, sep=" | ")


main()
