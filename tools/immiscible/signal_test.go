//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"immiscible/pipeline/npy"
)

// blocked starts "assign solve" as a process that waits for its cost matrix
// from a named pipe, and returns the pipe's other end: once it is open, the
// program runs and listens for signals.
func blocked(t *testing.T) (cmd *exec.Cmd, pipe *os.File, stderr *bufio.Reader, out string) {
	t.Helper()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "cost.npy")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(dir, "perm.npy")
	cmd = exec.Command(os.Args[0], "assign", "solve", fifo, "-out", out)
	cmd.Env = append(os.Environ(), "IMMISCIBLE_TEST_MAIN=1")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	if pipe, err = os.OpenFile(fifo, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	return cmd, pipe, bufio.NewReader(errs), out
}

// waitStatus reads the rest of stderr and waits for the process's end.
func waitStatus(t *testing.T, cmd *exec.Cmd, stderr *bufio.Reader) (syscall.WaitStatus, string) {
	t.Helper()
	rest, err := io.ReadAll(stderr)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.Sys().(syscall.WaitStatus), string(rest)
}

// The first signal lets the command end in order: status 130 or 143, the
// reason in words, and no result.
func TestSignalStopsInOrder(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		cmd, pipe, stderr, out := blocked(t)
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if _, err := stderr.ReadString('\n'); err != nil { // the program has taken notice
			t.Fatal(err)
		}
		var matrix bytes.Buffer
		if err := npy.Encode(&matrix, []int{3, 3}, scipyExample); err != nil {
			t.Fatal(err)
		}
		if _, err := pipe.Write(matrix.Bytes()); err != nil {
			t.Fatal(err)
		}
		pipe.Close()
		status, rest := waitStatus(t, cmd, stderr)
		if !status.Exited() || status.ExitStatus() != want || !bytes.Contains([]byte(rest), []byte(": stopped by SIG")) {
			t.Errorf("%v: got status %d (exited %v), stderr %q, want %d", signal, status.ExitStatus(), status.Exited(), rest, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: the stopped program wrote its result", signal)
		}
	}
}

// The second signal ends even a command that does not listen.
func TestSecondSignalKills(t *testing.T) {
	cmd, _, stderr, _ := blocked(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := stderr.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer deadline.Stop()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status, rest := waitStatus(t, cmd, stderr); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("got status %v, stderr %q, want the end by SIGINT", status, rest)
	}
}
