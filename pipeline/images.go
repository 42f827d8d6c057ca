package pipeline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"immiscible/datasets/rng"
	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/npy"
	"immiscible/pipeline/runlog"
	"immiscible/pipeline/sampler"
)

// ImagesOptions say which images GenerateImages makes, and how.
type ImagesOptions struct {
	Model    string  // diffusers folder
	Out      string  // folder of the images and manifest.jsonl
	Classes  []int   // nil: every class of a conditioned model
	PerClass int     // images a class, or in all of an unconditional model
	Sampler  string  // a name of sampler.Names
	Steps    int     // num_inference_steps
	Eta      float64 // DDIM's
	Guidance float64 // guidance_scale; 1: off
	Seed     uint64
	Latents  string // .npy [images, C, H, W] with the initial noise; "": drawn
	Weights  string // "ema" or "raw"
	Batch    int    // images in memory at once; changes no image
	Engine   engine.Options
	Messages io.Writer // progress, and a line for each thing a user wants to know
}

// ImageRecord is one line of manifest.jsonl.
type ImageRecord struct {
	File     string  `json:"file"`
	Index    int     `json:"index"` // among the images of its class
	Seed     uint64  `json:"seed"`
	Class    *int    `json:"class,omitempty"`
	Sampler  string  `json:"sampler"`
	Steps    int     `json:"steps"`
	Guidance float64 `json:"guidance"`
	Eta      float64 `json:"eta,omitempty"`
	Weights  string  `json:"weights"`
	Model    string  `json:"model"`             // base name of the folder
	Latents  string  `json:"latents,omitempty"` // base name of the file
}

// GenerateImages writes PerClass PNGs for each class and a manifest with a line
// for each. An image's noise is a function of the seed, its class and its index,
// so that any image can be made again alone. Images that an earlier call with
// the same settings left are kept; only what is missing is made.
func GenerateImages(ctx context.Context, o ImagesOptions) error {
	part := map[string]string{"ema": "unet_ema", "raw": "unet"}[o.Weights]
	if part == "" {
		return fmt.Errorf("weights %q: want \"ema\" or \"raw\"", o.Weights)
	}
	m, err := models.Open(o.Model, part)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.Weights == "ema" && m.Part != "unet_ema" {
		fmt.Fprintf(o.Messages, "%s has no unet_ema: its only weights are taken\n", o.Model)
		o.Weights = "raw" // what the manifest is to say
	}
	if m.UNet.SampleSize.H == 0 {
		return fmt.Errorf("%s: config.json has no sample_size, so that the size of an image is unknown", o.Model)
	}
	scheduler := diffusion.DefaultConfig()
	if m.Scheduler == "" {
		fmt.Fprintf(o.Messages, "%s has no scheduler_config.json: DDPM's defaults are assumed\n", o.Model)
	} else if scheduler, err = diffusion.LoadConfig(m.Scheduler); err != nil {
		return err
	}
	schedule, err := diffusion.New(scheduler)
	if err != nil {
		return err
	}
	s, err := sampler.New(o.Sampler, schedule, o.Steps, o.Eta)
	if err != nil {
		return err
	}
	all, err := listImages(m, o)
	if err != nil {
		return err
	}
	latents, err := readLatents(m, o, len(all))
	if err != nil {
		return err
	}
	missing, others, err := missingImages(o.Out, all)
	if err != nil {
		return err
	}
	if len(missing) < len(all) {
		fmt.Fprintf(o.Messages, "%s: %d of %d images are there\n", o.Out, len(all)-len(missing), len(all))
	}
	if len(missing) > 0 {
		if err := makeImages(ctx, m, schedule, s, latents, all, missing, o); err != nil {
			return err
		}
	}
	return writeManifest(o.Out, append(others, all...))
}

// listImages lists every image of the job in order, class by class.
func listImages(m *models.Model, o ImagesOptions) ([]ImageRecord, error) {
	conditioned := m.UNet.Conditioning() == "embedding"
	count, null := classCount(m)
	switch {
	case conditioned && o.Guidance != 1 && !null:
		return nil, fmt.Errorf("guidance %g needs a model that was trained with conditioning_dropout, and %s says of none: want 1", o.Guidance, o.Model)
	case conditioned:
	case m.UNet.Conditioning() != "":
		return nil, fmt.Errorf("%s: class_embed_type %q cannot be named by a class number: export the model and run eval_model.onnx", o.Model, m.UNet.Conditioning())
	case o.Classes != nil:
		return nil, fmt.Errorf("%s is not conditioned on classes: leave -classes out", o.Model)
	case o.Guidance != 1:
		return nil, fmt.Errorf("%s is not conditioned, so that guidance %g has nothing to guide: want 1", o.Model, o.Guidance)
	}
	classes := o.Classes
	if conditioned && classes == nil {
		for c := range count {
			classes = append(classes, c)
		}
	}
	var all []ImageRecord
	each := ImageRecord{Seed: o.Seed, Sampler: o.Sampler, Steps: o.Steps, Guidance: o.Guidance, Eta: o.Eta,
		Weights: o.Weights, Model: filepath.Base(filepath.Clean(o.Model))}
	if o.Latents != "" {
		each.Latents = filepath.Base(o.Latents)
	}
	add := func(class *int, stem string) {
		for i := range o.PerClass {
			r := each
			r.File, r.Index, r.Class = fmt.Sprintf("%s%05d.png", stem, i), i, class
			all = append(all, r)
		}
	}
	if !conditioned {
		add(nil, "")
	}
	for _, c := range classes {
		if c < 0 || c >= count {
			return nil, fmt.Errorf("class %d: %s has classes 0…%d", c, o.Model, count-1)
		}
		add(&c, fmt.Sprintf("class-%04d-", c))
	}
	return all, nil
}

// readLatents reads the initial noise, or returns nil where it is to be drawn.
func readLatents(m *models.Model, o ImagesOptions, images int) ([]float32, error) {
	if o.Latents == "" {
		return nil, nil
	}
	a, err := npy.Read(o.Latents)
	if err != nil {
		return nil, err
	}
	want := []int{images, m.UNet.InChannels, m.UNet.SampleSize.H, m.UNet.SampleSize.W}
	if !slices.Equal(a.Shape, want) {
		return nil, fmt.Errorf("%s: shape %v, want %v: a row an image, in the manifest's order", o.Latents, a.Shape, want)
	}
	return a.Float32()
}

// missingImages returns the places in all that the folder lacks, and what the
// manifest says of images of other classes, which other calls made. What is
// there of all must have been made with the same settings.
func missingImages(out string, all []ImageRecord) (missing []int, others []ImageRecord, err error) {
	path := filepath.Join(out, "manifest.jsonl")
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("-out %s: %w", out, err)
	}
	have := map[string]ImageRecord{}
	var order []string
	if err == nil {
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var r ImageRecord
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				continue // a torn last line: its image is made again
			}
			if _, twice := have[r.File]; !twice {
				order = append(order, r.File)
			}
			have[r.File] = r
		}
		if err := lines.Err(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	ours := map[int]bool{}
	for i, r := range all {
		there, listed := have[r.File]
		if was, now := r.line(), there.line(); listed && was != now {
			return nil, nil, fmt.Errorf("%s: %s was made with other settings (%s, now %s): name another -out, or remove the folder", path, r.File, now, was)
		}
		delete(have, r.File)
		ours[r.class()] = true
		if _, err := os.Stat(filepath.Join(out, r.File)); !listed || err != nil {
			missing = append(missing, i)
		}
	}
	for _, file := range order {
		r, left := have[file]
		if left && ours[r.class()] {
			return nil, nil, fmt.Errorf("%s lists %s, and fewer images a class are wanted now: name another -out, or remove the folder", path, file)
		}
		if left {
			others = append(others, r)
		}
	}
	return missing, others, nil
}

// line is the record as its line of the manifest.
func (r ImageRecord) line() string {
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error() // a guidance that is no number, which sampling refuses
	}
	return string(text)
}

// class is the image's class, -1 where it has none.
func (r ImageRecord) class() int {
	if r.Class == nil {
		return -1
	}
	return *r.Class
}

// makeImages generates the missing images batch by batch. A picture is renamed
// into place before its line is appended to the manifest.
func makeImages(ctx context.Context, m *models.Model, schedule *diffusion.Schedule, s sampler.Sampler, latents []float32, all []ImageRecord, missing []int, o ImagesOptions) error {
	e, err := engine.Open(ctx, o.Engine)
	if err != nil {
		return err
	}
	defer e.Close()
	// Never a batch of one: ONNX Runtime multiplies a single row by another
	// kernel, whose last bits differ, and those of all other batches agree.
	options := GraphOptions{Batch: max(2, min(o.Batch, len(missing))), Height: m.UNet.SampleSize.H, Width: m.UNet.SampleSize.W}
	g, state, err := loadGenerator(e, m, schedule, options)
	if err != nil {
		return err
	}
	defer state.Close()
	defer g.Close()
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", o.Out, err)
	}
	if err := checkpoint.Sweep(o.Out); err != nil {
		return err
	}
	manifest, err := os.OpenFile(filepath.Join(o.Out, "manifest.jsonl"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer manifest.Close()
	bar := runlog.NewBar(o.Messages, "image", len(missing))
	defer bar.Close()
	dim := g.Dim()
	classes, _ := classCount(m)
	for at := 0; at < len(missing); at += options.Batch {
		batch := missing[at:min(at+options.Batch, len(missing))]
		samples := make([]float32, len(batch)*dim)
		var labels []int64
		for i, k := range batch {
			if row := samples[i*dim : (i+1)*dim]; latents != nil {
				copy(row, latents[k*dim:(k+1)*dim])
			} else {
				all[k].draw("generate").FillNormal(row)
			}
			if all[k].Class != nil {
				labels = append(labels, int64(*all[k].Class))
			}
		}
		err := g.Generate(ctx, samples, labels, GenerateOptions{Sampler: s, GuidanceScale: o.Guidance,
			NullLabel: int64(classes), Noise: func(dst []float32, image, step int) {
				all[batch[image]].draw(fmt.Sprintf("generate/%d", step)).FillNormal(dst)
			}})
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%s: %d of %d images are there, and the same command makes the others: %w", o.Out, len(all)-len(missing)+at, len(all), err)
		}
		for i, k := range batch {
			path := filepath.Join(o.Out, all[k].File)
			if err := runlog.WriteImage(path, samples[i*dim:(i+1)*dim], m.UNet.InChannels, g.Height, g.Width); err != nil {
				return err
			}
			if _, err := manifest.WriteString(all[k].line() + "\n"); err != nil {
				return fmt.Errorf("manifest.jsonl: %w", err)
			}
		}
		bar.Set(at+len(batch), "")
	}
	return nil
}

// draw is the image's own stream of noise.
func (r ImageRecord) draw(stream string) *rng.Stream {
	if r.Class != nil {
		stream += fmt.Sprintf("/class-%d", *r.Class)
	}
	return rng.New(r.Seed, stream, uint64(r.Index))
}

// classCount is the number of classes that a conditioned model knows, and
// whether the label after them stands for "no class". Our checkpoints say so in
// the weights' metadata; of others every embedding is taken for a class.
func classCount(m *models.Model) (count int, null bool) {
	if m.UNet.NumClassEmbeds == nil {
		return 0, false
	}
	count = *m.UNet.NumClassEmbeds
	if n, err := strconv.Atoi(m.Weights.Metadata[numClassesKey]); err == nil && n > 0 && n < count {
		return n, true
	}
	return count, false
}

// loadGenerator opens a generator on a model folder's weights.
func loadGenerator(e *engine.Engine, m *models.Model, schedule *diffusion.Schedule, o GraphOptions) (*Generator, *State, error) {
	graph, err := EvalGraph(m.UNet, o)
	if err != nil {
		return nil, nil, err
	}
	none := func(string) bool { return false }
	state, err := NewState(e, NewLayout(graph.Params(), none), false)
	if err != nil {
		return nil, nil, err
	}
	if err := state.LoadParams(m.Weights, state.Params, nil); err != nil {
		state.Close()
		return nil, nil, err
	}
	g, err := NewGenerator(e, m.UNet, schedule, state, state.Params, o)
	if err != nil {
		state.Close()
		return nil, nil, err
	}
	g.ImageScale = imageScale(m.Weights.Metadata)
	return g, state, nil
}

// writeManifest puts the manifest in the job's order, whole or not at all.
func writeManifest(out string, all []ImageRecord) error {
	f, err := os.CreateTemp(out, ".tmp-manifest-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	lines := json.NewEncoder(f)
	for _, r := range all {
		if err = lines.Encode(r); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(out, "manifest.jsonl"))
	}
	if err != nil {
		return fmt.Errorf("%s: writing manifest.jsonl: %w", out, err)
	}
	return nil
}
