package pipeline

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"immiscible/datasets/rng"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/runlog"
)

// childRun is a training that this binary does when it is started again, with
// the JSON of it in trainVariable.
type childRun struct {
	Sets []string
	Out  string
	Kill []string // globs below Out: as soon as one matches, the process dies
}

const trainVariable = "PIPELINE_TEST_TRAIN"

// TestMain lets a test train in a process that it, or the process itself, kills.
func TestMain(m *testing.M) {
	text := os.Getenv(trainVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var run childRun
	err := json.Unmarshal([]byte(text), &run)
	if err == nil {
		if len(run.Kill) > 0 {
			go dieWhen(run)
		}
		var c Config
		if c, err = LoadConfig("", "", run.Sets); err == nil {
			err = Train(context.Background(), c, TrainOptions{Out: run.Out, Resume: "auto", Messages: os.Stderr})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dieWhen ends the process as a power cut would, once a file is there.
func dieWhen(run childRun) {
	for {
		for _, glob := range run.Kill {
			if found, _ := filepath.Glob(filepath.Join(run.Out, glob)); len(found) > 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}
}

// start begins a training in a child process; its standard error goes to the
// returned buffer, which may be read after Wait.
func (run childRun) start(t *testing.T) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var messages bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), trainVariable+"="+string(text))
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails where it has ended
	return cmd, &messages
}

// records in the tar of tarSource: no multiple of the batch (8) or of the pool
// (32), so that batches and pools straddle epochs.
const sourceRecords = 43

// tarSource writes a WebDataset of 9×7 grey images and returns its path. label
// gives a record's class; the image of record bad, if there is one, is torn.
func tarSource(t *testing.T, label func(i int) int, bad int) string {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	member := func(name string, content []byte) {
		head := &tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for i := range sourceRecords {
		draws := rng.New(7, "image", uint64(i))
		picture := image.NewGray(image.Rect(0, 0, 9, 7))
		for y := range 7 {
			for x := range 9 {
				picture.SetGray(x, y, color.Gray{Y: uint8(50*label(i) + draws.Intn(56))})
			}
		}
		var file bytes.Buffer
		if err := png.Encode(&file, picture); err != nil {
			t.Fatal(err)
		}
		if i == bad {
			file.Truncate(file.Len() / 2)
		}
		member(fmt.Sprintf("%05d.png", i), file.Bytes())
		member(fmt.Sprintf("%05d.cls", i), fmt.Appendf(nil, "%d", label(i)))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shard.tar")
	if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// plainSource has four classes in turn and one torn image.
func plainSource(t *testing.T) string {
	return tarSource(t, func(i int) int { return i % 4 }, 13)
}

// tinySets are the settings of a run whose steps take milliseconds; sets are
// laid over them. Batches are accumulated, images cropped and mirrored at random.
func tinySets(source string, sets ...string) []string {
	return append([]string{
		"data.source=" + fmt.Sprintf("%q", source), "data.resolution=8", "data.pad=1", "data.crop=random", "data.flip=true", "data.num_classes=4",
		"noise.pool_size=32", "train.batch_size=8", "train.micro_batch=4", "train.seed=11",
		"lr.warmup_steps=3", "checkpoint.every_steps=2", "checkpoint.keep=2", "sample.every_steps=4", "sample.steps=2", "sample.per_class=1",
		"model.unet.sample_size=8", "model.unet.block_out_channels=[8,16]", "model.unet.norm_num_groups=4", "model.unet.attention_head_dim=8", "lr.schedule=constant_with_warmup", "lr.learning_rate=1e-3", "model.unet.num_class_embeds=5",
		`model.unet.down_block_types=["DownBlock2D","AttnDownBlock2D"]`, `model.unet.up_block_types=["AttnUpBlock2D","UpBlock2D"]`,
	}, sets...)
}

// withoutUNet leaves out what a run from a model folder must not set.
func withoutUNet(sets []string) []string {
	return slices.DeleteFunc(slices.Clone(sets), func(s string) bool { return strings.HasPrefix(s, "model.unet.") })
}

// tryTrain trains in this process.
func tryTrain(ctx context.Context, t *testing.T, out string, sets []string) error {
	t.Helper()
	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	return Train(ctx, c, TrainOptions{Out: out, Resume: "auto", Messages: io.Discard})
}

// train trains in this process, in a new folder where out is "", and returns the
// folder.
func train(t *testing.T, out string, sets []string) string {
	t.Helper()
	if out == "" {
		out = filepath.Join(t.TempDir(), "run")
	}
	if err := tryTrain(t.Context(), t, out, sets); err != nil {
		t.Fatal(err)
	}
	return out
}

// readLog returns a run's log, every line of which must stand once, in order.
func readLog(t *testing.T, out string) []runlog.Record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var records []runlog.Record
	for line := range strings.Lines(string(text)) {
		var r runlog.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("log line %q: %v", line, err)
		}
		if records = append(records, r); r.Step != len(records) || r.Position != int64(8*r.Step) {
			t.Fatalf("line %d of the log is of step %d, position %d", len(records), r.Step, r.Position)
		}
	}
	return records
}

// untimed is a log without its clocks, as JSON.
func untimed(t *testing.T, records []runlog.Record) string {
	t.Helper()
	var text strings.Builder
	for _, r := range records {
		r.PairMS, r.PairWaitMS, r.StepMS, r.ImagesPerSecond = 0, 0, 0, 0
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\n", line)
	}
	return text.String()
}

// files reads every file below dir, by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+string(filepath.Separator))] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameFiles holds two folders against each other, bit for bit.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	w, g := files(t, want), files(t, got)
	if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
		t.Errorf("%s holds %q, want %q", got, b, a)
	}
	for name, data := range w {
		if g[name] != data {
			t.Errorf("%s: %s is not the same", got, name)
		}
	}
}

// sameRun holds a run that was interrupted against one that was not: the last
// checkpoint (weights, average, moments, position), the settings, the sample
// grids and the log, and nothing half-written.
func sameRun(t *testing.T, want, got string, steps int) {
	t.Helper()
	last := fmt.Sprintf("checkpoint-%d", steps)
	sameFiles(t, filepath.Join(want, last), filepath.Join(got, last))
	sameFiles(t, filepath.Join(want, "samples"), filepath.Join(got, "samples"))
	if err := checkpoint.Verify(filepath.Join(got, last)); err != nil {
		t.Error(err)
	}
	if w, g := untimed(t, readLog(t, want)), untimed(t, readLog(t, got)); w != g {
		t.Errorf("the log is\n%swant\n%s", g, w)
	}
	for name := range files(t, got) {
		if strings.Contains(name, ".tmp-") {
			t.Errorf("%s holds %s", got, name)
		}
	}
}

// finite reports whether every number of a log is one.
func finite(records []runlog.Record) bool {
	return !slices.ContainsFunc(records, func(r runlog.Record) bool {
		return math.IsNaN(float64(r.Loss)) || math.IsNaN(float64(r.GradNorm))
	})
}
