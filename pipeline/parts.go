package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"immiscible/pipeline/diffusion"
)

// trainedParts are the folders of a checkpoint that training writes.
var trainedParts = []string{"unet", "unet_ema", "scheduler"}

// writeParts writes what a pipeline folder has beside its U-Net, so that
// diffusers opens dir: model_index.json, the scheduler and, of a pipeline that
// the run started from, its other folders as they are.
func (s *subject) writeParts(dir string) error {
	var from string
	if s.source != nil && s.source.Part != "" {
		from = s.source.Dir
	}
	if err := s.writeIndex(filepath.Join(dir, "model_index.json"), from); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "scheduler"), 0o755); err != nil {
		return err
	}
	if err := s.writeScheduler(filepath.Join(dir, "scheduler", "scheduler_config.json")); err != nil {
		return err
	}
	if from == "" {
		return nil
	}
	index, err := readObject(filepath.Join(from, "model_index.json"))
	if err != nil {
		return err
	}
	for part, value := range index {
		var class [2]*string // library and class
		if slices.Contains(trainedParts, part) || json.Unmarshal(value, &class) != nil || class[1] == nil || !filepath.IsLocal(part) {
			continue
		}
		err := linkFolder(filepath.Join(from, part), filepath.Join(dir, part))
		// A part that was left out of the folder is left out of the checkpoint.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copying %s of %s: %w", part, from, err)
		}
	}
	return nil
}

// writeIndex writes model_index.json: that of the pipeline at from, or one of a
// DDPMPipeline.
func (s *subject) writeIndex(path, from string) error {
	if from != "" {
		text, err := os.ReadFile(filepath.Join(from, "model_index.json"))
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o644)
	}
	return writeObject(path, map[string]any{
		"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.0",
		"scheduler": []string{"diffusers", "DDPMScheduler"},
		"unet":      []string{"diffusers", s.unet.Class()},
	})
}

// writeScheduler writes scheduler_config.json: the folder's own with what the
// run trains for, so that keys of samplers that only diffusers knows stay.
func (s *subject) writeScheduler(path string) error {
	if s.source == nil || s.source.Part == "" || s.source.Scheduler == "" {
		return s.schedule.Config.Save(path)
	}
	keys, err := readObject(s.source.Scheduler)
	if err != nil {
		return err
	}
	object := map[string]any{}
	for key, value := range keys {
		object[key] = value
	}
	object["prediction_type"] = s.schedule.PredictionType
	if before, err := diffusion.LoadConfig(s.source.Scheduler); err != nil {
		return err
	} else if before.ClipSampleRange != s.schedule.ClipSampleRange { // [noise] scale
		object["clip_sample_range"] = s.schedule.ClipSampleRange
	}
	return writeObject(path, object)
}

func readObject(path string) (map[string]json.RawMessage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w", path, err)
	}
	return object, nil
}

func writeObject(path string, object map[string]any) error {
	text, err := json.MarshalIndent(object, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// linkFolder makes to a folder with the files of from: as hard links, which cost
// no space and share what is never written again, and as copies where the two
// lie on different file systems. Hidden files are left out.
func linkFolder(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		source, err := filepath.EvalSymlinks(filepath.Join(from, entry.Name())) // Hugging Face's cache holds links
		if err != nil {
			return err
		}
		info, err := os.Stat(source)
		switch target := filepath.Join(to, entry.Name()); {
		case err != nil:
			return err
		case info.IsDir():
			err = linkFolder(source, target)
		case os.Link(source, target) != nil:
			err = copyFile(source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
