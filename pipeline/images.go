package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/pipeline/diffusion"
	"immiscible/pipeline/sampler"
	"immiscible/pipeline/whole"
)

// ImagesOptions say which images GenerateImages makes, and how.
type ImagesOptions struct {
	Model         string   // diffusers folder
	Out           string   // folder of the images and manifest.jsonl
	Prompts       []string // for a model that takes text; nil: classes
	Negative      string   // negative prompt, what guidance leads away from
	Classes       []int    // nil: every class of a conditioned model
	ClassNames    string   // file of class names, for captions; "": the model folder's, as training leaves them
	Template      string   // caption of a class, as datasets.ClassCaption takes it; "": the training's, else "{class}"
	PerClass      int      // images a class or prompt, or in all of an unconditional model
	Indices       []int    // which images of each class or prompt; nil: 0 … PerClass−1
	Sampler       string   // a name of sampler.Names; "": the one that the folder's scheduler stands for
	Steps         int      // num_inference_steps
	Eta           float64  // DDIM's
	Guidance      float64  // guidance_scale; 1: off; NaN: 7.5 of a model that takes text, else 1
	Height, Width int      // in pixels; 0: the model's own
	Seed          uint64
	Latents       string // .npy [images, C, H, W] with the initial noise; "": drawn
	Weights       string // "ema" or "raw"
	Batch         int    // images in memory at once, changes no image; 0: 32, or 4 of a model that takes text
	Engine        engine.Options
	Messages      io.Writer // progress, and a line for each thing a user wants to know
}

// imageJob is what GenerateImages does.
type imageJob struct {
	ImagesOptions // resolved
	model         *models.Model
	schedule      *diffusion.Schedule
	sampler       *sampler.Sampler
	factor        int           // pixels a latent; 1 without a VAE
	all           []ImageRecord // in the manifest's order
	latents       []float32     // nil: drawn
	notes         []string      // for Messages, once all is resolved
}

func (j *imageJob) note(format string, args ...any) {
	j.notes = append(j.notes, fmt.Sprintf(format, args...))
}

// GenerateImages writes PerClass PNGs for each class or prompt, and a manifest
// with a line for each. An image's noise is a function of the seed, its class or
// prompt and its index, so that any image can be made again alone. Images that
// an earlier call with the same settings left are kept; only what is missing is
// made.
func GenerateImages(ctx context.Context, o ImagesOptions) error {
	j, err := openImageJob(o)
	if err != nil {
		return err
	}
	defer j.model.Close()
	missing, others, err := missingImages(o.Out, j.all, o.Indices != nil)
	if err != nil {
		return err
	}
	if len(missing) < len(j.all) {
		j.note("%s: %d of %d images are there", o.Out, len(j.all)-len(missing), len(j.all))
	}
	if len(missing) == 0 {
		j.say()
	} else if err := j.make(ctx, missing); err != nil {
		return err
	}
	return writeManifest(o.Out, append(others, j.all...))
}

// openImageJob opens the model and resolves the options.
func openImageJob(o ImagesOptions) (*imageJob, error) {
	part := map[string]string{"ema": "unet_ema", "raw": "unet"}[o.Weights]
	if part == "" {
		return nil, fmt.Errorf("weights %q: want \"ema\" or \"raw\"", o.Weights)
	}
	m, err := models.Open(o.Model, part)
	if err != nil {
		return nil, err
	}
	j := &imageJob{ImagesOptions: o, model: m}
	if o.Weights == "ema" && m.Part != "unet_ema" {
		j.note("%s has no unet_ema: its only weights are taken", o.Model)
		j.Weights = "raw" // what the manifest is to say
	}
	for _, resolve := range []func() error{j.size, j.walk, j.list, j.readLatents} {
		if err := resolve(); err != nil {
			m.Close()
			return nil, err
		}
	}
	return j, nil
}

func (j *imageJob) say() {
	for _, line := range j.notes {
		fmt.Fprintln(j.Messages, line)
	}
}

// text reports whether the model takes captions.
func (j *imageJob) text() bool { return j.model.UNet.CrossAttentionDim() > 0 }

// own is the model's own size in pixels; zeros where it is left open.
func (j *imageJob) own() (height, width int) {
	size := j.model.UNet.Sample()
	return size.H * j.factor, size.W * j.factor
}

// size resolves the images' size and the batch.
func (j *imageJob) size() error {
	j.factor = 1
	if j.model.VAE != nil {
		j.factor = j.model.VAE.Factor()
	}
	if in, _ := j.model.UNet.Channels(); j.model.VAE == nil && in != 1 && in != 3 {
		return fmt.Errorf("%s: in_channels %d makes no picture, and the folder has no vae to decode latents: copy the pipeline's vae there, and name it in model_index.json", j.Model, in)
	}
	if j.Height == 0 {
		if j.Height, j.Width = j.own(); j.Height == 0 {
			return fmt.Errorf("%s: config.json has no sample_size: name one with -resolution", j.Model)
		}
	}
	if j.Height%j.factor != 0 || j.Width%j.factor != 0 {
		return fmt.Errorf("-resolution %dx%d: want multiples of %d pixels, one latent of the VAE", j.Height, j.Width, j.factor)
	}
	if j.Batch == 0 {
		j.Batch = 32
		if j.text() {
			j.Batch = 4
		}
	}
	return nil
}

// walk resolves the noise schedule, the sampler and guidance.
func (j *imageJob) walk() (err error) {
	scheduler := diffusion.DefaultConfig()
	if j.model.Scheduler == "" {
		j.note("%s has no scheduler_config.json: DDPM's defaults are assumed", j.Model)
	} else if scheduler, err = diffusion.LoadConfig(j.model.Scheduler); err != nil {
		return err
	}
	if j.schedule, err = diffusion.New(scheduler); err != nil {
		return err
	}
	if j.Sampler == "" {
		j.Sampler = sampler.Default(scheduler)
	}
	if math.IsNaN(j.Guidance) {
		j.Guidance = 1
		if j.text() {
			j.Guidance = 7.5
		}
	}
	j.sampler, err = sampler.New(j.Sampler, j.schedule, j.Steps, j.Eta)
	return err
}

// make generates the missing images batch by batch. While a batch computes, the
// one before is written.
func (j *imageJob) make(ctx context.Context, missing []int) error {
	e, err := engine.Open(ctx, j.Engine)
	if err != nil {
		return err
	}
	defer e.Close()
	parts, err := j.openParts(e, len(missing))
	if err != nil {
		return err
	}
	defer parts.close()
	j.say()
	if err := os.MkdirAll(j.Out, 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", j.Out, err)
	}
	if err := whole.Sweep(j.Out); err != nil {
		return err
	}
	w, err := j.startWriter(len(missing))
	if err != nil {
		return err
	}
	err = j.batches(ctx, parts, missing, w)
	if closed := w.close(); err == nil {
		err = closed
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %d of %d images are there, and the same command makes the others: %w", j.Out, len(j.all)-len(missing)+w.written, len(j.all), err)
	}
	return nil
}

// batches makes the images and hands them to the writer.
func (j *imageJob) batches(ctx context.Context, parts *imageParts, missing []int, w *imageWriter) error {
	dim, size := parts.unet.Dim(), parts.unet.Batch
	count, _ := classCount(j.model)
	o := GenerateOptions{Sampler: j.sampler, GuidanceScale: j.Guidance, NullLabel: int64(count)}
	for at := 0; at < len(missing); at += size {
		batch := missing[at:min(at+size, len(missing))]
		samples := make([]float32, len(batch)*dim)
		var labels []int64
		records := make([]ImageRecord, len(batch))
		for i, k := range batch {
			records[i] = j.all[k]
			if row := samples[i*dim : (i+1)*dim]; j.latents != nil {
				copy(row, j.latents[k*dim:(k+1)*dim])
			} else {
				records[i].draw("generate").FillNormal(row)
			}
			if records[i].Class != nil && !j.text() {
				labels = append(labels, int64(*records[i].Class))
			}
		}
		o.Noise = func(dst []float32, image, step int) {
			records[image].draw(fmt.Sprintf("generate/%d", step)).FillNormal(dst)
		}
		step, steps := 0, len(j.sampler.Timesteps())
		w.progress(step, steps)
		o.Progress = func() {
			step++
			w.progress(step, steps)
		}
		if err := parts.encode(ctx, records, &o); err != nil {
			return err
		}
		if err := parts.unet.Generate(ctx, samples, labels, o); err != nil {
			var bad *notFiniteError
			if errors.As(err, &bad) {
				return fmt.Errorf("%s: %w", records[bad.image].File, err)
			}
			return err
		}
		pixels, err := parts.decode(ctx, samples)
		if err != nil {
			return err
		}
		if err := w.put(records, pixels); err != nil {
			return err
		}
	}
	return nil
}
