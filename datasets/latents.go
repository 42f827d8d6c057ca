package datasets

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"unsafe"

	"immiscible/datasets/half"
)

// A latent cache is a folder with what a VAE's encoder makes of a data set, so that
// training need not: latents.json says what of what, and each shard NAME of the data
// set has NAME.latents, its records' moments one behind the other, and NAME.records, a
// JSON line a record. Shards, their names, records and bad records are those of the
// data set, hence the order is, too: a cache is only another way to the same examples.
const (
	latentManifest = "latents.json"
	latentSuffix   = ".latents"
	recordSuffix   = ".records"
	latentFormat   = 1
)

// LatentInfo says what a latent cache holds. Two caches of one data set with the same
// LatentInfo hold the same numbers.
type LatentInfo struct {
	Format   int    `json:"format"`
	VAE      string `json:"vae"`      // digest of the encoder, as whoever encodes names it
	Channels int    `json:"channels"` // of the moments: means, then logarithms of variances
	Height   int    `json:"height"`   // of the latents
	Width    int    `json:"width"`
	DType    string `json:"dtype"` // DTypeFloat32 or DTypeFloat16, little-endian

	Resolution    int    `json:"resolution"` // from here on as in Options
	ImageChannels int    `json:"image_channels"`
	Pad           int    `json:"pad"`
	Crop          string `json:"crop"`
	CropSize      int    `json:"crop_size"`
	Filter        string `json:"filter"`
	ExifTranspose bool   `json:"exif_transpose"`
	Decoder       string `json:"jpeg_decoder"`
	Flip          bool   `json:"flip"` // each record has two moments: of the image, and of the mirrored one
	LabelKey      string `json:"label_key"`
	ImageKey      string `json:"image_key"`
	Captions      string `json:"captions"`
	CaptionKey    string `json:"caption_key"`

	ClassNames []string      `json:"class_names"`
	Shards     []LatentShard `json:"shards"`
}

// LatentShard is a shard of the data set that was encoded.
type LatentShard struct {
	Name    string `json:"name"`
	Records int    `json:"records"`
}

// Values of LatentInfo.DType.
const (
	DTypeFloat32 = "float32"
	DTypeFloat16 = "float16"
)

// values is the number of values of a moments tensor, [Channels, Height, Width].
func (l *LatentInfo) values() int { return l.Channels * l.Height * l.Width }

// variants is the number of moments of a record.
func (l *LatentInfo) variants() int {
	if l.Flip {
		return 2
	}
	return 1
}

// bytes is the size of one.
func (l *LatentInfo) bytes() int {
	if l.DType == DTypeFloat16 {
		return 2 * l.values()
	}
	return 4 * l.values()
}

// stride is that of a record's moments in its shard, in bytes.
func (l *LatentInfo) stride() int64 { return int64(l.variants()) * int64(l.bytes()) }

// Bytes is the size of all moments, as stored.
func (l *LatentInfo) Bytes() int64 {
	records := int64(0)
	for _, s := range l.Shards {
		records += int64(s.Records)
	}
	return records * l.stride()
}

// validate holds what a file says to reason.
func (l *LatentInfo) validate() error {
	const most = 1 << 16
	switch {
	case l.Format != latentFormat:
		return fmt.Errorf("format %d, want %d; make the cache anew with this version's `data cache`", l.Format, latentFormat)
	case l.DType != DTypeFloat32 && l.DType != DTypeFloat16:
		return fmt.Errorf("dtype %q, want %q or %q", l.DType, DTypeFloat32, DTypeFloat16)
	case min(l.Channels, l.Height, l.Width) < 1 || max(l.Channels, l.Height, l.Width) > most || l.Channels*l.Height > maxMember/4/l.Width:
		return fmt.Errorf("moments of %d×%d×%d, want at least one number and at most 256 MiB", l.Channels, l.Height, l.Width)
	case len(l.Shards) == 0:
		return errors.New("no shard in it")
	}
	for _, s := range l.Shards {
		if s.Records < 1 || filepath.Base(s.Name) != s.Name || s.Name == "." || s.Name == ".." {
			return fmt.Errorf("shard %q of %d records, want a base name and at least one record", s.Name, s.Records)
		}
	}
	return nil
}

// agrees holds the options of a run to the cache: what they make of an image must be
// what was encoded.
func (l *LatentInfo) agrees(dir string, o Options) error {
	differs := func(key string, holds, want any) error {
		return fmt.Errorf("%s: a latent cache with data.%s = %v, and it is %v now; set it to that, or make another cache with `data cache`", dir, key, holds, want)
	}
	switch {
	case o.Crop != l.Crop:
		return differs("crop", l.Crop, o.Crop)
	case o.Resolution != 0 && o.Resolution != l.Resolution:
		return differs("resolution", l.Resolution, o.Resolution)
	case o.Channels != 0 && o.Channels != l.ImageChannels:
		return differs("channels", l.ImageChannels, o.Channels)
	case o.Pad != l.Pad:
		return differs("pad", l.Pad, o.Pad)
	case o.CropSize != l.CropSize:
		return differs("crop_size", l.CropSize, o.CropSize)
	case o.Filter != l.Filter:
		return differs("filter", l.Filter, o.Filter)
	case o.ExifTranspose != l.ExifTranspose:
		return differs("exif_transpose", l.ExifTranspose, o.ExifTranspose)
	case o.Flip && !l.Flip:
		return differs("flip", l.Flip, o.Flip)
	case o.LabelKey != l.LabelKey:
		return differs("label_key", l.LabelKey, o.LabelKey)
	case o.Captions == CaptionsStored && l.Captions != CaptionsStored:
		return differs("captions", l.Captions, o.Captions)
	case o.Captions == CaptionsStored && o.CaptionKey != l.CaptionKey:
		return differs("caption_key", l.CaptionKey, o.CaptionKey)
	}
	return nil
}

// readLatentInfo reads a folder's latents.json; nil where it has none.
func readLatentInfo(dir string) (*LatentInfo, error) {
	path := filepath.Join(dir, latentManifest)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var l LatentInfo
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err == nil {
		err = l.validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &l, nil
}

// latentRecord is a line of NAME.records.
type latentRecord struct {
	Key    string   `json:"key"`
	Label  int64    `json:"label"`            // −1: none
	Offset int64    `json:"offset"`           // of the image in the shard that was encoded, bytes
	Texts  []string `json:"texts,omitempty"`  // captions
	Fault  string   `json:"fault,omitempty"`  // why the record cannot be used; its moments are zeros
	CRC    uint32   `json:"crc32c,omitempty"` // of its moments' bytes
}

// latentShard reads a shard of a latent cache.
type latentShard struct {
	info    *LatentInfo
	name    string // of the shard that was encoded
	path    string
	file    *os.File
	records []latentRecord
}

// openLatents opens shard n of a cache.
func openLatents(dir string, info *LatentInfo, n int) (*shard, error) {
	want := info.Shards[n]
	s := &latentShard{info: info, name: want.Name, path: filepath.Join(dir, want.Name+latentSuffix)}
	var err error
	if s.records, _, err = readLatentRecords(filepath.Join(dir, want.Name+recordSuffix)); err != nil {
		return nil, err
	}
	if s.file, err = os.Open(s.path); err != nil {
		return nil, err
	}
	size := int64(-1)
	if stat, err := s.file.Stat(); err == nil {
		size = stat.Size()
	}
	if len(s.records) != want.Records || size != int64(want.Records)*info.stride() {
		s.file.Close()
		return nil, fmt.Errorf("%s: %d records in %d bytes, want %d in %d; start `data cache` again, which goes on where it stopped",
			s.path, len(s.records), size, want.Records, int64(want.Records)*info.stride())
	}
	return &shard{reader: s, name: s.name, path: s.path, closer: s.file}, nil
}

// readLatentRecords reads the whole lines of a file of records and says how many bytes
// they have: a killed writer may leave half a line. No file is no lines.
func readLatentRecords(path string) (records []latentRecord, whole int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	lines := bufio.NewReader(bytes.NewReader(text))
	for {
		line, err := lines.ReadBytes('\n')
		var r latentRecord
		if err != nil || json.Unmarshal(line, &r) != nil {
			return records, whole, nil
		}
		records, whole = append(records, r), whole+int64(len(line))
	}
}

func (s *latentShard) len() int             { return len(s.records) }
func (s *latentShard) key(i int) string     { return s.records[i].Key }
func (s *latentShard) offset(i int) int64   { return s.records[i].Offset }
func (s *latentShard) classNames() []string { return s.info.ClassNames }

func (s *latentShard) fault(i int, err error) error {
	return &Fault{Shard: s.name, Key: s.key(i), Offset: s.offset(i), Err: err}
}

func (s *latentShard) label(i int) (int64, error) {
	if why := s.records[i].Fault; why != "" {
		return -1, s.fault(i, errors.New(why))
	}
	return s.records[i].Label, nil
}

// read returns all but the moments.
func (s *latentShard) read(i int) (raw, error) {
	label, err := s.label(i)
	return raw{label: label, texts: s.records[i].Texts}, err
}

// moments reads those of a record, of the mirrored image if flip.
func (s *latentShard) moments(i int, flip bool, dst []float32) error {
	at := int64(i) * s.info.stride()
	if flip {
		at += int64(s.info.bytes())
	}
	// What is stored in fewer bytes is read into the end of the memory, from where it
	// spreads: a buffer would be one more thing for the caches to hold.
	data := memory(dst)
	data = data[len(data)-s.info.bytes():]
	if _, err := s.file.ReadAt(data, at); err != nil {
		return fmt.Errorf("%s: record %q at byte %d: %w", s.path, s.key(i), at, err)
	}
	s.info.decode(data, dst)
	return nil
}

// littleEndian tells whether the processor keeps numbers as the files do.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// memory is that of some numbers, of which there is at least one.
func memory(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// check holds a record to its checksum.
func (s *latentShard) check(i int) error {
	data := make([]byte, s.info.stride())
	if _, err := s.file.ReadAt(data, int64(i)*s.info.stride()); err != nil {
		return fmt.Errorf("%s: record %q: %w", s.path, s.key(i), err)
	}
	if got := crc32.Checksum(data, castagnoli); got != s.records[i].CRC {
		return s.fault(i, fmt.Errorf("the moments have checksum %08x, want %08x; remove %s and start `data cache` again", got, s.records[i].CRC, s.path))
	}
	return nil
}

// decode turns stored bytes, which are the end of dst's memory, into numbers.
func (l *LatentInfo) decode(data []byte, dst []float32) {
	switch {
	case l.DType == DTypeFloat16:
		half.Floats(dst, data)
	case !littleEndian:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	}
}

// Latents says what the data set's examples are where its source is a latent cache:
// moments in place of pixels. nil: pixels.
func (d *Dataset) Latents() *LatentInfo { return d.latents }

// useLatents makes the data set that of a cache, if one of its sources is.
func (d *Dataset) useLatents(sources []source) error {
	for _, s := range sources {
		switch {
		case s.latents == nil && d.latents == nil:
			continue
		case s.latents == nil || s.path != sources[0].path:
			return fmt.Errorf("data source %s: a latent cache is the only source of a run", sources[0].path)
		}
		d.latents = s.latents
	}
	if d.latents == nil || !d.options.Latents {
		return nil
	}
	if err := d.latents.agrees(sources[0].path, d.options); err != nil {
		return err
	}
	d.options.Channels, d.options.Resolution = d.latents.ImageChannels, d.latents.Resolution
	return nil
}

// noLatents refuses what needs pixels, or a run that expects them.
func (d *Dataset) noLatents() error {
	if d.latents != nil && !d.options.Latents {
		return fmt.Errorf("%s: a latent cache holds no images; only train reads it", d.shards[0].path)
	}
	return nil
}

// latent fills an example with moments.
func (d *Dataset) latent(ctx context.Context, position int64, e *Example) error {
	return d.lookUp(ctx, position, e, func(s *shard, i int, _ raw) error {
		return s.reader.(*latentShard).moments(i, d.flipped(position), e.Pixels)
	})
}
