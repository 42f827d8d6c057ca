package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"immiscible/pipeline/whole"
)

// The tests start this binary again as a child that is to die or to fail: see
// child. The child writes checkpoint-2 and prunes to one.
func TestMain(m *testing.M) {
	out := os.Getenv("CHECKPOINT_TEST_OUT")
	if out == "" {
		os.Exit(m.Run())
	}
	reached = func(stage string) {
		if stage == os.Getenv("CHECKPOINT_TEST_KILL") {
			die()
		}
	}
	if limit := os.Getenv("CHECKPOINT_TEST_LIMIT"); limit != "" {
		n, err := strconv.ParseUint(limit, 10, 64)
		if err == nil {
			signal.Ignore(syscall.SIGXFSZ) // a write beyond the limit then fails with EFBIG
			err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
	}
	_, err := Write(out, State{Step: 2}, func(dir string) error { return fillWith(dir, 2, reached) })
	if err == nil {
		err = Prune(out, 1, 2)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// die ends this process as a power cut would: no deferred call runs.
func die() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}

// payload is what file i of a step's checkpoint holds.
func payload(step, i int) []byte {
	return bytes.Repeat([]byte{byte(step), byte(i)}, 100*i)
}

// fillWith writes three files, calling at in the middle of each.
func fillWith(dir string, step int, at func(stage string)) error {
	if err := os.MkdirAll(filepath.Join(dir, "unet"), 0o755); err != nil {
		return err
	}
	for i, name := range []string{"model_index.json", "unet/model.safetensors", "optimizer.safetensors"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		data := payload(step, i)
		_, err = f.Write(data[:len(data)/2])
		at(fmt.Sprintf("file %d", i))
		if err == nil {
			_, err = f.Write(data[len(data)/2:])
		}
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeStep writes the checkpoint of a step here, as the child does.
func writeStep(t *testing.T, out string, step int) string {
	t.Helper()
	path, err := Write(out, State{Step: step, Position: int64(10 * step), ConfigDigest: "d"},
		func(dir string) error { return fillWith(dir, step, func(string) {}) })
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// child runs this binary on out with one more variable; it returns its output
// and how it ended.
func child(t *testing.T, out, variable string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), "CHECKPOINT_TEST_OUT="+out, variable)
	text, err := c.CombinedOutput()
	return string(text), err
}

// names lists what lies in a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteAndRead(t *testing.T) {
	out := t.TempDir()
	path := writeStep(t, out, 3)
	if path != filepath.Join(out, "checkpoint-3") {
		t.Errorf("path is %s", path)
	}
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Step != 3 || s.Position != 30 || s.ConfigDigest != "d" || len(s.Files) != 3 {
		t.Errorf("state is %+v", s)
	}
	// The empty file's digest is SHA-256's own test value (FIPS 180-4).
	want := File{"model_index.json", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	if s.Files[0] != want || s.Files[1].Path != "optimizer.safetensors" || s.Files[2].Path != "unet/model.safetensors" || s.Files[2].Bytes != 200 {
		t.Errorf("files are %+v", s.Files)
	}
	if err := Verify(path); err != nil {
		t.Error(err)
	}
	again, err := Write(out, State{Step: 3}, func(string) error { return errors.New("filled twice") })
	if err != nil || again != path {
		t.Errorf("a second write of the step: %s, %v", again, err)
	}
}

// Every way in which a folder can fail to be a checkpoint is seen, by Latest
// (which takes the one before it) and in words by Read.
func TestBroken(t *testing.T) {
	cases := []struct {
		name, want string
		spoil      func(dir string) error
	}{
		{"no witness", "no such file", func(dir string) error { return os.Remove(filepath.Join(dir, StateFile)) }},
		{"cut witness", "unexpected end", func(dir string) error { return os.Truncate(filepath.Join(dir, StateFile), 40) }},
		{"file missing", "unet/model.safetensors", func(dir string) error { return os.Remove(filepath.Join(dir, "unet/model.safetensors")) }},
		{"file cut", "optimizer.safetensors has 7 bytes, and trainer_state.json says 400", func(dir string) error { return os.Truncate(filepath.Join(dir, "optimizer.safetensors"), 7) }},
		{"path outside", "lies outside", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, StateFile), []byte(`{"step": 2, "files": [{"path": "../x"}]}`), 0o644)
		}},
	}
	for _, c := range cases {
		out := t.TempDir()
		before, broken := writeStep(t, out, 1), writeStep(t, out, 2)
		if err := c.spoil(broken); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(broken); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if path, step, ok, err := Latest(out); path != before || step != 1 || !ok || err != nil {
			t.Errorf("%s: the latest is %s, %d, %v, %v", c.name, path, step, ok, err)
		}
		// It is no obstacle to writing that step.
		if err := Verify(writeStep(t, out, 2)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := names(t, out); !reflect.DeepEqual(got, []string{"checkpoint-1", "checkpoint-2"}) {
			t.Errorf("%s: the folder holds %q", c.name, got)
		}
	}
}

// A changed bit keeps the size: Verify sees it.
func TestVerify(t *testing.T) {
	path := writeStep(t, t.TempDir(), 2)
	file := filepath.Join(path, "optimizer.safetensors")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[123] ^= 4
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err != nil {
		t.Error(err)
	}
	if err := Verify(path); err == nil || !strings.Contains(err.Error(), "checkpoint-2 is no whole checkpoint: optimizer.safetensors has SHA-256 ") {
		t.Errorf("verify: %v", err)
	}
}

// A run goes on from the newest checkpoint whose every byte is as it was written,
// and is told what is wrong with each one above it. What it writes then replaces
// those, and counts alone when old ones are removed.
func TestResume(t *testing.T) {
	out := t.TempDir()
	if path, _, passed, err := Resume(filepath.Join(out, "none")); path != "" || passed != nil || err != nil {
		t.Errorf("in no folder: %q, %v, %v", path, passed, err)
	}
	for step := 1; step <= 3; step++ {
		writeStep(t, out, step)
	}
	changed := filepath.Join(out, "checkpoint-2", "optimizer.safetensors")
	if err := os.WriteFile(changed, payload(9, 2), 0o644); err != nil { // other bytes, as many
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(out, "checkpoint-3", "model_index.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(out, "checkpoint-4"), os.DirFS(filepath.Join(out, "checkpoint-1"))); err != nil {
		t.Fatal(err)
	}
	path, step, passed, err := Resume(out)
	if path != filepath.Join(out, "checkpoint-1") || step != 1 || len(passed) != 3 || err != nil {
		t.Fatalf("it goes on from %q, past %q, %v", path, passed, err)
	}
	for i, want := range []string{"checkpoint-4 is no whole checkpoint: trainer_state.json is of step 1", "checkpoint-3/model_index.json: no such file", "checkpoint-2 is no whole checkpoint: optimizer.safetensors has SHA-256 "} {
		if !strings.Contains(passed[i].Error(), want) {
			t.Errorf("passed over: %v, want %q", passed[i], want)
		}
	}
	if err := Prune(out, 1, 1); err != nil || Verify(path) != nil {
		t.Errorf("a later checkpoint counted: %v", err)
	}
	if again, _, passed, err := Resume(filepath.Dir(writeStep(t, out, 2))); filepath.Base(again) != "checkpoint-2" || len(passed) != 2 || err != nil {
		t.Errorf("after step 2 was done again: %q, past %q, %v", again, passed, err)
	}
}

func TestLatest(t *testing.T) {
	out := t.TempDir()
	if _, _, ok, err := Latest(filepath.Join(out, "none")); ok || err != nil {
		t.Errorf("in no folder: %v, %v", ok, err)
	}
	for _, step := range []int{2, 9, 10} { // 10 is after 9, though not by name
		writeStep(t, out, step)
	}
	for _, other := range []string{"checkpoint-011", "checkpoint-x", "checkpoint-", "checkpoint-12", ".tmp-checkpoint-13-1"} {
		if err := os.Mkdir(filepath.Join(out, other), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// A copy under another step's name is not that step.
	if err := os.CopyFS(filepath.Join(out, "checkpoint-20"), os.DirFS(filepath.Join(out, "checkpoint-9"))); err != nil {
		t.Fatal(err)
	}
	if path, step, ok, err := Latest(out); filepath.Base(path) != "checkpoint-10" || step != 10 || !ok || err != nil {
		t.Errorf("the latest is %s, %d, %v, %v", path, step, ok, err)
	}
	if err := whole.Sweep(out); err != nil {
		t.Fatal(err)
	}
	if err := whole.Sweep(filepath.Join(out, "none")); err != nil {
		t.Error(err)
	}
	want := []string{"checkpoint-", "checkpoint-011", "checkpoint-10", "checkpoint-12", "checkpoint-2", "checkpoint-20", "checkpoint-9", "checkpoint-x"}
	if got := names(t, out); !reflect.DeepEqual(got, want) {
		t.Errorf("swept to %q", got)
	}
}

func TestPrune(t *testing.T) {
	out := t.TempDir()
	for step := 1; step <= 12; step++ {
		writeStep(t, out, step)
	}
	if err := os.Mkdir(filepath.Join(out, "checkpoint-99"), 0o755); err != nil { // not whole: it does not count
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep int
		want []string
	}{
		{0, []string{"checkpoint-1", "checkpoint-10", "checkpoint-11", "checkpoint-12", "checkpoint-2", "checkpoint-3", "checkpoint-4", "checkpoint-5", "checkpoint-6", "checkpoint-7", "checkpoint-8", "checkpoint-9", "checkpoint-99"}},
		{4, []string{"checkpoint-10", "checkpoint-11", "checkpoint-12", "checkpoint-9", "checkpoint-99"}},
		{9, []string{"checkpoint-10", "checkpoint-11", "checkpoint-12", "checkpoint-9", "checkpoint-99"}},
		{1, []string{"checkpoint-12", "checkpoint-99"}},
	} {
		if err := Prune(out, c.keep, 12); err != nil {
			t.Fatal(err)
		}
		if got := names(t, out); !reflect.DeepEqual(got, c.want) {
			t.Errorf("keep %d: %q", c.keep, got)
		}
	}
}

// SIGKILL at every stage of a write and of the prune after it: the run goes on
// from a whole checkpoint, and the next start is not hindered by what is left.
func TestKilled(t *testing.T) {
	stages := []struct {
		name string
		want int // the step that Latest finds afterwards
	}{
		{"made", 1}, {"file 0", 1}, {"file 1", 1}, {"file 2", 1}, {"filled", 1},
		{"witnessed", 1}, {"flushed", 1}, {"cleared", 1},
		{"renamed", 2}, {"finished", 2}, {"unnamed", 2},
	}
	for _, stage := range stages {
		out := t.TempDir()
		writeStep(t, out, 0)
		writeStep(t, out, 1)
		_, err := child(t, out, "CHECKPOINT_TEST_KILL="+stage.name)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child ended with %v", stage.name, err)
		}
		path, step, ok, err := Latest(out)
		if err != nil || !ok || step != stage.want {
			t.Errorf("%s: the latest is %s, %d, %v, %v", stage.name, path, step, ok, err)
		}
		if err := Verify(path); err != nil {
			t.Errorf("%s: %v", stage.name, err)
		}
		if err := whole.Sweep(out); err != nil {
			t.Errorf("%s: %v", stage.name, err)
		}
		writeStep(t, out, 2)
		if err := Prune(out, 1, 2); err != nil {
			t.Errorf("%s: %v", stage.name, err)
		}
		if got := names(t, out); !reflect.DeepEqual(got, []string{"checkpoint-2"}) {
			t.Errorf("%s: the folder holds %q", stage.name, got)
		}
	}
	// The control: a child that nobody kills ends well.
	if text, err := child(t, t.TempDir(), "CHECKPOINT_TEST_KILL="); err != nil {
		t.Errorf("not killed: %s, %v", text, err)
	}
}

// A disk that takes no more after a number of bytes, in the middle of a file
// (200 and 400 bytes) or of the longer witness: one line says so, and nothing is left of the attempt.
func TestNoSpace(t *testing.T) {
	for _, limit := range []int{0, 1, 150, 399, 450} {
		out := t.TempDir()
		writeStep(t, out, 1)
		text, err := child(t, out, "CHECKPOINT_TEST_LIMIT="+strconv.Itoa(limit))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Fatalf("limit %d: %s, %v", limit, text, err)
		}
		if !strings.Contains(text, "no space left for it") || !strings.Contains(text, "checkpoint-1, is whole") || strings.Count(text, "\n") != 1 {
			t.Errorf("limit %d: %s", limit, text)
		}
		if got := names(t, out); !reflect.DeepEqual(got, []string{"checkpoint-1"}) {
			t.Errorf("limit %d: the folder holds %q", limit, got)
		}
	}
}

func TestWriteRefused(t *testing.T) {
	out := t.TempDir()
	full := func(string) error { // the kernel's own ENOSPC
		return os.WriteFile("/dev/full", []byte{1}, 0o644)
	}
	if _, err := Write(out, State{Step: 5}, full); err == nil || !errors.Is(err, syscall.ENOSPC) ||
		!strings.Contains(err.Error(), "no space left for it") || !strings.Contains(err.Error(), "there is no earlier checkpoint") {
		t.Errorf("full disk: %v", err)
	}
	mine := errors.New("the arena is gone")
	if _, err := Write(out, State{Step: 5}, func(string) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("failed fill: %v", err)
	}
	link := func(dir string) error { return os.Symlink("x", filepath.Join(dir, "link")) }
	if _, err := Write(out, State{Step: 5}, link); err == nil || !strings.Contains(err.Error(), "link is neither a file nor a folder") {
		t.Errorf("link: %v", err)
	}
	if got := names(t, out); len(got) != 0 {
		t.Errorf("the folder holds %q", got)
	}
	if _, err := Write(filepath.Join(out, "none"), State{Step: 5}, full); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no folder: %v", err)
	}
}
