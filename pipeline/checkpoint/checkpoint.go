package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"immiscible/pipeline/whole"
)

// reached is called with the name of each stage that Write and Prune have got
// to. It does nothing; the tests kill the process in it.
var reached = func(stage string) {}

// Write makes the folder out/checkpoint-<state.Step>: fill writes its files
// into dir, a temporary folder, then the witness is added and all of it is
// flushed and renamed. It returns the checkpoint's path.
//
// On an error nothing of it is left, and the error names the last checkpoint
// that is whole. A whole checkpoint of that step is left as it stands, without
// a call of fill: a step's state is the same however often it is reached.
func Write(out string, state State, fill func(dir string) error) (path string, err error) {
	path = filepath.Join(out, name(state.Step))
	if verifyStep(out, state.Step) == nil {
		return path, nil
	}
	if err := write(out, path, state, fill); err != nil {
		return "", explain(out, path, err)
	}
	return path, nil
}

// write is Write without the words around its errors.
func write(out, path string, state State, fill func(dir string) error) error {
	temp := filepath.Join(out, fmt.Sprintf("%s%s-%d", whole.Temporary, name(state.Step), os.Getpid()))
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	reached("made")
	if err := fill(temp); err != nil {
		return err
	}
	reached("filled")
	files, err := list(temp)
	if err != nil {
		return err
	}
	state.Files = files
	if err := writeState(temp, state); err != nil {
		return err
	}
	reached("witnessed")
	if err := whole.Flush(temp); err != nil {
		return err
	}
	reached("flushed")
	// What has the checkpoint's name already is not whole, or Write had
	// returned; a folder can only be renamed onto an empty one.
	broken := filepath.Join(out, fmt.Sprintf("%sbroken-%s-%d", whole.Temporary, name(state.Step), os.Getpid()))
	if err := os.Rename(path, broken); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer os.RemoveAll(broken)
	reached("cleared")
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	reached("renamed")
	if err := whole.FlushOne(out); err != nil {
		return err
	}
	reached("finished")
	return nil
}

// explain says what failed, why, what is safe and what to do.
func explain(out, path string, err error) error {
	safe := "there is no earlier checkpoint"
	if last, _, ok, _ := Latest(out); ok {
		safe = "the last checkpoint, " + last + ", is whole"
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("write %s: no space left for it: %w; %s: free some space, or keep fewer with [checkpoint] keep, and start again", path, err, safe)
	}
	return fmt.Errorf("write %s: %w; %s", path, err, safe)
}

// Latest returns the whole checkpoint of the highest step in out. ok is false
// where there is none, or no folder out.
func Latest(out string) (path string, step int, ok bool, err error) {
	steps, err := wholeSteps(out)
	if err != nil || len(steps) == 0 {
		return "", 0, false, err
	}
	return filepath.Join(out, name(steps[0])), steps[0], true, nil
}

// Resume returns the checkpoint of the highest step in out that passes Verify,
// or "" where none does. passed says of each of a higher step what is wrong with
// it, the highest first.
func Resume(out string) (path string, step int, passed []error, err error) {
	steps, err := namedSteps(out)
	if err != nil {
		return "", 0, nil, err
	}
	for _, step := range steps {
		err := verifyStep(out, step)
		if err == nil {
			return filepath.Join(out, name(step)), step, passed, nil
		}
		passed = append(passed, err)
	}
	return "", 0, passed, nil
}

// Prune removes the oldest whole checkpoints of out, up to that of step last,
// until keep are left; 0 keeps all. Later ones are none that the run went on
// from: they do not count. Each is renamed to a temporary name before it is
// deleted, so that no half of a checkpoint ever has a checkpoint's name.
func Prune(out string, keep, last int) error {
	steps, err := wholeSteps(out)
	steps = slices.DeleteFunc(steps, func(step int) bool { return step > last })
	if err != nil || keep <= 0 || len(steps) <= keep {
		return err
	}
	for _, step := range steps[keep:] {
		path := filepath.Join(out, name(step))
		temp := filepath.Join(out, fmt.Sprintf("%spruned-%s-%d", whole.Temporary, name(step), os.Getpid()))
		if err := os.Rename(path, temp); err != nil {
			return fmt.Errorf("remove the old checkpoint %s: %w", path, err)
		}
		reached("unnamed")
		if err := os.RemoveAll(temp); err != nil {
			return fmt.Errorf("remove the old checkpoint %s, now %s: %w", path, temp, err)
		}
	}
	return nil
}

// wholeSteps lists the steps of the whole checkpoints in out, the highest first.
func wholeSteps(out string) ([]int, error) {
	steps, err := namedSteps(out)
	return slices.DeleteFunc(steps, func(step int) bool {
		_, err := readStep(out, step)
		return err != nil
	}), err
}

// readStep is Read for the checkpoint of a step, which must be that step's.
func readStep(out string, step int) (State, error) {
	path := filepath.Join(out, name(step))
	s, err := Read(path)
	if err == nil && s.Step != step {
		err = fmt.Errorf("%s is no whole checkpoint: %s is of step %d", path, StateFile, s.Step)
	}
	return s, err
}

// verifyStep is Verify for the checkpoint of a step, which must be that step's.
func verifyStep(out string, step int) error {
	if _, err := readStep(out, step); err != nil {
		return err
	}
	return Verify(filepath.Join(out, name(step)))
}

// namedSteps lists the steps of which out has a folder, whole or not, the highest
// first.
func namedSteps(out string) (steps []int, err error) {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for checkpoints: %w", err)
	}
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), "checkpoint-")
		if step, err := strconv.Atoi(digits); ok && err == nil && name(step) == entry.Name() {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, nil
}

// name is the folder of a step.
func name(step int) string {
	return "checkpoint-" + strconv.Itoa(step)
}
