package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
)

// OrderRow says which record stands at a position.
type OrderRow struct {
	Position int64  `json:"position"`
	Epoch    int    `json:"epoch"`
	Key      string `json:"key"`
	Shard    string `json:"shard"`
	Label    int64  `json:"label"` // −1: none, or none that can be read
}

// Order returns the lawful record of a position, whether or not it is a good
// one. No image is read.
func (d *Dataset) Order(position int64) (OrderRow, error) {
	epoch, s, i, err := d.locate(position)
	if err != nil {
		return OrderRow{}, err
	}
	label, err := s.label(i)
	var fault *Fault
	if errors.As(err, &fault) {
		label, err = -1, nil
	}
	return OrderRow{position, int(epoch), s.key(i), s.name, label}, err
}

// ShardRow describes an indexed shard.
type ShardRow struct {
	Shard   string `json:"shard"` // base name
	Path    string `json:"path"`
	Records int    `json:"records"`
}

// Shards returns the shards in the order of their base names.
func (d *Dataset) Shards() []ShardRow {
	rows := make([]ShardRow, len(d.shards))
	for i, s := range d.shards {
		rows[i] = ShardRow{s.name, s.path, s.len()}
	}
	return rows
}

// VerifyRow is one bad record.
type VerifyRow struct {
	Shard  string `json:"shard"`
	Key    string `json:"key"`
	Offset int64  `json:"offset"` // of its image, or of the broken header, in the shard
	Error  string `json:"error"`
}

// VerifyTotal counts what Verify read.
type VerifyTotal struct {
	Records int64 `json:"records"` // bad ones included
	Bad     int64 `json:"bad"`
}

// Verify reads and decodes every record of the sources, in the order of shards
// and records, and reports each bad one: an image that cannot be made into an
// example, a label that is missing or out of range where NumClasses asks for one, a
// shard that breaks off. progress, if given, gets the records read so far and in
// all. An error of report ends it.
func Verify(ctx context.Context, options Options, report func(VerifyRow) error, progress func(done, all int64)) (VerifyTotal, error) {
	var total VerifyTotal
	var broken []*Fault
	// The first record may be bad: one resolution is as good as another here.
	if options.Resolution == 0 {
		options.Resolution = 1 + 2*options.Pad
	}
	if options.Channels == 0 {
		options.Channels = 3
	}
	d, err := open(ctx, options, func(f *Fault) { broken = append(broken, f) })
	if err != nil {
		return total, err
	}
	defer d.Close()
	all := d.records + int64(len(broken))
	bad := func(f *Fault) error {
		total.Bad++
		return report(VerifyRow{f.Shard, f.Key, f.Offset, f.Err.Error()})
	}
	for _, f := range broken {
		total.Records++
		if err := bad(f); err != nil {
			return total, err
		}
	}
	for _, s := range d.shards {
		const window = 64 // records checked between two reports
		for from := 0; from < s.len(); from += window {
			faults := make([]*Fault, min(window, s.len()-from))
			inParallel(d.options.Workers, len(faults), func(i int) { faults[i] = d.check(ctx, s, from+i) })
			if err := ctx.Err(); err != nil {
				return total, err
			}
			for _, f := range faults {
				total.Records++
				if f == nil {
					continue
				}
				if err := bad(f); err != nil {
					return total, err
				}
			}
			if progress != nil {
				progress(total.Records, all)
			}
		}
	}
	return total, nil
}

// check reads one record as training would and returns what is wrong with it.
func (d *Dataset) check(ctx context.Context, s *shard, i int) *Fault {
	if ctx.Err() != nil {
		return nil
	}
	record, err := d.record(s, i)
	if l, ok := s.reader.(*latentShard); err == nil && ok {
		err = l.check(i)
	} else if err == nil {
		_, err = d.canvas(record, 0)
	}
	if err == nil {
		_, err = d.caption(record, 0)
	}
	if err == nil {
		return nil
	}
	var fault *Fault
	if errors.As(err, &fault) {
		return fault
	}
	return &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: err}
}

// DumpRow names the file of one dumped example.
type DumpRow struct {
	Position int64  `json:"position"`
	Key      string `json:"key"`
	File     string `json:"file"`
	Text     string `json:"text,omitempty"` // caption
}

// Dump writes the n examples from position from on into dir as PNG files: as the
// model sees them, but before flip and normalisation. A row a file goes to report.
func (d *Dataset) Dump(ctx context.Context, from int64, n int, dir string, report func(DumpRow) error) error {
	if d.latents != nil {
		return fmt.Errorf("%s: a latent cache holds no images", d.shards[0].path)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for position := from; position < from+int64(n); position++ {
		var e Example
		p, err := d.render(ctx, position, &e, nil)
		if err != nil {
			return fmt.Errorf("position %d: %w", position, err)
		}
		var buf bytes.Buffer
		if err := png.Encode(&buf, p.image()); err != nil {
			return err
		}
		file := filepath.Join(dir, fmt.Sprintf("%08d.png", position))
		if err := os.WriteFile(file, buf.Bytes(), 0o666); err != nil {
			return err
		}
		if err := report(DumpRow{position, e.Key, file, e.Text}); err != nil {
			return err
		}
	}
	return nil
}

// image returns the picture as the standard library has it.
func (p *picture) image() image.Image {
	if p.c == 1 {
		return &image.Gray{Pix: p.pix, Stride: p.w, Rect: image.Rect(0, 0, p.w, p.h)}
	}
	out := image.NewNRGBA(image.Rect(0, 0, p.w, p.h))
	for i := range p.w * p.h {
		copy(out.Pix[4*i:], p.pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}
