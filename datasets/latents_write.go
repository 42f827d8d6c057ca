package datasets

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"immiscible/datasets/half"
)

// Encoder makes moments [n, Channels, Height, Width] of n images' pixels [n, C, H, W].
type Encoder func(ctx context.Context, pixels []float32) (moments []float32, err error)

// WriteLatents encodes every record of the data set, batch images at a time, and
// writes a latent cache into dir, which Open then takes in the data set's place.
// about says what encode is: VAE, Channels, Height, Width, DType; the rest is filled in.
// With Options.Flip each image is encoded as it is and mirrored. A bad record ends it,
// or is noted in its place under BadRecordsSkip, up to BadLimit.
//
// What a killed call has written stays, and the next call with the same arguments goes
// on behind it; any other is refused. progress, if given, gets the records so far and
// in all.
func (d *Dataset) WriteLatents(ctx context.Context, dir string, about LatentInfo, batch int, encode Encoder, progress func(done, all int64)) error {
	info, err := d.describe(about)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := startLatents(dir, info); err != nil {
		return err
	}
	w := &latentWriter{d: d, info: info, batch: max(1, batch), encode: encode}
	for _, s := range d.shards {
		err := w.shard(ctx, filepath.Join(dir, s.name), s, func(done int) { progress(s.first+int64(done), d.records) })
		if err != nil {
			return err
		}
	}
	return nil
}

// describe fills in what the data set says of itself.
func (d *Dataset) describe(about LatentInfo) (*LatentInfo, error) {
	o := d.options
	switch {
	case d.latents != nil:
		return nil, fmt.Errorf("%s: it is a latent cache already", d.shards[0].path)
	case d.records == 0:
		return nil, errors.New("a latent cache of no records")
	case o.Crop != CropCenter:
		return nil, fmt.Errorf("data.crop = %q draws another crop each epoch, which no latent cache can hold; want %q", o.Crop, CropCenter)
	}
	info := about
	info.Format, info.Decoder, info.ClassNames = latentFormat, JPEGDecoder, d.names
	info.Resolution, info.ImageChannels, info.Pad, info.Crop, info.CropSize = o.Resolution, o.Channels, o.Pad, o.Crop, o.CropSize
	info.Filter, info.ExifTranspose, info.Flip = o.Filter, o.ExifTranspose, o.Flip
	info.LabelKey, info.ImageKey, info.Captions, info.CaptionKey = o.LabelKey, o.ImageKey, o.Captions, o.CaptionKey
	info.Shards = nil
	for _, s := range d.shards {
		info.Shards = append(info.Shards, LatentShard{s.name, s.len()})
	}
	return &info, info.validate()
}

// startLatents writes latents.json, or finds the one of a cache that is to go on.
func startLatents(dir string, info *LatentInfo) error {
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) // what a killed call may leave
	before, err := readLatentInfo(dir)
	switch {
	case err != nil:
		return err
	case before == nil && len(entries) > 0:
		return fmt.Errorf("%s is not empty and no latent cache; name another folder", dir)
	case before == nil:
		return writeFile(filepath.Join(dir, latentManifest), func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
	}
	a, b := reflect.ValueOf(*before), reflect.ValueOf(*info)
	for i := range a.NumField() {
		if was, is := fmt.Sprint(a.Field(i)), fmt.Sprint(b.Field(i)); was != is {
			return fmt.Errorf("%s holds a latent cache of another kind: %s was %.60s, and is %.60s now; name another folder, or remove it", dir, a.Type().Field(i).Tag.Get("json"), was, is)
		}
	}
	return nil
}

// latentWriter encodes shard after shard.
type latentWriter struct {
	d      *Dataset
	info   *LatentInfo
	batch  int
	encode Encoder
	bad    int
}

// chunk is some consecutive records on their way into a cache.
type chunk struct {
	records []latentRecord
	pixels  []float32 // [good records · variants, C, H, W]
	err     error
}

// flushBytes is how much is encoded between two writes that are sure to be on the disk.
const flushBytes = 8 << 20

// shard appends what is missing of a shard: moments first, then, when they are on the
// disk, the lines that say so.
func (w *latentWriter) shard(ctx context.Context, stem string, s *shard, progress func(done int)) (err error) {
	have, whole, err := readLatentRecords(stem + recordSuffix)
	if err != nil {
		return err
	}
	lines, err := openToAppend(stem+recordSuffix, whole)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.Close()) }()
	data, err := openToAppend(stem+latentSuffix, int64(len(have))*w.info.stride())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()

	// The next chunk is decoded while this one is encoded.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := make(chan *chunk, 1)
	go func() {
		defer close(chunks)
		for from := len(have); from < s.len() && ctx.Err() == nil; from += w.batch {
			select {
			case chunks <- w.decode(ctx, s, from, min(w.batch, s.len()-from)):
			case <-ctx.Done():
			}
		}
	}()
	defer func() {
		cancel()
		for range chunks { // until the decoder has stopped
		}
	}()
	done := len(have)
	progress(done)
	var pending []byte // lines whose moments are not yet sure
	var unsure int64
	flush := func() error {
		if err := data.Sync(); err != nil {
			return err
		}
		_, err := lines.Write(pending)
		pending, unsure = pending[:0], 0
		return err
	}
	for c := range chunks {
		moments, err := w.moments(ctx, s, done, c)
		if err == nil {
			_, err = data.Write(moments)
		}
		if err != nil {
			return errors.Join(err, flush())
		}
		for i := range c.records {
			line, err := json.Marshal(c.records[i])
			if err != nil {
				return err
			}
			pending = append(append(pending, line...), '\n')
		}
		done, unsure = done+len(c.records), unsure+int64(len(moments))
		if unsure >= flushBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		progress(done)
	}
	return errors.Join(flush(), ctx.Err(), lines.Sync())
}

// openToAppend opens a file at size, beyond which it is cut off.
func openToAppend(path string, size int64) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	stat, err := file.Stat()
	if err == nil && stat.Size() < size {
		err = fmt.Errorf("%s has %d bytes, want at least %d; remove it and what has its name, and start again", path, stat.Size(), size)
	}
	if err == nil {
		err = file.Truncate(size)
	}
	if err == nil {
		_, err = file.Seek(size, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// decode reads n records from one on and makes their pixels.
func (w *latentWriter) decode(ctx context.Context, s *shard, from, n int) *chunk {
	d, size := w.d, w.d.pixels()*w.info.variants()
	c := &chunk{records: make([]latentRecord, n)}
	pixels, errs := make([]float32, n*size), make([]error, n)
	inParallel(d.options.Workers, n, func(i int) {
		if errs[i] = ctx.Err(); errs[i] != nil {
			return
		}
		r := &c.records[i]
		r.Key, r.Offset, r.Label = s.key(from+i), s.offset(from+i), -1
		record, err := d.record(s, from+i)
		var p *picture
		if err == nil {
			r.Label, r.Texts = record.label, record.texts
			if p, err = d.canvas(record, 0); err != nil {
				err = &Fault{Shard: s.name, Key: r.Key, Offset: r.Offset, Err: err}
			}
		}
		if err != nil {
			errs[i] = err
			return
		}
		for v := range w.info.variants() {
			p.write(pixels[i*size+v*d.pixels():][:d.pixels()], v == 1)
		}
	})
	for i, err := range errs {
		var fault *Fault
		switch {
		case err == nil:
			c.pixels = append(c.pixels, pixels[i*size:(i+1)*size]...)
		case errors.As(err, &fault) && d.options.BadRecords == BadRecordsSkip:
			c.records[i].Fault = fault.Err.Error()
		default:
			c.err = err
			return c
		}
	}
	return c
}

// moments encodes a chunk and returns its bytes; a bad record's are zeros.
func (w *latentWriter) moments(ctx context.Context, s *shard, from int, c *chunk) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	each, values := w.d.pixels(), w.info.values()
	var moments []float32
	for at := 0; at < len(c.pixels); at += w.batch * each { // twice with Flip
		part, err := w.encode(ctx, c.pixels[at:min(at+w.batch*each, len(c.pixels))])
		if err != nil {
			return nil, fmt.Errorf("%s: encoding records %d…%d: %w", s.path, from, from+len(c.records)-1, err)
		}
		moments = append(moments, part...)
	}
	if len(moments) != len(c.pixels)/each*values {
		return nil, fmt.Errorf("%d images became %d values, want %d each", len(c.pixels)/each, len(moments), values)
	}
	out := make([]byte, 0, len(c.records)*int(w.info.stride()))
	for i := range c.records {
		start, r := len(out), &c.records[i]
		if r.Fault != "" {
			if w.bad++; w.d.options.BadLimit > 0 && w.bad > w.d.options.BadLimit {
				return nil, fmt.Errorf("%d bad records, more than bad_limit %d allows; the last one: %s: record %q at byte %d: %s", w.bad, w.d.options.BadLimit, s.name, r.Key, r.Offset, r.Fault)
			}
			out = append(out, make([]byte, w.info.stride())...)
		} else {
			n := w.info.variants() * values
			var err error
			if out, err = w.info.encode(out, moments[:n]); err != nil {
				return nil, fmt.Errorf("%s: record %q: %w", s.path, r.Key, err)
			}
			moments = moments[n:]
		}
		r.CRC = crc32.Checksum(out[start:], castagnoli)
	}
	return out, nil
}

// encode appends numbers as they are stored.
func (l *LatentInfo) encode(out []byte, values []float32) ([]byte, error) {
	for _, x := range values {
		if x-x != 0 {
			return nil, fmt.Errorf("a moment is %v; the VAE has overflowed", x)
		}
		if l.DType == DTypeFloat32 {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
			continue
		}
		h := half.From(x)
		if h&0x7fff == 0x7c00 {
			return nil, fmt.Errorf("a moment is %v, beyond float16; want dtype float32", x)
		}
		out = binary.LittleEndian.AppendUint16(out, h)
	}
	return out, nil
}
