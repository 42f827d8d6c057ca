// Fakegpu runs a command on a machine without a GPU as if it had an NVIDIA H100:
//
//	go run ./tools/fakegpu [-memory MIB] [-compute] COMMAND …
//	go run ./tools/fakegpu go run ./tools/immiscible bench step -set runtime.provider=cuda
//
// ONNX Runtime's CUDA provider runs on libraries that stand in for NVIDIA's
// (models/engine/fakegpu). Its kernels are counted and compute nothing, so
// that sessions, memory, copies and waits are real and numbers are not. What was
// counted is printed to stderr. By default nothing above 1 MiB is copied, and our own
// kernels are counted too, so that models of any size take seconds.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/models/engine/fakegpu"
)

func main() {
	memory := flag.Int("memory", 80<<10, "the GPU's memory in `MIB`")
	compute := flag.Bool("compute", false, "copy memory, and compute our own kernels and cuDNN's graphs")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: fakegpu [-memory MIB] [-compute] COMMAND …")
		os.Exit(2)
	}
	if err := run(*memory, *compute, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "fakegpu:", err)
		os.Exit(1)
	}
}

func run(memory int, compute bool, command []string) error {
	dir, err := os.MkdirTemp("", "fakegpu-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := fakegpu.Build(dir); err != nil {
		return err
	}
	counts := filepath.Join(dir, "counts")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir+":"+os.Getenv("LD_LIBRARY_PATH"), "FAKEGPU_COUNTS="+counts, fmt.Sprint("FAKEGPU_MIB=", memory))
	if !compute {
		cmd.Env = append(cmd.Env, "FAKEGPU_IDLE=1")
	}
	err = cmd.Run()
	counted, countErr := fakegpu.Counts(counts)
	if err == nil {
		err = countErr
	}
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		if !strings.HasPrefix(name, "kernel ") {
			fmt.Fprintf(os.Stderr, "%14d  %s\n", counted[name], name)
		}
	}
	return err
}
