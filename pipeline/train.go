package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/pipeline/checkpoint"
	"immiscible/pipeline/runlog"
)

// TrainOptions are what a run needs besides its configuration.
type TrainOptions struct {
	Out      string    // folder of the run
	Resume   string    // "auto", "never" or a checkpoint's path
	Messages io.Writer // progress, and a line for each thing a user wants to know

	// likeGPU makes the CPU do what a GPU is given: the inputs of the next step are
	// filled while one runs, and the pairing's product is a session's.
	likeGPU bool

	// observe, if set, sees the run after each step and before the step's
	// checkpoint; a run that goes on shows it the step that it begins at once
	// more. It changes nothing that training reads.
	observe func(ctx context.Context, step int, t *trainer) error
}

// Train runs the configured training and leaves checkpoints, a log, TensorBoard
// events and sample grids in o.Out. A cancelled context ends it after the step
// in progress, with a checkpoint, and the context's cause as the error.
func Train(ctx context.Context, c Config, o TrainOptions) error {
	return explainMemory(c, runTraining(ctx, c, o))
}

func runTraining(ctx context.Context, c Config, o TrainOptions) error {
	say := func(format string, args ...any) { fmt.Fprintf(o.Messages, format+"\n", args...) }

	// Setting up: what is trained, on what, where.
	s, err := openSubject(c)
	if err != nil {
		return err
	}
	defer s.close()
	// The folder is held before anything in it is read, so that no other process
	// moves it on meanwhile. Until begun nothing else is written: what is wrong
	// with the settings, the model, the data or the library leaves it as it was.
	release, err := holdFolder(o.Out)
	if err != nil {
		return err
	}
	begun := false
	defer func() { release(begun) }()
	from, err := findRun(c, o)
	if err != nil {
		return err
	}
	for _, why := range from.passed {
		say("warning: %v: it is passed over, and the run goes on from %s", why, from.path)
	}
	owes := from.owesSample(c, o.Out)
	if from.state.Step >= c.Train.MaxSteps && !owes && o.observe == nil {
		say("%s holds %d steps, and max_steps is %d: nothing to do", from.path, from.state.Step, c.Train.MaxSteps)
		return nil
	}
	options := c.dataOptions()
	options.Latents = true
	data, err := datasets.Open(ctx, options)
	if err != nil {
		return err
	}
	s.classNames = data.ClassNames()
	defer data.Close()
	if was := from.state.Records; was > 0 && was != data.Len() {
		return fmt.Errorf("the data hold %d records, and held %d when %s was written: their order is another now; put them back, or start anew with another -out", data.Len(), was, from.path)
	}
	from.state.Records = data.Len()
	for _, line := range append(s.warnings(c), data.Warnings()...) {
		say("%s", line)
	}
	e, err := engine.Open(ctx, c.engineOptions(func(line string) { say("%s", line) }))
	if err != nil {
		return err
	}
	defer e.Close()
	t, err := newTrainer(e, c, s, o.likeGPU)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.openParts(e); err != nil {
		return err
	}
	if err := checkLatents(data.Latents(), t.vae); err != nil {
		return err
	}
	if err := t.begin(from); err != nil {
		return err
	}
	begun = true
	if err := from.prepare(c, o.Out); err != nil {
		return err
	}
	all, trained := t.state.Layout.Count()
	say("%d records; %d parameters, %d trained; batch %d as %d × %d; %s on %s, %d threads",
		data.Len(), all, trained, c.Train.BatchSize, c.Train.BatchSize/c.Train.MicroBatch, c.Train.MicroBatch, e.Version, e.Provider, e.Threads)
	if from.path != "" {
		say("going on from %s", from.path)
	}

	log, err := runlog.OpenLog(filepath.Join(o.Out, "log.jsonl"))
	if err != nil {
		return err
	}
	defer log.Close()
	var events *runlog.Events
	if c.Log.TensorBoard {
		if events, err = runlog.OpenEvents(o.Out, from.state.Step+1); err != nil {
			return err
		}
		defer events.Close()
	}
	bar := runlog.NewBar(o.Messages, "step", c.Train.MaxSteps)
	defer bar.Close()

	at := from.state
	examples := &source{config: c, data: data, vae: t.vae}
	noise, err := openChooser(ctx, c, examples, from, o.Out)
	if err != nil {
		return err
	}
	law, err := watchLaw(c, o.Out)
	if err != nil {
		return err
	}
	if o.likeGPU || c.productOnDevice(e.Provider) {
		if noise.product, err = newDeviceProduct(e, c.poolSize(), examples.dim()); err != nil {
			return err
		}
		defer noise.product.close()
	}
	pairs := startPools(ctx, examples, noise, at.Position)
	defer pairs.close()
	fed := startBatches(ctx, c, t.feed, t.step, pairs.next, at.Position, int64(c.Train.MaxSteps)*int64(c.Train.BatchSize))
	defer fed.close()
	var p *pool
	saved := at.Step
	save := func() error {
		if saved == at.Step {
			return nil
		}
		if err := log.Sync(); err != nil {
			return err
		}
		if _, err := writeCheckpoint(o.Out, at, t.state, s, c); err != nil {
			return err
		}
		saved = at.Step
		return checkpoint.Prune(o.Out, c.Checkpoint.Keep, at.Step)
	}
	// stop ends the run before its last step: the state is kept first.
	stop := func(why error) error {
		err := save()
		if ctx.Err() == nil || !errors.Is(why, ctx.Err()) {
			return errors.Join(why, err)
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%s holds %d of %d steps, and the same command goes on: %w", o.Out, at.Step, c.Train.MaxSteps, context.Cause(ctx))
	}
	sample := func() error {
		picture, err := t.sample(ctx, o.Out, at.Step, data.ClassNames())
		var broken *notFiniteError
		if errors.As(err, &broken) { // a grid is no reason to stop
			say("no sample grid of step %d: %v", at.Step, err)
			return nil
		}
		if err != nil || events == nil {
			return err
		}
		return events.Image(at.Step, "samples", picture)
	}
	if owes {
		if err := sample(); err != nil {
			return stop(err)
		}
	}

	if o.observe != nil && at.Step > 0 {
		if err := o.observe(ctx, at.Step, t); err != nil {
			return stop(err)
		}
	}

	for at.Step < c.Train.MaxSteps {
		if ctx.Err() != nil {
			return stop(ctx.Err())
		}
		start := time.Now()
		record := runlog.Record{Step: at.Step + 1}

		// The batch is done micro-batch by micro-batch, and the step runs to its end
		// even if the context is cancelled meanwhile.
		step := context.WithoutCancel(ctx)
		loss := 0.0
		if err := t.step.SetLossScale(t.lossScale()); err != nil {
			return stop(err)
		}
		for done := 0; done < c.Train.BatchSize; done += c.Train.MicroBatch {
			// 1. Images and their noise, from the pool that holds the batch, are put in
			// the graph's inputs. A GPU has them already, and is sent the next ones.
			from, waited, err := fed.next() // waits for the device
			if err != nil {
				return stop(err)
			}
			if p != from {
				p = from
				if waited > time.Millisecond {
					record.PairWaitMS = runlog.Number(waited.Seconds() * 1e3)
				}
				record.PairMS = runlog.Number(p.pairing.Seconds() * 1e3)
				law.add(p)
			}

			// 2. Gradients.
			part, _, err := t.step.Gradients(step, done == 0) // waits for the device
			if err != nil {
				return stop(err)
			}
			loss += part
		}
		record.SkippedRecords = p.skips(at.Position, c.Train.BatchSize)

		// 3. Their norm, which decides whether the step counts.
		norm, err := t.step.Norm(step, t.lossScale()) // waits for the device
		if err != nil {
			return stop(err)
		}
		lr := t.lr.At(at.Updates + 1)
		var hopeless error
		finite := !math.IsNaN(norm) && !math.IsInf(norm, 0)
		if !finite && t.overflow() {
			record.Skipped = fmt.Sprintf("the gradient overflows float16 at loss scale %g, which is halved", t.lossScale())
		} else if !finite {
			bad, weight, err := t.step.FirstBad()
			if err != nil {
				return stop(err)
			}
			if weight { // no state worth keeping: the checkpoints stand as they are
				return &divergedError{at.Step + 1, fmt.Sprintf("the weight %s: nothing was saved after step %d; lower lr.learning_rate and start with another -out (model.path takes a checkpoint)", bad, saved)}
			}
			at.BadSteps++
			record.Skipped = "the gradient is not finite: " + bad
			if at.BadSteps >= c.Train.MaxBadSteps {
				hopeless = &divergedError{at.Step + 1, fmt.Sprintf("%d steps in a row had a gradient that is not finite (the first bad tensor: %s): lower lr.learning_rate or look at the data; no weight was changed by them", at.BadSteps, bad)}
			}
		} else {
			// 4. Clip, AdamW and the moving average, in place.
			at.BadSteps = 0
			at.Updates++
			if err := t.step.Update(step, t.scalars(lr, norm, at.Updates)); err != nil {
				return err
			}
		}

		record.LossScale = t.updateScale(&at, finite)

		// 5. The log, then files.
		at.Step++
		at.Position += int64(c.Train.BatchSize)
		elapsed := time.Since(start)
		record.Position, record.Loss, record.LR, record.GradNorm = at.Position, runlog.Number(loss), runlog.Number(lr), runlog.Number(norm)
		record.DistanceBefore, record.DistanceAfter = runlog.Number(p.before), runlog.Number(p.after)
		record.StepMS = runlog.Number(elapsed.Seconds() * 1e3)
		record.ImagesPerSecond = runlog.Number(float64(c.Train.BatchSize) / elapsed.Seconds())
		if err := log.Append(record); err != nil {
			return err // a checkpoint of a step that has no line would hide it
		}
		if events != nil {
			if err := events.Record(record); err != nil {
				return stop(err)
			}
		}
		bar.Set(at.Step, record.Summary())
		if hopeless != nil {
			return stop(hopeless)
		}
		if o.observe != nil {
			if err := o.observe(ctx, at.Step, t); err != nil {
				return stop(err)
			}
		}
		if at.Step == c.Train.MaxSteps || due(at.Step, c.Checkpoint.EverySteps) {
			if err := save(); err != nil {
				return err
			}
		}
		if c.sampleDue(at.Step) {
			if err := sample(); err != nil {
				return stop(err)
			}
		}
	}
	bar.Close()
	if line, err := law.finish(); err != nil {
		return err
	} else if line != "" {
		say("%s", line)
	}
	say("%s is the last of %d steps; log.jsonl has a line for each", filepath.Join(o.Out, fmt.Sprintf("checkpoint-%d", at.Step)), at.Step)
	return nil
}

// divergedError ends a run of which a weight, or every gradient for as long as
// max_bad_steps, is not finite.
type divergedError struct {
	step int // at which that was seen
	why  string
}

func (e *divergedError) Error() string { return fmt.Sprintf("step %d: %s", e.step, e.why) }

func due(step, every int) bool { return every > 0 && step%every == 0 }

// dataOptions is the [data] table as the data set wants it.
func (c Config) dataOptions() datasets.Options {
	d := c.Data
	return datasets.Options{
		Sources: d.Source, Seed: uint64(c.Train.Seed), Channels: d.Channels, Resolution: d.Resolution, Pad: d.Pad,
		Crop: d.Crop, CropSize: d.CropSize, Flip: d.Flip, Filter: d.Filter, NumClasses: d.NumClasses, Workers: d.Workers, Prefetch: d.Prefetch,
		Window: d.Window, CacheDir: d.CacheDir, CacheBytes: int64(d.CacheGiB) << 30,
		BadRecords: d.BadRecords, BadLimit: d.BadLimit, ExifTranspose: d.ExifTranspose,
		ImageKey: d.ImageKey, LabelKey: d.LabelKey, Captions: d.Captions, CaptionKey: d.CaptionKey, CaptionTemplate: d.CaptionTemplate, ClassNames: d.ClassNames,
	}
}
