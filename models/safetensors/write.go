package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Entry is a tensor to write. Write is called once, and puts exactly the bytes that Shape and DType make: row-major,
// little-endian. It may read them from wherever they are, so that no file need fit in memory.
type Entry struct {
	Name  string
	DType string
	Shape []int64
	Write func(w io.Writer) error
}

// Float32Entry is an entry of dtype F32. The data are read while the file is written, not copied before.
func Float32Entry(name string, shape []int64, data []float32) Entry {
	return Entry{Name: name, DType: "F32", Shape: shape, Write: func(w io.Writer) error {
		const chunk = 1 << 16 // elements
		buffer := make([]byte, 0, 4*min(len(data), chunk))
		for part := range slices.Chunk(data, chunk) {
			buffer = buffer[:0]
			for _, v := range part {
				buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
			}
			if _, err := w.Write(buffer); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Write writes entries, in any order, to path, by way of path + ".tmp", which is synced and then renamed. The same
// content gives the same bytes, those of the reference implementation: tensors by descending alignment of their dtype,
// then by name, so that each is aligned to its element size; the header padded with spaces to a multiple of 8. Metadata
// keys, which the reference leaves in random order, are sorted. Nil metadata writes none.
func Write(path string, metadata map[string]string, entries []Entry) error {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(rank(b.DType), rank(a.DType)), cmp.Compare(a.Name, b.Name))
	})
	header, sizes, err := makeHeader(metadata, sorted)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	temporary := path + ".tmp"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	err = cmp.Or(writeAll(f, header, sorted, sizes), f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeAll writes the header and the entries' bytes, and syncs the file.
func writeAll(f *os.File, header []byte, entries []Entry, sizes []int64) error {
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(header); err != nil {
		return err
	}
	for i, e := range entries {
		limited := &exactWriter{w: w, left: sizes[i]}
		if err := e.Write(limited); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if limited.left != 0 {
			return fmt.Errorf("tensor %q: %d bytes written, want %d for shape %v of %s", e.Name, sizes[i]-limited.left, sizes[i], e.Shape, e.DType)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// exactWriter refuses to pass on more bytes than it was made for.
type exactWriter struct {
	w    io.Writer
	left int64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than its shape and dtype make", int64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// makeHeader is the length, the JSON and the padding, for entries in the order of their bytes; sizes are theirs.
func makeHeader(metadata map[string]string, entries []Entry) (header []byte, sizes []int64, err error) {
	b := bytes.NewBuffer(make([]byte, 8))
	b.WriteByte('{')
	comma := ""
	if metadata != nil {
		for key, value := range metadata {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, nil, fmt.Errorf("metadata %q: not valid UTF-8", key)
			}
		}
		b.WriteString(quote(metadataKey) + ":" + quote(metadata))
		comma = ","
	}
	seen := map[string]bool{metadataKey: true}
	offset := int64(0)
	for _, e := range entries {
		if seen[e.Name] {
			return nil, nil, fmt.Errorf("tensor name %q is used twice or reserved", e.Name)
		}
		seen[e.Name] = true
		if !utf8.ValidString(e.Name) {
			return nil, nil, fmt.Errorf("tensor name %q is not valid UTF-8", e.Name)
		}
		size, err := byteSize(e.DType, e.Shape)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if size > math.MaxInt64-maxHeader-8-offset {
			return nil, nil, fmt.Errorf("tensor %q: the file's size overflows 64 bits", e.Name)
		}
		shape := ""
		for i, d := range e.Shape {
			if i > 0 {
				shape += ","
			}
			shape += strconv.FormatInt(d, 10)
		}
		fmt.Fprintf(b, `%s%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`, comma, quote(e.Name), e.DType, shape, offset, offset+size)
		comma = ","
		offset += size
		sizes = append(sizes, size)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	header = b.Bytes()
	if len(header)-8 > maxHeader {
		return nil, nil, fmt.Errorf("header is %d bytes, want at most %d; use fewer tensors or less metadata", len(header)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, sizes, nil
}

// quote is the JSON of a string or of a map of strings, with sorted keys, and with <, > and & as they are, as the
// reference writes them.
func quote(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(v) // neither strings nor a buffer can fail
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
