package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/models/safetensors"
	"immiscible/models/unet"
	"immiscible/pipeline/checkpoint"
)

const (
	weightsFile   = "diffusion_pytorch_model.safetensors"
	optimizerFile = "optimizer.safetensors"

	// numClassesKey stands in a weights file's metadata: classes of the data. The
	// embedding after the last is "no class", where the model has one.
	numClassesKey = "num_classes"
	// imageScaleKey stands there too where images were multiplied by [noise]
	// scale: what the model generates is divided by it.
	imageScaleKey = "image_scale"
	// captionTemplateKey stands there where captions were made of class names, which
	// are in classNamesFile beside the model's parts, a class a line.
	captionTemplateKey = "caption_template"
	classNamesFile     = "class_names.txt"
)

// weightsMetadata is what a run says of itself in its weights files.
func (c Config) weightsMetadata() map[string]string {
	about := map[string]string{"format": "pt", numClassesKey: strconv.Itoa(c.Data.NumClasses)}
	if c.Noise.Scale != 1 {
		about[imageScaleKey] = strconv.FormatFloat(c.Noise.Scale, 'g', -1, 64)
	}
	if c.Data.Captions == datasets.CaptionsClass {
		about[captionTemplateKey] = c.Data.CaptionTemplate
	}
	return about
}

// imageScale reads imageScaleKey; 1 where the metadata have none.
func imageScale(about map[string]string) float64 {
	if x, err := strconv.ParseFloat(about[imageScaleKey], 64); err == nil && x > 0 {
		return x
	}
	return 1
}

// writeCheckpoint writes out/checkpoint-<step>: a diffusers pipeline folder with
// unet_ema, the optimizer's moments and the trainer's state beside. What the
// pipeline that the run started from has beside its U-Net is in it too.
func writeCheckpoint(out string, at checkpoint.State, s *State, sub *subject, c Config) (string, error) {
	about := c.weightsMetadata()
	return checkpoint.Write(out, at, func(dir string) error {
		if err := sub.writeParts(dir); err != nil {
			return err
		}
		if err := writeModel(filepath.Join(dir, "unet"), sub.unet, s, s.Params, about); err != nil {
			return err
		}
		if c.EMA.Enabled {
			if err := writeModel(filepath.Join(dir, "unet_ema"), sub.unet, s, s.EMA, about); err != nil {
				return err
			}
		}
		if c.Data.Captions == datasets.CaptionsClass {
			if err := os.WriteFile(filepath.Join(dir, classNamesFile), []byte(strings.Join(sub.classNames, "\n")+"\n"), 0o644); err != nil {
				return err
			}
		}
		return safetensors.Write(filepath.Join(dir, optimizerFile), map[string]string{"optimizer": "adamw"}, s.moments())
	})
}

// moments are AdamW's state under torch's names, a parameter's key appended.
func (s *State) moments() []safetensors.Entry {
	var entries []safetensors.Entry
	for _, p := range s.Layout.Params {
		if p.Trained {
			entries = append(entries, p.entry("exp_avg."+p.Key, s.ExpAvg), p.entry("exp_avg_sq."+p.Key, s.ExpAvgSq))
		}
	}
	return entries
}

// writeModel writes a folder that the model's from_pretrained opens.
func writeModel(dir string, c unet.Net, s *State, a *engine.Arena, about map[string]string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	config, err := c.JSON()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return err
	}
	return safetensors.Write(filepath.Join(dir, weightsFile), about, s.Entries(a))
}

// readCheckpoint restores the state that writeCheckpoint wrote.
func readCheckpoint(dir string, s *State, ema bool) error {
	parts := []struct {
		dir   string
		arena *engine.Arena
		only  func(Param) bool
	}{
		{"unet", s.Params, nil},
		{"unet_ema", s.EMA, func(p Param) bool { return p.Trained }},
	}
	if !ema {
		parts[1].dir = "unet"
	}
	for _, part := range parts {
		f, err := safetensors.Open(filepath.Join(dir, part.dir, weightsFile))
		if err != nil {
			return err
		}
		err = s.LoadParams(f, part.arena, part.only)
		f.Close()
		if err != nil {
			return err
		}
	}
	f, err := safetensors.Open(filepath.Join(dir, optimizerFile))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range s.Layout.Params {
		if !p.Trained {
			continue
		}
		for name, arena := range map[string]*engine.Arena{"exp_avg.": s.ExpAvg, "exp_avg_sq.": s.ExpAvgSq} {
			t, ok := f.Lookup(name + p.Key)
			if !ok || numel64(t.Shape) != int64(p.Numel()) {
				return fmt.Errorf("%s: tensor %q is missing or has shape %v, want %v: the checkpoint belongs to another model", f.Path, name+p.Key, t.Shape, p.Shape)
			}
			values := make([]float32, p.Numel())
			if err := f.Float32(t, values); err != nil {
				return err
			}
			if err := p.write(arena, values); err != nil {
				return err
			}
		}
	}
	return nil
}
