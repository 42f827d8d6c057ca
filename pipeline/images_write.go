package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"immiscible/pipeline/runlog"
)

// imageWriter writes finished images beside the computation: the pictures of a
// batch are compressed and written while the next one computes.
type imageWriter struct {
	job      *imageJob
	manifest *os.File
	batches  chan finishedImages
	done     chan struct{} // closed when nothing is written any more
	err      error         // to be read after done

	mu      sync.Mutex // of what both sides touch
	bar     *runlog.Bar
	written int
}

// finishedImages are pixels [n, C, H, W] in [−1, 1].
type finishedImages struct {
	records []ImageRecord
	pixels  []float32
}

func (j *imageJob) startWriter(images int) (*imageWriter, error) {
	manifest, err := os.OpenFile(filepath.Join(j.Out, "manifest.jsonl"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	w := &imageWriter{job: j, manifest: manifest, bar: runlog.NewBar(j.Messages, "image", images),
		batches: make(chan finishedImages, 1), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for b := range w.batches {
			if w.err = w.write(b); w.err != nil {
				return
			}
		}
	}()
	return w, nil
}

// put hands a batch over; it waits where two batches are not written yet. The
// error is that of a batch before.
func (w *imageWriter) put(records []ImageRecord, pixels []float32) error {
	select {
	case w.batches <- finishedImages{records, pixels}:
		return nil
	case <-w.done:
		return w.err
	}
}

// progress shows how far the batch in progress is.
func (w *imageWriter) progress(step, steps int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bar.Set(w.written, fmt.Sprintf("step %d/%d", step, steps))
}

// close waits until all that was handed over is written.
func (w *imageWriter) close() error {
	close(w.batches)
	<-w.done
	w.bar.Close()
	if err := w.manifest.Close(); w.err == nil && err != nil {
		w.err = fmt.Errorf("manifest.jsonl: %w", err)
	}
	return w.err
}

// write writes a batch. A picture is renamed into place before its line is
// appended to the manifest.
func (w *imageWriter) write(b finishedImages) error {
	dim := len(b.pixels) / len(b.records)
	height, width := w.job.Height, w.job.Width
	for i, r := range b.records {
		texts := []runlog.Text{{Key: "parameters", Value: r.parameters(height, width)}, {Key: "immiscible", Value: r.short().line()}}
		err := runlog.WriteImage(filepath.Join(w.job.Out, r.File), b.pixels[i*dim:(i+1)*dim], dim/(height*width), height, width, texts...)
		if err != nil {
			return err
		}
		if _, err := w.manifest.WriteString(r.line() + "\n"); err != nil {
			return fmt.Errorf("manifest.jsonl: %w", err)
		}
		w.mu.Lock()
		w.written++
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bar.Set(w.written, "")
	return nil
}
