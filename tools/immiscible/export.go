package main

import (
	"context"
	"flag"
	"io"

	"immiscible/pipeline"
)

func export() Command {
	var o pipeline.ExportOptions
	var resolution string
	return Command{
		Name:  "export",
		Usage: "-model DIR -out OUT [-batch N] [-resolution R|HxW] [-dropout]",
		Short: "write a model's training step as ONNX files",
		Long: `Writes training_model.onnx (loss and gradients), optimizer_model.onnx and grad_norm_model.onnx (one
chunk of the parameters), eval_model.onnx, model.safetensors and manifest.json. Any stock ONNX
Runtime runs them, Python's included; weights are inputs under their state-dict keys.

Of a Stable Diffusion folder also vae_encoder.onnx (sample to latent_parameters), vae_decoder.onnx
(latent_sample to sample) and text_encoder.onnx (input_ids to last_hidden_state), which take their
weights from vae.safetensors and text_encoder.safetensors beside them.

OUT must not exist or be empty, and appears whole or not at all.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.Model, "model", "", "diffusers folder `DIR`")
			flags.StringVar(&o.Out, "out", "", "folder `OUT` for the artifacts")
			flags.IntVar(&o.Batch, "batch", 1, "images in a batch")
			flags.StringVar(&resolution, "resolution", "", "pixels `R` or HxW, of a latent model too; default the config's sample_size")
			flags.BoolVar(&o.Dropout, "dropout", false, "keep the config's dropout, its masks as inputs")
		},
		Run: func(_ context.Context, args []string, _, stderr io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.Model == "":
				return usagef("no -model, want a diffusers folder")
			case o.Out == "":
				return usagef("no -out, want a folder for the artifacts")
			case o.Batch < 1:
				return usagef("-batch %d, want at least 1", o.Batch)
			}
			var err error
			if o.Height, o.Width, err = parseResolution(resolution); err != nil {
				return err
			}
			o.Messages = stderr
			return pipeline.Export(o)
		},
	}
}
