package main

import (
	"context"
	"flag"
	"io"
	"path/filepath"

	"immiscible/pipeline"
)

func train() Command {
	var config, preset, out, resume string
	var sets list
	var dryRun, asJSON bool
	var threads int
	return Command{
		Name:  "train",
		Usage: "[-preset P] [-config F] [-set table.key=value]… [-out DIR] [-resume auto|never|PATH] [-dry-run]",
		Short: "train a diffusion model",
		Long: `Trains a model and leaves in DIR: config.toml (every setting), log.jsonl (a line a step), TensorBoard
events, samples/step-N.png and checkpoint-N, a folder that diffusers opens. With no flag at all it
trains the default preset on the embedded Fashion-MNIST images into runs/fashion-mnist.

Settings: the preset's, then those of the file F, then each -set, in TOML (a bare word is a string):
  -set noise.pairing=knn -set 'train.parameters=["*.attentions.*"]'

The same command goes on where it was stopped (-resume auto); SIGINT and SIGTERM finish the step and
write a checkpoint. -resume never wants an empty folder; a PATH names a checkpoint.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&config, "config", "", "settings in the TOML file `F`; it may be partial")
			flags.StringVar(&preset, "preset", "", "preset `P`: "+presetNames())
			flags.Var(&sets, "set", "`table.key=value`: one setting, in TOML; may be repeated")
			flags.StringVar(&out, "out", "", "the run's folder `DIR`; default runs/<preset>")
			flags.StringVar(&resume, "resume", "auto", "`auto`, never, or a checkpoint's path")
			flags.BoolVar(&dryRun, "dry-run", false, "print settings, model size and memory, and stop")
			threadsFlag(flags, &threads)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if len(args) != 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if resume == "" {
				return usagef("-resume is empty, want auto, never or a checkpoint's path")
			}
			c, err := loadConfig(preset, config, sets, threads)
			if err != nil {
				return err
			}
			if preset == "" {
				preset = pipeline.Presets()[0].Name
			}
			if out == "" {
				out = filepath.Join("runs", preset)
			}
			if dryRun {
				plan, err := pipeline.DryRun(c)
				if err != nil {
					return err
				}
				for _, p := range pipeline.Presets() {
					if p.Name == preset {
						plan.Published = p.Published
					}
				}
				if asJSON {
					return printJSON(stdout, plan)
				}
				_, err = io.WriteString(stdout, c.Text()+"\n"+plan.String())
				return err
			}
			return pipeline.Train(ctx, c, pipeline.TrainOptions{Out: out, Resume: resume, Messages: stderr})
		},
	}
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return "" }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func presetNames() string {
	names := ""
	for i, p := range pipeline.Presets() {
		if i > 0 {
			names += ", "
		}
		names += p.Name
	}
	return names
}
