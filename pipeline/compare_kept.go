package pipeline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/pipeline/runlog"
	"immiscible/pipeline/whole"
)

// sameAsBefore refuses to go on with a folder that was made with other settings,
// and keeps these. Arms and seeds are not among them. Settings are compared key
// by key: one that this program has gained since stands at its default in both.
func (c *comparison) sameAsBefore() error {
	o := c.options
	common, err := LoadConfig(o.Preset, o.ConfigFile, o.Sets)
	if err != nil {
		return err
	}
	settings := common
	settings.Runtime, settings.CUDA = ConfigRuntime{}, ConfigCUDA{}
	type item struct{ Key, Value string }
	now := []item{
		{"steps", fmt.Sprint(o.Steps)}, {"at", fmt.Sprint(o.At)}, {"sampler_steps", fmt.Sprint(o.SamplerSteps)}, {"samples", fmt.Sprint(o.Samples)},
		{"features", fmt.Sprintf("%s (input range %s, resize %s, output %q)", o.Features.Model, o.Features.InputRange, o.Features.Resize, o.Features.Output)},
		{"settings", settings.Text()},
		{"network", c.network.Digest},
	}
	path := filepath.Join(o.Out, "compare.json")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		var before []item
		if err := json.Unmarshal(text, &before); err != nil {
			return fmt.Errorf("%s: %w: name another -out", path, err)
		}
		for _, is := range now {
			i := slices.IndexFunc(before, func(was item) bool { return was.Key == is.Key })
			switch {
			case i < 0 || before[i] == is: // a folder of an older program may lack one
			case is.Key == "settings":
				if err := sameSettings(before[i].Value, common); err != nil {
					return fmt.Errorf("%s was made with other settings: %w", o.Out, err)
				}
			default:
				return fmt.Errorf("%s was made with %s %s, now %s: name another -out, or put it back", o.Out, is.Key, before[i].Value, is.Value)
			}
		}
	}
	if text, err = json.MarshalIndent(now, "", " "); err != nil {
		return err
	}
	return whole.File(path, append(text, '\n'))
}

// sameSettings compares settings with those that a folder was made with.
func sameSettings(before string, now Config) error {
	tree, err := configParse(before)
	if err != nil {
		return err
	}
	delete(tree, "runtime") // was left out
	was, err := PresetConfig("")
	if err == nil {
		err = configApply(&was, "compare.json", tree)
	}
	if err != nil {
		return err
	}
	if now.Model.UNet == nil {
		was.Model.UNet = nil // a model's own config.json describes it
	}
	return SameRun(was, now)
}

// sameArm refuses to add to a run's judgements what a run of other settings
// gives: an arm of one's own may have got others under its old name.
func sameArm(out string, now Config) error {
	before, err := LoadConfig("", filepath.Join(out, "config.toml"), nil)
	if err == nil {
		err = SameRun(before, now)
	}
	if err != nil {
		return fmt.Errorf("%s was made with other settings: %w", out, err)
	}
	return nil
}

// divergedFile holds in a run's folder that it could not go on.
const divergedFile = "diverged.json"

// readDiverged is nil for a run that did not diverge.
func readDiverged(out string) (*CompareDiverged, error) {
	path := filepath.Join(out, divergedFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	d := &CompareDiverged{}
	if err == nil {
		err = json.Unmarshal(text, d)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and the run is tried again", path, err)
	}
	return d, nil
}

// keepDiverged keeps an error that says that the run cannot go on; ok is false
// for any other.
func keepDiverged(out string, step int, why error) (d *CompareDiverged, ok bool, err error) {
	var stuck *divergedError
	var broken *notFiniteError
	switch {
	case errors.As(why, &stuck):
		d = &CompareDiverged{Step: stuck.step, Why: stuck.why}
	case errors.As(why, &broken):
		d = &CompareDiverged{Step: step, Why: broken.Error()}
	default:
		return nil, false, nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, false, err
	}
	return d, true, whole.File(filepath.Join(out, divergedFile), append(text, '\n'))
}

// keptEvaluation is a line of evaluations.jsonl.
type keptEvaluation struct {
	CompareEvaluation
	Seconds float64 `json:"seconds,omitempty"` // that it took; older lines do not say
}

// evaluations are a run's judgements, a line each, kept as soon as they are made.
type evaluations struct {
	file *os.File
	all  []keptEvaluation
}

// openEvaluations reads what an earlier call left. A last line that was cut off
// is made again.
func openEvaluations(path string) (*evaluations, error) {
	v := &evaluations{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := 0
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		var e keptEvaluation
		if json.Unmarshal(lines.Bytes(), &e) != nil || whole+len(lines.Bytes()) >= len(text) {
			break
		}
		v.all = append(v.all, e)
		whole += len(lines.Bytes()) + 1
	}
	if v.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, err
	}
	if err = v.file.Truncate(int64(whole)); err == nil {
		_, err = v.file.Seek(0, 2)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *evaluations) close() { v.file.Close() }

func (v *evaluations) find(step, samplerSteps int) (keptEvaluation, bool) {
	for _, e := range v.all {
		if e.Step == step && e.SamplerSteps == samplerSteps {
			return e, true
		}
	}
	return keptEvaluation{}, false
}

func (v *evaluations) has(step, samplerSteps int) bool {
	_, ok := v.find(step, samplerSteps)
	return ok
}

func (v *evaluations) add(e keptEvaluation) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := v.file.Write(append(line, '\n')); err != nil {
		return err
	}
	v.all = append(v.all, e)
	return v.file.Sync()
}

// readRunLog reads every line of a run's log.jsonl.
func readRunLog(path string) ([]runlog.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []runlog.Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r runlog.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, lines.Err()
}

// distanceChange is the mean relative change of the distance from image to noise.
func distanceChange(log []runlog.Record) runlog.Number {
	sum := runlog.Number(0)
	for _, r := range log {
		sum += r.DistanceAfter/r.DistanceBefore - 1
	}
	return sum / runlog.Number(max(1, len(log)))
}
