package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHeader is the largest header that the reference implementation reads or writes.
const maxHeader = 100_000_000

// metadataKey is the one key of the header that names no tensor.
const metadataKey = "__metadata__"

// parseHeader reads and checks a header of a file of size bytes in all. The tensors come sorted by name, with Offset
// counted from the start of the file.
func parseHeader(header []byte, size int64) (tensors []Tensor, metadata map[string]string, err error) {
	if !utf8.Valid(header) {
		return nil, nil, errors.New("header is not valid UTF-8")
	}
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, fmt.Errorf("header starts with %.1q, want \"{\"", header)
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	start := 8 + int64(len(header))
	err = object(d, func(key string) error {
		if key == metadataKey {
			m, err := stringMap(d)
			metadata = m
			return err
		}
		t, err := tensorInfo(d, start)
		t.Name = key
		tensors = append(tensors, t)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, errors.New("header: more than one JSON value")
	}
	if err := checkLayout(tensors, start, size); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	return tensors, metadata, nil
}

// checkLayout holds the tensors to the format's promise: their bytes follow one another from start to the end of the
// file, size bytes away from its beginning. It sorts them by place.
func checkLayout(tensors []Tensor, start, size int64) error {
	slices.SortFunc(tensors, func(a, b Tensor) int {
		// An empty tensor goes before the one that starts at its place.
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	end := start
	for _, t := range tensors {
		if t.Offset != end {
			kind := "overlaps the tensor before it"
			if t.Offset > end {
				kind = "leaves a hole before it"
			}
			return fmt.Errorf("tensor %q: data_offsets start at %d, want %d: it %s", t.Name, t.Offset-start, end-start, kind)
		}
		end += t.Size
	}
	switch {
	case size < end:
		return fmt.Errorf("truncated: %d bytes, want %d (8 + header %d + data %d); fetch or copy it again", size, end, start-8, end-start)
	case size > end:
		return fmt.Errorf("%d bytes, want %d (8 + header %d + data %d): bytes after the last tensor belong to none", size, end, start-8, end-start)
	}
	return nil
}

// tensorInfo reads one tensor's entry. Fields that the format does not name are passed over, as the reference does.
func tensorInfo(d *json.Decoder, start int64) (t Tensor, err error) {
	var offsets []int64
	hasShape := false
	err = object(d, func(key string) (err error) {
		switch key {
		case "dtype":
			t.DType, err = text(d)
		case "shape":
			t.Shape, err = integers(d)
			hasShape = true
		case "data_offsets":
			offsets, err = integers(d)
		default:
			var ignored json.RawMessage
			err = d.Decode(&ignored)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	if t.DType == "" || !hasShape || len(offsets) != 2 {
		return t, fmt.Errorf("has dtype %q, shape %v, data_offsets %v; want all three, with two offsets", t.DType, t.Shape, offsets)
	}
	size, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return t, err
	}
	if offsets[1] < offsets[0] || offsets[1]-offsets[0] != size {
		return t, fmt.Errorf("data_offsets %v hold %d bytes, want %d for shape %v of %s", offsets, offsets[1]-offsets[0], size, t.Shape, t.DType)
	}
	if offsets[1] > math.MaxInt64-start {
		return t, fmt.Errorf("data_offsets %v overflow 64 bits", offsets)
	}
	t.Offset, t.Size = start+offsets[0], size
	return t, nil
}

// object reads a JSON object, calling value after each key to read what belongs to it. A key that comes twice is refused:
// encoding/json would keep the last, other parsers the first.
func object(d *json.Decoder, value func(key string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := text(d)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q stands twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return delim(d, '}')
}

// stringMap reads a JSON object of strings.
func stringMap(d *json.Decoder) (map[string]string, error) {
	m := map[string]string{}
	err := object(d, func(key string) (err error) {
		m[key], err = text(d)
		return err
	})
	return m, err
}

// integers reads a JSON array of whole numbers from 0 to 2⁶³ − 1, written as digits alone.
func integers(d *json.Decoder) ([]int64, error) {
	if err := delim(d, '['); err != nil {
		return nil, err
	}
	values := []int64{}
	for d.More() {
		token, err := next(d)
		if err != nil {
			return nil, err
		}
		number, _ := token.(json.Number)
		v, err := strconv.ParseUint(number.String(), 10, 63)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%v overflows 64 bits", token)
		}
		if err != nil {
			return nil, fmt.Errorf("got %v, want a whole number, 0 or more", token)
		}
		values = append(values, int64(v))
	}
	return values, delim(d, ']')
}

// text reads a JSON string.
func text(d *json.Decoder) (string, error) {
	token, err := next(d)
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("got %v, want a string", token)
	}
	return s, nil
}

// delim reads one bracket.
func delim(d *json.Decoder, want json.Delim) error {
	token, err := next(d)
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("got %v, want %v", token, want)
	}
	return nil
}

// next reads one token, naming the place where the JSON is broken or ends.
func next(d *json.Decoder) (json.Token, error) {
	token, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("invalid JSON at byte %d: %w", d.InputOffset(), err)
	}
	return token, nil
}
