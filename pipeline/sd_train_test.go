package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"immiscible/models"
)

// sdSets are the settings of a run that fine-tunes the tiny Stable Diffusion.
func sdSets(t *testing.T, sets ...string) []string {
	names := filepath.Join(t.TempDir(), "names.txt")
	if err := os.WriteFile(names, []byte("bag\nshoe, boot\ncoat\ncrane\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return withoutUNet(tinySets(plainSource(t), append([]string{
		"model.path=" + sdTiny, "data.channels=3", "data.resolution=16", "data.captions=class", "data.class_names=" + names,
		`data.caption_template="a {synonym}"`, "noise.per_class=true", "train.conditioning_dropout=0.25", "train.gradient_checkpointing=true",
		"sample.guidance_scale=3", "sample.every_steps=4",
	}, sets...)...))
}

// The resume law holds for latents and captions too, and a checkpoint is the
// pipeline it came from with other weights in its U-Net.
func TestStableDiffusionRun(t *testing.T) {
	sets := sdSets(t, "train.max_steps=8", "checkpoint.keep=0")
	want := train(t, "", sets)
	if log := readLog(t, want); len(log) != 8 || !finite(log) || log[0].DistanceAfter >= log[0].DistanceBefore {
		t.Fatalf("the run itself is at fault:\n%s", untimed(t, log))
	}
	out := filepath.Join(t.TempDir(), "run")
	killAtRandom(t, childRun{Sets: sets, Out: out}, 8)
	train(t, out, sets)
	sameRun(t, want, out, 8)

	source, made := files(t, sdTiny), files(t, filepath.Join(want, "checkpoint-8"))
	for path, content := range source {
		switch same := made[path] == content; {
		case strings.HasSuffix(path, "unet/"+weightsFile):
			if same {
				t.Errorf("%s has not moved", path)
			}
		case strings.HasSuffix(path, ".json"): // as it was, or written anew with its keys and those of the run
			var a, b map[string]any
			if json.Unmarshal([]byte(content), &a) != nil || json.Unmarshal([]byte(made[path]), &b) != nil || len(b) < len(a) {
				t.Errorf("%s is %s\nwant %s", path, made[path], content)
			}
		case !same:
			t.Errorf("%s differs from the pipeline's", path)
		}
	}
	m, err := models.Open(filepath.Join(want, "checkpoint-8"), "unet_ema")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Part != "unet_ema" || m.VAE == nil || m.Text == nil || m.Tokenizer == "" {
		t.Errorf("the checkpoint opens as %+v", m)
	}
}

// Gradient checkpointing, sample grids and the size of a micro-batch's encoding
// change no bit of a run.
func TestStableDiffusionBits(t *testing.T) {
	sets := sdSets(t, "train.max_steps=4", "checkpoint.every_steps=0")
	want := weights(t, filepath.Join(train(t, "", sets), "checkpoint-4", "unet"))
	for _, change := range []string{"train.gradient_checkpointing=false", "sample.every_steps=1", "runtime.threads=1", "data.workers=4"} {
		got := weights(t, filepath.Join(train(t, "", append(sets, change)), "checkpoint-4", "unet"))
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("%s changes %s", change, key)
				break
			}
		}
	}
}

// Only what train.parameters names moves.
func TestStableDiffusionCrossAttentionOnly(t *testing.T) {
	out := train(t, "", sdSets(t, "train.max_steps=2", `train.parameters=["*.attn2.*"]`))
	m, err := models.Open(sdTiny, "unet")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before, moved := weights(t, filepath.Join(sdTiny, "unet")), 0
	for key, after := range weights(t, filepath.Join(out, "checkpoint-2", "unet")) {
		if changed := before[key] != after; changed != strings.Contains(key, ".attn2.") {
			t.Errorf("%s: changed %v", key, changed)
		} else if changed {
			moved++
		}
	}
	if moved == 0 {
		t.Error("nothing was trained")
	}
}

func TestStableDiffusionErrors(t *testing.T) {
	without := func(part string) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(sdTiny)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, row := range []struct {
		set, want string
	}{
		{"model.path=" + without("text_encoder"), "text_encoder or tokenizer is missing"},
		{"model.path=" + without("tokenizer"), "text_encoder or tokenizer is missing"},
		{"model.path=" + without("tokenizer/merges.txt"), "merges.txt"},
		{"model.path=" + without("unet/"+weightsFile), "no weights"},
		{"model.path=" + without("vae"), "has no VAE between them: copy the pipeline's vae folder there"},
		{"data.channels=1", "the VAE has in_channels 3, [data] channels is 1"},
		{"data.resolution=17", "[data] resolution is 17, and a latent of the VAE stands for"},
		{"train.prediction_type=v_prediction", `prediction_type is "epsilon"`},
	} {
		out := filepath.Join(t.TempDir(), "run")
		err := tryTrain(t.Context(), t, out, sdSets(t, row.set))
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want it to say %q", row.set, err, row.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: the run's folder was made", row.set)
		}
	}
}

// A noise schedule that is not the one a reader of the settings or of the folder
// expects is named.
func TestScheduleWarnings(t *testing.T) {
	bare := t.TempDir()
	if err := os.CopyFS(bare, os.DirFS(sdTiny)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(bare, "scheduler")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ set, want string }{
		{"train.seed=0", ""},
		{"model.path=" + bare, "has no scheduler_config.json: the noise schedule is that of [scheduler]"},
		{"scheduler.beta_end=0.03", "the settings of [scheduler] are not used"},
	} {
		c, err := LoadConfig("", "", sdSets(t, row.set))
		if err != nil {
			t.Fatal(err)
		}
		s, err := openSubject(c)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(s.warnings(c), "\n")
		s.close()
		if !strings.Contains(got, row.want) || (got == "") != (row.want == "") {
			t.Errorf("%s: %q, want %q", row.set, got, row.want)
		}
	}
}
