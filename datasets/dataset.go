package datasets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Options says which examples to make. The zero value of a field is the default
// its comment gives.
type Options struct {
	Sources []string // files, folders, globs, {000..009}, "fashion-mnist" (see doc.go); default: "fashion-mnist"
	Seed    uint64   // of order, crop and flip

	Channels   int    // 1 or 3; default: as the first record
	Resolution int    // side of an example in pixels, padding included; default: the first record's short side + 2·Pad
	Pad        int    // black (−1) pixels on each side
	Crop       string // CropCenter (default) or CropRandom: which square of the image
	CropSize   int    // side of that square in the image's own pixels; 0: the short side
	Flip       bool   // mirror half of the examples, drawn by position
	Filter     string // FilterBilinear (default), FilterBicubic, FilterLanczos

	NumClasses int    // labels must be 0 … NumClasses−1 and present; 0: any label, or none
	LabelKey   string // column, attribute or JSON field of the label; default: .cls, the folder, "label"
	ImageKey   string // column of a table that holds the image or its file's name; default: the usual names

	Captions        string // CaptionsNone (default), CaptionsStored, CaptionsClass
	CaptionKey      string // with CaptionsStored: column or JSON field; default: .txt, "caption", "text"
	CaptionTemplate string // with CaptionsClass: text around {class}, {first} or {synonym}; default "{class}"
	ClassNames      string // file of class names, a line a class; default: those that the data stores

	Workers  int // goroutines that decode; default 2
	Prefetch int // batches made ahead of time; default 2
	Window   int // records that are shuffled together, shard after shard; 0: exact shuffle of the whole epoch

	BadRecords string // BadRecordsError (default) or BadRecordsSkip
	BadLimit   int    // with skip: distinct bad records that a loader accepts; 0: any number

	ExifTranspose bool // turn images upright by their EXIF orientation, as Hugging Face does and torchvision does not

	// CacheDir is the folder of what is read from servers, shared by processes, and of
	// the indices of tars. Default: immiscible/shards in the user's cache folder for
	// remote shards, no index of local ones. NoCache: blocks of remote shards are kept in
	// memory, and indices nowhere.
	CacheDir   string
	CacheBytes int64 // bound on what is kept of remote shards; default 16 GiB

	// Latents lets the source be a latent cache, whose transform must be that of the
	// options; Pixels are then moments [2·L, H/f, W/f].
	Latents bool

	patience patience // with servers; default usualPatience
}

// Dataset is an index over shards. It is safe for concurrent use.
type Dataset struct {
	options Options // defaults filled in
	shards  []*shard
	records int64
	names   []string     // of the classes, by label; nil: none
	windows *windowLaw   // nil: the whole epoch is shuffled
	remote  bool         // a shard of it is on a server
	latents *LatentInfo  // nil: examples are images
	loaders atomic.Int32 // that are open
	spare   sync.Pool    // of *[]float32: pixels of batches that were given back
}

// Example is one training example.
type Example struct {
	Position int64
	Epoch    int
	Key      string    // of the record that was used
	Shard    string    // base name
	Label    int64     // −1: none
	Text     string    // caption, as Options.Captions says
	Pixels   []float32 // [C, H, W] in [−1, 1]
	Skipped  []Skip    // bad records whose slot this one fills
}

// Open finds the sources, indexes their shards by reading headers only, and
// fixes what the options leave open. It fails on a source that does not exist, a
// shard that is broken, two shards of one base name, and an impossible option.
func Open(ctx context.Context, options Options) (*Dataset, error) {
	return open(ctx, options, nil)
}

// open is Open; broken shards go to broken, if that is given, and are left out.
func open(ctx context.Context, options Options, broken func(*Fault)) (*Dataset, error) {
	options.Crop = cmp.Or(options.Crop, CropCenter)
	options.Filter = cmp.Or(options.Filter, FilterBilinear)
	options.BadRecords = cmp.Or(options.BadRecords, BadRecordsError)
	options.Captions = cmp.Or(options.Captions, CaptionsNone)
	options.CaptionTemplate = cmp.Or(options.CaptionTemplate, placeClass)
	options.Workers = cmp.Or(options.Workers, 2)
	options.Prefetch = cmp.Or(options.Prefetch, 2)
	options.CacheBytes = cmp.Or(options.CacheBytes, 16<<30)
	options.patience = cmp.Or(options.patience, usualPatience)
	if err := options.validate(); err != nil {
		return nil, err
	}
	storage := options.storage(broken != nil)
	sources, err := resolve(ctx, options.Sources, storage.net)
	if err != nil {
		return nil, err
	}
	want := fields{texts: options.Captions == CaptionsStored, image: options.ImageKey, caption: options.CaptionKey, label: options.LabelKey, pages: newPageCache(pageCacheBytes), storage: storage}
	shards, err := openShards(ctx, sources, want, options.Workers, broken)
	if err != nil {
		return nil, err
	}
	d := &Dataset{options: options, shards: shards}
	for _, s := range shards {
		d.records += int64(s.len())
		_, remote := s.closer.(*remoteFile)
		d.remote = d.remote || remote
	}
	if err := d.useLatents(sources); err != nil {
		d.Close()
		return nil, err
	}
	if options.Window > 0 {
		d.windows = &windowLaw{seed: options.Seed, size: int64(options.Window)}
		for _, s := range shards {
			d.windows.sizes = append(d.windows.sizes, int64(s.len()))
		}
	}
	if err := d.nameClasses(); err != nil {
		d.Close()
		return nil, err
	}
	if d.records > 0 && d.latents == nil && (options.Channels == 0 || options.Resolution == 0) {
		if err := d.probe(); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, nil
}

// validate refuses impossible values, naming the key of the [data] table.
func (o Options) validate() error {
	oneOf := func(key, value string, allowed ...string) error {
		for _, a := range allowed {
			if value == a {
				return nil
			}
		}
		return fmt.Errorf("data.%s = %q, want one of %s", key, value, strings.Join(allowed, ", "))
	}
	atLeast0 := func(key string, value int) error {
		if value < 0 {
			return fmt.Errorf("data.%s = %d, want 0 or more", key, value)
		}
		return nil
	}
	err := cmp.Or(
		oneOf("crop", o.Crop, CropCenter, CropRandom),
		oneOf("filter", o.Filter, FilterBilinear, FilterBicubic, FilterLanczos),
		oneOf("bad_records", o.BadRecords, BadRecordsError, BadRecordsSkip),
		oneOf("captions", o.Captions, CaptionsNone, CaptionsStored, CaptionsClass),
		checkTemplate(o.CaptionTemplate),
		atLeast0("resolution", o.Resolution), atLeast0("pad", o.Pad), atLeast0("crop_size", o.CropSize), atLeast0("workers", o.Workers),
		atLeast0("prefetch", o.Prefetch), atLeast0("bad_limit", o.BadLimit), atLeast0("window", o.Window), atLeast0("cache_gib", int(o.CacheBytes)),
	)
	switch {
	case err != nil:
		return err
	case o.Channels != 0 && o.Channels != 1 && o.Channels != 3:
		return fmt.Errorf("%d channels, want 1 or 3", o.Channels)
	case o.Resolution > 0 && o.Resolution <= 2*o.Pad:
		return fmt.Errorf("data.resolution = %d leaves no pixel between %d of padding on each side", o.Resolution, o.Pad)
	}
	return nil
}

// probe takes channels and resolution from the first record of the first shard.
func (d *Dataset) probe() error {
	record, err := d.shards[0].read(0)
	var p *picture
	if err == nil {
		p, err = record.picture()
	}
	if err != nil {
		return fmt.Errorf("%s: the first record cannot be read, so give resolution and channels: %w", d.shards[0].path, err)
	}
	d.options.Channels = cmp.Or(d.options.Channels, p.c)
	d.options.Resolution = cmp.Or(d.options.Resolution, min(p.w, p.h)+2*d.options.Pad)
	return nil
}

// Close closes the shards' files. Loaders must be closed first.
func (d *Dataset) Close() error {
	var errs []error
	for _, s := range d.shards {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// Len returns the number of records, which is the length of an epoch.
func (d *Dataset) Len() int { return int(d.records) }

// Channels returns the C of an example.
func (d *Dataset) Channels() int { return d.options.Channels }

// Resolution returns the H and W of an example.
func (d *Dataset) Resolution() int { return d.options.Resolution }

// ClassNames returns the names of the classes, by label: those of
// Options.ClassNames, else those that the format stores, where all shards agree;
// nil otherwise.
func (d *Dataset) ClassNames() []string { return d.names }

// locate returns the lawful record of a position.
func (d *Dataset) locate(position int64) (epoch int64, s *shard, i int, err error) {
	if position < 0 || d.records == 0 {
		return 0, nil, 0, fmt.Errorf("position %d of %d records", position, d.records)
	}
	epoch = position / d.records
	if d.windows != nil {
		shard, record := d.windows.at(epoch, position%d.records, d.records)
		return epoch, d.shards[shard], int(record), nil
	}
	at := int64(permute(d.options.Seed, epoch, uint64(d.records), uint64(position%d.records)))
	s = d.shards[sort.Search(len(d.shards), func(n int) bool { return d.shards[n].first > at })-1]
	return epoch, s, int(at - s.first), nil
}

// Example makes the example at a position. It depends on nothing else, whatever
// was asked before. A bad record gives an error that wraps a *Fault, or is
// skipped and listed, as Options.BadRecords says; BadLimit is the loader's.
func (d *Dataset) Example(ctx context.Context, position int64) (*Example, error) {
	e := &Example{Pixels: make([]float32, d.pixels())}
	if err := d.example(ctx, position, e, nil); err != nil {
		return nil, err
	}
	return e, nil
}

// pixels is the number of values of an example: C·H·W, or those of its moments.
func (d *Dataset) pixels() int {
	if d.latents != nil {
		return d.latents.values()
	}
	return d.options.Channels * d.options.Resolution * d.options.Resolution
}

// example fills e, whose Pixels are there already, with pictures in the room.
func (d *Dataset) example(ctx context.Context, position int64, e *Example, r *room) error {
	if err := d.noLatents(); err != nil {
		return err
	}
	if d.latents != nil {
		return d.latent(ctx, position, e)
	}
	if r != nil {
		defer r.clear()
	}
	p, err := d.render(ctx, position, e, r)
	if err != nil {
		return err
	}
	p.write(e.Pixels, d.flipped(position))
	return nil
}

// render fills all of e but its pixels and returns them before flip and
// normalisation; they lie in the room.
func (d *Dataset) render(ctx context.Context, position int64, e *Example, r *room) (p *picture, err error) {
	err = d.lookUp(ctx, position, e, func(s *shard, i int, record raw) (err error) {
		record.room = r
		if p, err = d.canvas(record, position); err != nil {
			err = &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: err}
		}
		return err
	})
	return p, err
}

// lookUp finds the record of a position, fills what e says of it, and hands it to use,
// whose Fault makes another record take its place.
func (d *Dataset) lookUp(ctx context.Context, position int64, e *Example, use func(s *shard, i int, record raw) error) error {
	epoch, s, i, err := d.locate(position)
	if err != nil {
		return err
	}
	e.Position, e.Epoch, e.Shard = position, int(epoch), s.name
	e.Skipped, err = d.fill(position, s, i, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, err := d.record(s, i)
		if err != nil {
			return err
		}
		e.Key, e.Label = s.key(i), record.label
		if e.Text, err = d.caption(record, position); err != nil {
			return &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: err}
		}
		return use(s, i, record)
	})
	return err
}

// record reads a record and holds its label to the number of classes. A missing
// label is a fault of the record; one out of range is an error whatever the policy,
// since skipping would silently drop a whole class.
func (d *Dataset) record(s *shard, i int) (raw, error) {
	record, err := s.read(i)
	n, who := int64(d.options.NumClasses), "the model's num_class_embeds"
	if n == 0 && d.options.Captions == CaptionsClass {
		n, who = int64(len(d.names)), "the number of class names"
	}
	switch {
	case err != nil || n == 0:
		return record, err
	case record.label < 0:
		return record, &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: errors.New("no label: want a .cls member with a class number, a class folder or a label column")}
	case record.label >= n:
		return record, fmt.Errorf("%s: record %q at byte %d: label %d, want 0 to %d (%s is %d)",
			s.path, s.key(i), s.offset(i), record.label, n-1, who, n)
	}
	return record, nil
}
