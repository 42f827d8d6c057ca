package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/help")

// TestMain lets tests run this binary as the program itself, with a limit on the
// size of files if IMMISCIBLE_TEST_FSIZE names one: it stands for a full disk.
func TestMain(m *testing.M) {
	if os.Getenv("IMMISCIBLE_TEST_MAIN") != "" {
		if n, err := strconv.ParseUint(os.Getenv("IMMISCIBLE_TEST_FSIZE"), 10, 64); err == nil {
			signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit then fails with EFBIG
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
				panic(err)
			}
		}
		main()
	}
	status := m.Run()
	if tinyModel.dir != "" {
		os.RemoveAll(tinyModel.dir)
	}
	os.Exit(status)
}

// call runs the program in this process.
func call(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs strings.Builder
	status = run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

// What help says stands in testdata/help, a file a command and one for the list.
func TestHelpFiles(t *testing.T) {
	want := map[string]string{"immiscible.txt": overview(commands())}
	for _, c := range commands() {
		want[strings.ReplaceAll(c.Name, " ", "-")+".txt"] = details(c)
	}
	dir := filepath.Join("testdata", "help")
	if *update {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, ok := want[entry.Name()]; !ok {
			t.Errorf("%s: help of no command, want go test ./tools/immiscible -update", entry.Name())
		}
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != text {
			t.Errorf("%s (%v) is not what help says, want go test ./tools/immiscible -update", name, err)
		}
	}
}

// Every command says what it is, in lines that fit a terminal.
func TestCommandTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		if c.Name == "" || c.Short == "" || c.Long == "" || c.Run == nil || seen[c.Name] {
			t.Errorf("command %q: a part is missing or the name stands twice", c.Name)
		}
		seen[c.Name] = true
		for line := range strings.Lines(details(c)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 {
				t.Errorf("%s: a line of help has %d characters, want 120 at most: %s", c.Name, n, line)
			}
		}
	}
}

func TestUse(t *testing.T) {
	tests := []struct {
		args           string
		status         int
		stdout, stderr string // their beginnings
	}{
		{"", 2, "", "immiscible trains"},
		{"help", 0, "immiscible trains", ""},
		{"-h", 0, "immiscible trains", ""},
		{"--help version", 0, "version: the version", ""},
		{"help assign solve", 0, "assign solve: the cheapest", ""},
		{"assign solve -h", 0, "assign solve: the cheapest", ""},
		{"assign solve a.npy -help", 0, "assign solve: the cheapest", ""},
		{"version", 0, "immiscible ", ""},
		{"-json version", 2, "", `immiscible: "-json" is no command, want one of: train`},
		{"version -json", 0, `{"version":"`, ""},
		{"version x", 2, "", "immiscible version: argument \"x\", want none\nusage: immiscible version [-json]\nmore: immiscible help version\n"},
		{"version -x", 2, "", "immiscible version: flag provided but not defined: -x\n"},
		{"help assign", 2, "", `immiscible help: "assign" is no command, want one of: assign`},
		{"assign", 2, "", `immiscible: "assign" is no command, want one of: assign solve`},
		{"assign sove", 2, "", `immiscible: "assign sove" is no command, want one of: assign solve`},
		{"help version x", 2, "", `immiscible help: "x" after the name of a command`},
	}
	for _, test := range tests {
		status, stdout, stderr := call(t.Context(), strings.Fields(test.args)...)
		if status != test.status || !strings.HasPrefix(stdout, test.stdout) || !strings.HasPrefix(stderr, test.stderr) {
			t.Errorf("immiscible %s: got status %d, stdout %q, stderr %q\nwant %d, %q…, %q…", test.args, status, stdout, stderr, test.status, test.stdout, test.stderr)
		}
		if (stdout == "") != (test.stdout == "") || (stderr == "") != (test.stderr == "") {
			t.Errorf("immiscible %s: spoke on the wrong stream: stdout %q, stderr %q", test.args, stdout, stderr)
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		args string
		want []string
		n    int
		b    bool
	}{
		{"a b", []string{"a", "b"}, 0, false},
		{"-n 3 a", []string{"a"}, 3, false},
		{"a -n 3 b -b", []string{"a", "b"}, 3, true},
		{"a -n=3 -b=false", []string{"a"}, 3, false},
		{"a --n 3", []string{"a"}, 3, false},
		{"-b -- -n 3", []string{"-n", "3"}, 0, true},
		{"a -- -b", []string{"a", "-b"}, 0, false},
		{"a - -b", []string{"a", "-"}, 0, true},
	}
	for _, test := range tests {
		var n int
		var b bool
		flags := flagSet(Command{Flags: func(f *flag.FlagSet) { f.IntVar(&n, "n", 0, ""); f.BoolVar(&b, "b", false, "") }})
		got, err := parse(flags, strings.Fields(test.args))
		if err != nil || !reflect.DeepEqual(got, test.want) || n != test.n || b != test.b {
			t.Errorf("%s: got %q, n %d, b %v, error %v; want %q, %d, %v", test.args, got, n, b, err, test.want, test.n, test.b)
		}
	}
}

// What a command returns decides the status, not that a signal came.
func TestExit(t *testing.T) {
	signalled := func(s syscall.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stopped{s})
		return ctx
	}
	bare, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		err    error
		status int
		stderr string
	}{
		{"done", t.Context(), nil, 0, ""},
		{"done all the same", signalled(syscall.SIGINT), nil, 0, ""},
		{"failed", t.Context(), errors.New("a.npy: entry [0, 1] is NaN"), 1, "a.npy: entry [0, 1] is NaN\n"},
		{"many lines", t.Context(), errors.New("1\n2\n3\n4\n"), 1, "1\n2\n3\n"},
		{"wrong use", t.Context(), fmt.Errorf("deep: %w", usagef("no")), 2, "immiscible x: deep: no\nusage: immiscible x Y\nmore: immiscible help x\n"},
		{"SIGINT", signalled(syscall.SIGINT), fmt.Errorf("checkpoint-7 written: %w", stopped{syscall.SIGINT}), 130, "checkpoint-7 written: stopped by SIGINT\n"},
		{"SIGTERM", signalled(syscall.SIGTERM), context.Canceled, 143, "context canceled\n"},
		{"failed while stopping", signalled(syscall.SIGTERM), errors.New("disk full"), 1, "disk full\n"},
		{"cancelled by no signal", bare, context.Canceled, 1, "context canceled\n"},
	}
	for _, test := range tests {
		var stderr strings.Builder
		if status := exit(test.ctx, Command{Name: "x", Usage: "Y"}, test.err, &stderr); status != test.status || stderr.String() != test.stderr {
			t.Errorf("%s: got status %d, stderr %q, want %d, %q", test.name, status, &stderr, test.status, test.stderr)
		}
	}
}
