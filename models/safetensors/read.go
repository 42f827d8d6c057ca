package safetensors

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tensor says what a tensor is and where its bytes lie: Size bytes at Offset, from the start of the file at Path.
type Tensor struct {
	Name   string
	DType  string // as the format spells it: "F32", "F16", "BF16", "I64", …
	Shape  []int64
	Offset int64
	Size   int64
	Path   string // File.Path, or that of the shard
}

// File is an open safetensors file, or several behind an index. Its methods may be called from many goroutines.
type File struct {
	Path     string            // the file, or the index
	Metadata map[string]string // __metadata__, nil if absent; with several files, that of the first by name
	Tensors  []Tensor          // sorted by name

	files  map[string]*os.File // by path
	byName map[string]int      // index into Tensors
}

// Open opens one file and checks all of it but the tensors' values. The caller closes it.
func Open(path string) (*File, error) {
	f := &File{Path: path, files: map[string]*os.File{}}
	err := f.add(path)
	if err == nil {
		err = f.index()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenSharded opens dir/base.safetensors or, where that does not exist, the shards that
// dir/base.safetensors.index.json names.
func OpenSharded(dir, base string) (*File, error) {
	single := filepath.Join(dir, base+".safetensors")
	f, err := Open(single)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	index := single + ".index.json"
	if _, err := os.Stat(index); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: neither %s.safetensors nor %[2]s.safetensors.index.json is here; save the weights as safetensors", dir, base)
	}
	return OpenIndex(index)
}

// OpenIndex opens the shards that an index names, a JSON object whose weight_map maps tensor names to files beside it. All
// that the shards hold can be looked up; a name that the index lists and its shard lacks, or that two shards hold, is an
// error.
func OpenIndex(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	shardOf, err := weightMap(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &File{Path: path, files: map[string]*os.File{}}
	if err := f.addShards(shardOf); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// weightMap reads an index: tensor name → name of the file that holds it.
func weightMap(data []byte) (shardOf map[string]string, err error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	err = object(d, func(key string) (err error) {
		if key == "weight_map" {
			shardOf, err = stringMap(d)
			return err
		}
		var ignored json.RawMessage // "metadata" holds sums that nothing here needs
		return d.Decode(&ignored)
	})
	if err != nil {
		return nil, err
	}
	if len(shardOf) == 0 {
		return nil, errors.New("weight_map is missing or empty")
	}
	return shardOf, nil
}

// addShards opens the files of a weight map and holds them to it.
func (f *File) addShards(shardOf map[string]string) error {
	shards := map[string]bool{}
	for name, shard := range shardOf {
		if shard != filepath.Base(shard) || !filepath.IsLocal(shard) || strings.ContainsAny(shard, `/\`) {
			return fmt.Errorf("tensor %q: shard %q is not a plain file name", name, shard)
		}
		shards[shard] = true
	}
	sorted := make([]string, 0, len(shards))
	for shard := range shards {
		sorted = append(sorted, shard)
	}
	slices.Sort(sorted)
	dir := filepath.Dir(f.Path)
	for _, shard := range sorted {
		if err := f.add(filepath.Join(dir, shard)); err != nil {
			return err
		}
	}
	if err := f.index(); err != nil {
		return err
	}
	for name, shard := range shardOf {
		t, ok := f.Lookup(name)
		if !ok || t.Path != filepath.Join(dir, shard) {
			return fmt.Errorf("tensor %q is not in %s, where weight_map puts it", name, shard)
		}
	}
	return nil
}

// add opens one file, checks it and appends its tensors.
func (f *File) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file, want safetensors", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	f.files[path] = file
	tensors, metadata, err := read(file, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i := range tensors {
		tensors[i].Path = path
	}
	if len(f.files) == 1 {
		f.Metadata = metadata
	}
	f.Tensors = append(f.Tensors, tensors...)
	return nil
}

// read reads the header of a file of size bytes.
func read(r io.ReaderAt, size int64) ([]Tensor, map[string]string, error) {
	var length [8]byte
	if size < 8 {
		return nil, nil, fmt.Errorf("truncated: %d bytes, want at least 8 for the header's length", size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		return nil, nil, fmt.Errorf("header length is %d, want at most %d; is this a safetensors file, and not a git-lfs pointer?", n, maxHeader)
	}
	if size < 8+int64(n) {
		return nil, nil, fmt.Errorf("truncated: %d bytes, want at least %d (8 + header %d); fetch or copy it again", size, 8+n, n)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, 8, int64(n)), header); err != nil {
		return nil, nil, err
	}
	return parseHeader(header, size)
}

// index sorts the tensors and prepares Lookup; two of one name are an error.
func (f *File) index() error {
	slices.SortFunc(f.Tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	f.byName = make(map[string]int, len(f.Tensors))
	for i, t := range f.Tensors {
		if first, ok := f.byName[t.Name]; ok {
			return fmt.Errorf("tensor %q is in %s and in %s", t.Name, filepath.Base(f.Tensors[first].Path), filepath.Base(t.Path))
		}
		f.byName[t.Name] = i
	}
	return nil
}

// Lookup finds a tensor by its name.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Bytes reads a tensor of this file: t.Size bytes, row-major, little-endian.
func (f *File) Bytes(t Tensor) ([]byte, error) {
	data := make([]byte, t.Size)
	return data, f.readAt(t, data, 0)
}

// Float32 reads a tensor of this file into dst, which has one place for each element. F16 and BF16 are widened exactly,
// F64 is rounded to nearest; other types are refused.
func (f *File) Float32(t Tensor, dst []float32) error {
	switch t.DType {
	case "F32", "F16", "BF16", "F64":
	default:
		return fmt.Errorf("%s: tensor %q: dtype %s, want F32, F16, BF16 or F64", t.Path, t.Name, t.DType)
	}
	width := int64(dtypes[rank(t.DType)].bits / 8)
	if int64(len(dst)) != t.Size/width {
		return fmt.Errorf("%s: tensor %q: shape %v has %d elements, want %d", t.Path, t.Name, t.Shape, t.Size/width, len(dst))
	}
	const chunk = 1 << 18 // elements: the buffer stays small beside the weights, and in the cache
	buffer := make([]byte, min(int64(len(dst)), chunk)*width)
	for at := 0; at < len(dst); at += chunk {
		part := dst[at:min(at+chunk, len(dst))]
		src := buffer[:int64(len(part))*width]
		if err := f.readAt(t, src, int64(at)*width); err != nil {
			return err
		}
		toFloat32(part, t.DType, src)
	}
	return nil
}

// readAt fills data from the tensor's bytes, beginning at the byte from of it.
func (f *File) readAt(t Tensor, data []byte, from int64) error {
	file := f.files[t.Path]
	if file == nil {
		return fmt.Errorf("%s: tensor %q is of another file, or the file is closed", f.Path, t.Name)
	}
	if _, err := io.ReadFull(io.NewSectionReader(file, t.Offset+from, int64(len(data))), data); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", t.Path, t.Name, err)
	}
	return nil
}

// Close closes the file and its shards. A tensor that was read stays as it is.
func (f *File) Close() error {
	var err error
	for _, file := range f.files {
		err = cmp.Or(err, file.Close())
	}
	f.files = nil
	return err
}
