package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"immiscible/datasets"
	"immiscible/pipeline/runlog"
)

// The data commands read a data set as train does: the flags are the [data]
// table's keys.

func dataOrder() Command {
	var o datasets.Options
	var epoch, from int64
	var n int
	var asJSON bool
	return Command{
		Name:  "data order",
		Usage: "SRC… [-epoch E] [-seed S] [-window W] [-from K] [-n N] [-json]\n  [-image_key K] [-label_key K] [-cache_dir DIR]",
		Short: "which example stands at each position",
		Long: `Prints a line for each position K … K+N of epoch E, running on into the next epoch: position, epoch,
key, shard and label (-1: none). The order is a function of the seed, the epoch, the window and the
shards' base names alone, wherever they lie. With -json each line is {"position", "epoch", "key", "shard", "label"}.`,
		Flags: func(flags *flag.FlagSet) {
			flags.Uint64Var(&o.Seed, "seed", 0, "seed `S` of the run")
			flags.Int64Var(&epoch, "epoch", 0, "epoch `E`, from 0")
			flags.IntVar(&o.Window, "window", 0, "shuffle `W` records at a time, as data.window does; 0: the whole epoch")
			flags.Int64Var(&from, "from", 0, "first place `K` within the epoch")
			flags.IntVar(&n, "n", 10, "how many")
			columnFlags(flags, &o)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if epoch < 0 || from < 0 || n < 0 {
				return usagef("-epoch %d, -from %d, -n %d: want 0 or more", epoch, from, n)
			}
			d, err := openData(ctx, o, args, stderr)
			if err != nil {
				return err
			}
			defer d.Close()
			first := epoch*int64(d.Len()) + from
			for position := first; position < first+int64(n); position++ {
				row, err := d.Order(position)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(stdout, row)
				} else {
					_, err = fmt.Fprintf(stdout, "%d\t%d\t%s\t%s\t%d\n", row.Position, row.Epoch, row.Key, row.Shard, row.Label)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func dataIndex() Command {
	var o datasets.Options
	var asJSON, write bool
	return Command{
		Name:  "data index",
		Usage: "SRC… [-write] [-json] [-image_key K] [-label_key K] [-cache_dir DIR]",
		Short: "the shards of a data set and their records",
		Long: `Reads the headers of every shard and prints a line each, in the order of their base names: shard,
records, path. With -json each line is {"shard", "path", "records"}.

-write keeps what was read: the index of NAME.tar goes beside it, into NAME.tar.index, so that no later
start reads the headers again. Served beside the shard, it spares as many requests as there are members.
An index that is not that of its shard is not used, and data verify reports it.`,
		Flags: func(flags *flag.FlagSet) {
			flags.BoolVar(&write, "write", false, "write the index of each tar beside it")
			columnFlags(flags, &o)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			d, err := openData(ctx, o, args, stderr)
			if err != nil {
				return err
			}
			defer d.Close()
			if write {
				paths, err := d.WriteIndexes(ctx)
				if err != nil {
					return err
				}
				if len(paths) == 0 {
					return errors.New("no index was written: none of the sources is a tar on a disk; other formats hold their own, and remote ones are kept in the cache")
				}
			}
			for _, row := range d.Shards() {
				if asJSON {
					err = printJSON(stdout, row)
				} else {
					_, err = fmt.Fprintf(stdout, "%s\t%d\t%s\n", row.Shard, row.Records, row.Path)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func dataVerify() Command {
	var o datasets.Options
	var asJSON bool
	return Command{
		Name:  "data verify",
		Usage: "SRC… [-num_classes N] [-threads N] [-json] [-image_key K] [-label_key K] [-cache_dir DIR]\n  [-captions none|stored|class] [-caption_key K] [-caption_template T] [-class_names F]",
		Short: "read and decode every record",
		Long: `Prints a line for each bad record (shard, key, offset, error), then how many records there are and
how many are bad. Exit status 1 if any is. With -json: {"shard", "key", "offset", "error"} for each,
then {"records", "bad"}.`,
		Flags: func(flags *flag.FlagSet) {
			flags.IntVar(&o.NumClasses, "num_classes", 0, "labels must be there and below `N`; 0: any, or none")
			columnFlags(flags, &o)
			captionFlags(flags, &o)
			threadsFlag(flags, &o.Workers)
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if len(args) == 0 {
				return usagef("no source, want tar files, folders, URLs or fashion-mnist")
			}
			if err := useThreads(o.Workers); err != nil {
				return err
			}
			o.Sources = args
			var bar *runlog.Bar
			total, err := datasets.Verify(ctx, o, func(row datasets.VerifyRow) error {
				if asJSON {
					return printJSON(stdout, row)
				}
				_, err := fmt.Fprintf(stdout, "%s\t%s\t%d\t%s\n", row.Shard, row.Key, row.Offset, row.Error)
				return err
			}, func(done, all int64) {
				if bar == nil {
					bar = runlog.NewBar(stderr, "record", int(all))
				}
				bar.Set(int(done), "")
			})
			if bar != nil {
				bar.Close()
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(stdout, total)
			} else {
				_, err = fmt.Fprintf(stdout, "%d records, %d bad\n", total.Records, total.Bad)
			}
			if err == nil && total.Bad > 0 {
				err = fmt.Errorf("%d of %d records are bad: [data] bad_records = \"skip\" trains without them", total.Bad, total.Records)
			}
			return err
		},
	}
}

func dataDump() Command {
	var o datasets.Options
	var from int64
	var n int
	var out string
	return Command{
		Name:  "data dump",
		Usage: "SRC… -out DIR [-from K] [-n N] [-seed S] [-window W] [-resolution R] [-channels C] [-pad P]\n  [-crop C] [-crop_size P] [-filter F] [-exif_transpose] [-image_key K] [-label_key K] [-cache_dir DIR]\n  [-captions none|stored|class] [-caption_key K] [-caption_template T] [-class_names F]",
		Short: "the examples of some positions as PNG files",
		Long: `Writes the examples at positions K … K+N as the model sees them, before flip and normalisation, and
prints {"position", "key", "file"} for each, and "text" where it has a caption.`,
		Flags: func(flags *flag.FlagSet) {
			flags.Uint64Var(&o.Seed, "seed", 0, "seed `S` of the run")
			flags.IntVar(&o.Window, "window", 0, "shuffle `W` records at a time, as data.window does; 0: the whole epoch")
			flags.Int64Var(&from, "from", 0, "first position `K`")
			flags.IntVar(&n, "n", 10, "how many")
			flags.StringVar(&out, "out", "", "folder `DIR` for the files")
			flags.IntVar(&o.Resolution, "resolution", 0, "height and width, pad included; 0: the first record's")
			flags.IntVar(&o.Channels, "channels", 0, "1 grey, 3 RGB; 0: as the first record")
			flags.IntVar(&o.Pad, "pad", 0, "pixels of black on each side")
			flags.StringVar(&o.Crop, "crop", "", "center or random")
			flags.IntVar(&o.CropSize, "crop_size", 0, "cut `P`×P of the image's own pixels, then resize; 0: the short side")
			flags.StringVar(&o.Filter, "filter", "", "bilinear, bicubic or lanczos")
			flags.BoolVar(&o.ExifTranspose, "exif_transpose", false, "turn images upright by their EXIF orientation")
			columnFlags(flags, &o)
			captionFlags(flags, &o)
		},
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if out == "" {
				return usagef("no -out, want a folder for the files")
			}
			if from < 0 || n < 0 {
				return usagef("-from %d, -n %d: want 0 or more", from, n)
			}
			d, err := openData(ctx, o, args, stderr)
			if err != nil {
				return err
			}
			defer d.Close()
			return d.Dump(ctx, from, n, out, func(row datasets.DumpRow) error { return printJSON(stdout, row) })
		},
	}
}

func dataFetch() Command {
	var out string
	return Command{
		Name:  "data fetch",
		Usage: "fashion-mnist|cifar10|cifar100 -out DIR",
		Short: "get a public data set as shards",
		Long: `Downloads a public data set, checks every file against its SHA-256, and writes it as shards into DIR,
which is then a source. It goes on where it was cut off. Prints the shards' paths.

fashion-mnist: all 70,000 images, six WebDataset shards of training images and one of test images.
cifar10, cifar100: the binary versions. The folder stands for the training images; the test images are
named by their file, test_batch.bin or test.bin. With -out cifar10, -preset cifar10-ddim finds them.
celeba, imagenet: not to be had by a program; the error says where they are, and what to do with them.`,
		Flags: func(flags *flag.FlagSet) { flags.StringVar(&out, "out", "", "folder `DIR` for the shards") },
		Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
			if len(args) != 1 || out == "" {
				return usagef("want a data set's name and -out DIR")
			}
			var bar *runlog.Bar
			var current string
			paths, err := datasets.Fetch(ctx, args[0], out, func(file string, done, all int64) {
				if file != current {
					if bar != nil {
						bar.Close()
					}
					bar, current = runlog.NewBar(stderr, "byte", int(all)), file
				}
				bar.Set(int(done), file)
			})
			if bar != nil {
				bar.Close()
			}
			if err != nil {
				return err
			}
			for _, path := range paths {
				if _, err := fmt.Fprintln(stdout, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// columnFlags are the keys of [data] that say where images and labels are, and where
// what came from a server is kept.
func columnFlags(flags *flag.FlagSet, o *datasets.Options) {
	flags.StringVar(&o.ImageKey, "image_key", "", "column `K` of the image or its file's name; empty: the usual ones")
	flags.StringVar(&o.LabelKey, "label_key", "", "column, JSON field or attribute `K` of the label; empty: the usual ones")
	flags.StringVar(&o.CacheDir, "cache_dir", "", "folder `DIR` for remote shards and indices, or none; empty: in the user's cache folder")
}

// captionFlags are the keys of [data] that make captions.
func captionFlags(flags *flag.FlagSet, o *datasets.Options) {
	flags.StringVar(&o.Captions, "captions", "", "none, stored or class: where captions come from")
	flags.StringVar(&o.CaptionKey, "caption_key", "", "column or JSON field `K` of the caption; empty: the usual ones")
	flags.StringVar(&o.CaptionTemplate, "caption_template", "", "text `T` around {class}, {first} or {synonym}; empty: {class}")
	flags.StringVar(&o.ClassNames, "class_names", "", "file `F` of class names, a class a line")
}

// openData opens the sources, and says on stderr what is odd about them.
func openData(ctx context.Context, o datasets.Options, sources []string, stderr io.Writer) (*datasets.Dataset, error) {
	if len(sources) == 0 {
		return nil, usagef("no source, want tar files, folders, URLs or fashion-mnist")
	}
	o.Sources = sources
	d, err := datasets.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, line := range d.Warnings() {
		fmt.Fprintln(stderr, line)
	}
	return d, nil
}
