package pipeline

import (
	"context"
	"time"

	"immiscible/models/engine"
)

// GenerateBench makes the same images again and again, to be timed.
type GenerateBench struct {
	Images, Batch, Threads int
	Height, Width          int
	Sampler                string
	Guidance               float64
	Library                string // version of ONNX Runtime
	Provider               string

	job    *imageJob
	engine *engine.Engine
	parts  *imageParts
}

// OpenGenerateBench opens the model and the library and makes the sessions. o.Out
// is a folder for the images; Close leaves them there.
func OpenGenerateBench(ctx context.Context, o ImagesOptions) (*GenerateBench, error) {
	j, err := openImageJob(o)
	if err != nil {
		return nil, err
	}
	b := &GenerateBench{job: j, Images: len(j.all), Height: j.Height, Width: j.Width, Sampler: j.Sampler, Guidance: j.Guidance}
	if b.engine, err = engine.Open(ctx, j.Engine); err == nil {
		b.parts, err = j.openParts(b.engine, len(j.all))
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	b.Batch, b.Threads, b.Library, b.Provider = b.parts.unet.Batch, b.engine.Threads, b.engine.Version, b.engine.Provider
	return b, nil
}

// Close frees all that was opened.
func (b *GenerateBench) Close() {
	if b.parts != nil {
		b.parts.close()
	}
	if b.engine != nil {
		b.engine.Close()
	}
	b.job.model.Close()
}

// Turn makes all images, from captions to files, and returns how long it took.
// Captions are encoded anew each time.
func (b *GenerateBench) Turn(ctx context.Context) (time.Duration, error) {
	if b.parts.text != nil {
		clear(b.parts.text.cache)
	}
	all := make([]int, len(b.job.all))
	for i := range all {
		all[i] = i
	}
	start := time.Now()
	w, err := b.job.startWriter(len(all))
	if err != nil {
		return 0, err
	}
	err = b.job.batches(ctx, b.parts, all, w)
	if closed := w.close(); err == nil {
		err = closed
	}
	return time.Since(start), err
}
