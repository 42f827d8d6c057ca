package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"immiscible/models/engine"
	"immiscible/pipeline"
	"immiscible/pipeline/runlog"
)

// warmUps are the steps before the clock counts: the first allocate and tune.
const warmUps = 3

// benchReport is what bench step says, and its JSON.
type benchReport struct {
	Model      string             `json:"model"`
	Parameters int                `json:"parameters"`
	Batch      int                `json:"batch"`
	Resolution int                `json:"resolution"`
	Threads    int                `json:"threads"`
	Provider   string             `json:"provider"`
	Library    string             `json:"onnxruntime"`
	Steps      int                `json:"steps"`
	StepMS     pipeline.Quartiles `json:"step_ms"`
	PhaseMS    phases             `json:"phase_ms"` // medians
	PeakRSSMB  float64            `json:"peak_rss_mb"`
	Device     deviceReport       `json:"device"`
	Peer       *peerReport        `json:"peer,omitempty"`
}

// deviceReport is what the device of the sessions sees: on the CPU, what a GPU's bus
// would carry, and the host's own memory.
type deviceReport struct {
	BytesUp       float64             `json:"bytes_up"`        // to it, a step
	BytesDown     float64             `json:"bytes_down"`      // from it, a step
	ActivationsMB float64             `json:"activations_mb"`  // the training graph's peak, counted
	HeldMB        float64             `json:"held_mb"`         // by its arena for that
	Estimate      pipeline.PlanMemory `json:"estimated_bytes"` // as train -dry-run tells it
}

// phases are the parts of a step, in milliseconds.
type phases struct {
	Inputs    float64 `json:"inputs"`
	Gradients float64 `json:"gradients"`
	Norm      float64 `json:"norm"`
	Update    float64 `json:"update"`
}

// phasesOf is the median of each phase.
func phasesOf(steps []pipeline.StepTimes) phases {
	median := func(of func(pipeline.StepTimes) time.Duration) float64 {
		var ms []float64
		for _, s := range steps {
			ms = append(ms, of(s).Seconds()*1e3)
		}
		return pipeline.QuartilesOf(ms).Median
	}
	return phases{
		Inputs:    median(func(s pipeline.StepTimes) time.Duration { return s.Inputs }),
		Gradients: median(func(s pipeline.StepTimes) time.Duration { return s.Gradients }),
		Norm:      median(func(s pipeline.StepTimes) time.Duration { return s.Norm }),
		Update:    median(func(s pipeline.StepTimes) time.Duration { return s.Update }),
	}
}

// peerReport is the peer's side. Ratios are ours divided by the peer's.
type peerReport struct {
	Command     string             `json:"command"`
	Version     string             `json:"version"`
	Threads     int                `json:"threads"`
	StepMS      pipeline.Quartiles `json:"step_ms"`
	PeakRSSMB   float64            `json:"peak_rss_mb"`
	Ratio       float64            `json:"ratio"`    // of the medians
	RatioQ1     float64            `json:"ratio_q1"` // of the lower quartiles: less moved by other programs
	MemoryRatio float64            `json:"memory_ratio"`
	DeviceMB    float64            `json:"peak_device_mb,omitempty"` // that PyTorch's allocator has reserved
}

func benchStep() Command {
	var o pipeline.BenchOptions
	var peerCommand string
	var steps int
	var asJSON bool
	var sets list
	return Command{
		Name:  "bench step",
		Usage: "[-model DIR | -preset P] [-batch N] [-resolution R] [-steps N] [-set table.key=value]…\n  [-peer CMD] [-profile PREFIX] [-threads N] [-json]",
		Short: "time a training step, alone or in turns with a peer",
		Long: `Times whole training steps of a U-Net on synthetic images: drawing noise, filling the inputs,
gradients, norm and update. Prints median and quartiles, and the most memory the process had.

-peer starts another program that does the same, and the two take turns, a step each, so that
whatever else the machine does hits both. CMD goes to the shell with
  --model CONFIG.json --batch N --resolution R --threads T --turns
behind it. It prints {"ready": true}, runs a step for each line it reads and prints
{"step_ms": …}, and when its input ends {"peak_rss_mb": …, "torch": …, "threads": …}:
  -peer 'python3 tools/peers/torch_step.py'

With -json: one object, the peer's part with "ratio", our median divided by the peer's.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Model, "model", "", "time the model of the diffusers folder `DIR`")
			flags.StringVar(&o.Preset, "preset", "", "preset `P`: "+presetNames())
			flags.IntVar(&o.Batch, "batch", 0, "`N` images a step; 0: the preset's micro-batch, 16 for -model")
			flags.IntVar(&o.Resolution, "resolution", 0, "pixels `R`; 0: the preset's, the model's sample_size")
			flags.IntVar(&steps, "steps", 10, "time `N` steps, after 3 that are not counted")
			flags.Var(&sets, "set", "`table.key=value`: one setting, in TOML; may be repeated")
			flags.StringVar(&o.Profile, "profile", "", "write ONNX Runtime's traces to `PREFIX`-training_TIME.json and so on")
			flags.StringVar(&peerCommand, "peer", "", "take turns with the command `CMD`")
			threadsFlag(flags, &o.Threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.Model != "" && o.Preset != "":
				return usagef("-model and -preset, want one of them")
			case steps < 1:
				return usagef("-steps %d, want at least 1", steps)
			case o.Batch < 0:
				return usagef("-batch %d, want 0 or more", o.Batch)
			case o.Resolution < 0:
				return usagef("-resolution %d, want 0 or more", o.Resolution)
			}
			if err := useThreads(o.Threads); err != nil {
				return err
			}
			o.Messages, o.Sets = stderr, sets
			report, err := runBench(ctx, o, peerCommand, steps, stderr)
			if err != nil {
				return err
			}
			return printReport(stdout, asJSON, report)
		},
	}
}

// runBench times steps, each followed by one of the peer's.
func runBench(ctx context.Context, o pipeline.BenchOptions, peerCommand string, steps int, stderr io.Writer) (*benchReport, error) {
	b, err := pipeline.OpenStepBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r := &benchReport{Model: o.Model, Parameters: b.Parameters, Batch: b.Batch, Resolution: b.Resolution,
		Threads: b.Threads, Provider: b.Provider, Library: b.Library, Steps: steps}
	if r.Model == "" {
		r.Model = o.Preset
	}
	if r.Model == "" {
		r.Model = pipeline.Presets()[0].Name
	}
	var p *stepPeer
	if peerCommand != "" {
		if p, err = startStepPeer(ctx, peerCommand, b, stderr); err != nil {
			return nil, stoppedOr(ctx, err)
		}
		defer p.stop()
	}
	bar := runlog.NewBar(stderr, "step", warmUps+steps)
	defer bar.Close()
	var own, others []float64
	var parts []pipeline.StepTimes
	var before engine.Traffic
	for i := range warmUps + steps {
		if i == warmUps {
			before = b.Traffic()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		times, err := b.Step(ctx)
		if err != nil {
			return nil, err
		}
		took := times.Total()
		text := fmt.Sprintf("%.0f ms", took.Seconds()*1e3)
		other := 0.0
		if p != nil {
			if other, err = p.step(); err != nil {
				return nil, stoppedOr(ctx, err)
			}
			text += fmt.Sprintf(", peer %.0f ms", other)
		}
		if i >= warmUps {
			own, others, parts = append(own, took.Seconds()*1e3), append(others, other), append(parts, times)
		}
		bar.Set(i+1, text)
	}
	moved := b.Traffic().Sub(before)
	memory, err := b.Memory()
	if err != nil {
		return nil, err
	}
	r.Device = deviceReport{BytesUp: float64(moved.UploadBytes) / float64(steps), BytesDown: float64(moved.DownloadBytes) / float64(steps),
		ActivationsMB: float64(memory.Peak) / (1 << 20), HeldMB: float64(memory.Held) / (1 << 20)}
	if r.Device.Estimate, err = b.Estimate(); err != nil {
		return nil, err
	}
	r.StepMS, r.PhaseMS, r.PeakRSSMB = pipeline.QuartilesOf(own), phasesOf(parts), float64(pipeline.PeakRSS())/(1<<20)
	if p != nil {
		if r.Peer, err = p.finish(); err != nil {
			return nil, stoppedOr(ctx, err)
		}
		r.Peer.Command, r.Peer.StepMS = peerCommand, pipeline.QuartilesOf(others)
		r.Peer.Ratio = r.StepMS.Median / r.Peer.StepMS.Median
		r.Peer.RatioQ1 = r.StepMS.Q1 / r.Peer.StepMS.Q1
		r.Peer.MemoryRatio = r.PeakRSSMB / r.Peer.PeakRSSMB
	}
	return r, nil
}

// stoppedOr is err, or that the command was stopped: a terminal's Ctrl-C reaches
// the peer too, whose end is then no failure of its own.
func stoppedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// String is the report as a table.
func (r *benchReport) String() string {
	var b strings.Builder
	row := func(name string, q pipeline.Quartiles, rss float64, what string) {
		fmt.Fprintf(&b, "%-12s %9.1f ms a step (quartiles %.1f … %.1f)  %7.0f MB  %s\n", name, q.Median, q.Q1, q.Q3, rss, what)
	}
	fmt.Fprintf(&b, "%s: %d parameters, batch %d, %d×%d pixels, %d threads, %d steps\n",
		r.Model, r.Parameters, r.Batch, r.Resolution, r.Resolution, r.Threads, r.Steps)
	row("immiscible", r.StepMS, r.PeakRSSMB, fmt.Sprintf("ONNX Runtime %s, %s", r.Library, r.Provider))
	ms := r.PhaseMS
	fmt.Fprintf(&b, "%-12s inputs %.1f ms, gradients %.1f ms, norm %.1f ms, update %.1f ms (medians)\n", "of which", ms.Inputs, ms.Gradients, ms.Norm, ms.Update)
	if p := r.Peer; p != nil {
		row("peer", p.StepMS, p.PeakRSSMB, fmt.Sprintf("%s, %d threads", p.Version, p.Threads))
		fmt.Fprintf(&b, "%-12s %9.2f of the medians, %.2f of the lower quartiles, %.2f of the memory\n", "ratio", p.Ratio, p.RatioQ1, p.MemoryRatio)
	}
	return b.String()
}
