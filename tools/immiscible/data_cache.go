package main

import (
	"context"
	"flag"
	"io"

	"immiscible/datasets"
	"immiscible/pipeline"
)

func dataCache() Command {
	var config, preset, out, dtype string
	var sets list
	var threads int
	return Command{
		Name:  "data cache",
		Usage: "-out DIR [-preset P] [-config F] [-set table.key=value]… [-dtype float16|float32]",
		Short: "write what a model's VAE makes of a data set",
		Long: `Encodes every image of a run's data with its model's VAE and writes the moments (means and logarithms of
variances) into DIR, which then is the run's source: train -set data.source=DIR does what it would have
done with the images, without the encoder. With data.flip both the image and its mirror are kept. The
settings are train's; those that decide what a latent is ([model] path, [data] resolution, crop, filter …)
must be the same in both, which train checks.

float16 takes half the room and rounds to 11 bits; with float32 the run is the same.

A call that was stopped or killed is finished by the same command. ` + "`data verify DIR`" + ` checks every record.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&out, "out", "", "folder `DIR` for the cache")
			flags.StringVar(&config, "config", "", "settings in the TOML file `F`; it may be partial")
			flags.StringVar(&preset, "preset", "", "start from preset `P`, as train does")
			flags.Var(&sets, "set", "`table.key=value`: one setting, in TOML; may be repeated")
			flags.StringVar(&dtype, "dtype", datasets.DTypeFloat16, "how a number is stored: float16 or float32")
			threadsFlag(flags, &threads)
		},
		Run: func(ctx context.Context, args []string, _, stderr io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q; the data are [data] source: -set data.source=SRC", args[0])
			case out == "":
				return usagef("no -out, want a folder for the cache")
			case dtype != datasets.DTypeFloat16 && dtype != datasets.DTypeFloat32:
				return usagef("-dtype %q, want float16 or float32", dtype)
			}
			c, err := loadConfig(preset, config, sets, threads)
			if err != nil {
				return err
			}
			return pipeline.CacheLatents(ctx, c, pipeline.CacheOptions{Out: out, DType: dtype, Messages: stderr})
		},
	}
}
