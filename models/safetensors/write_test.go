package safetensors

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bytesEntry is an entry of ready bytes.
func bytesEntry(name, dtype string, shape []int64, data []byte) Entry {
	return Entry{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

// TestGolden reads a file of the reference implementation (tools/golden/safetensors_golden.py) and writes it again, byte
// by byte, whatever the order of the entries.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors) != 22 || len(f.Metadata) != 1 || !strings.HasPrefix(f.Metadata["made_by"], "safetensors ") {
		t.Errorf("%d tensors, metadata %v", len(f.Tensors), f.Metadata)
	}
	for name, n := range map[string]int{"conv.weight": 6, "conv.bias": 3, "norm.weight": 5, "alphas": 6} {
		tensor, ok := f.Lookup(name)
		got := make([]float32, n)
		if err := f.Float32(tensor, got); !ok || err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, v := range got {
			if v != float32(i)/4-1 {
				t.Errorf("%s[%d]: got %v, want %v", name, i, v, float32(i)/4-1)
			}
		}
	}
	literals := map[string][]byte{
		"step": {0xf9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "mask": {1, 0, 1}, "f4": {0x21, 0x43}, "empty": {},
		"ids.i16": {0xff, 0xff, 0, 0, 1, 0}, "weird é <&> \"\\\t\x01\x7f/日本": {0, 0, 0x80, 0x3f},
	}
	for name, want := range literals {
		tensor, ok := f.Lookup(name)
		if got, err := f.Bytes(tensor); !ok || err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x (%v), want %x", name, got, err, want)
		}
	}

	var entries []Entry
	for i := range f.Tensors {
		tensor := f.Tensors[len(f.Tensors)-1-i]
		data, err := f.Bytes(tensor)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, bytesEntry(tensor.Name, tensor.DType, tensor.Shape, data))
	}
	path := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Write(path, f.Metadata, entries); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q (%v)", got, want, err)
	}
}

// TestRoundTrip: float32 values of every kind come back bit by bit, over chunk borders too, and the file of an earlier
// run is replaced.
func TestRoundTrip(t *testing.T) {
	const n = 1<<18 + 1<<16 + 3 // beyond a chunk of the reader and of the writer
	long := make([]float32, n)
	for i := range long {
		long[i] = float32(i) * 0.37
	}
	special := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.NaN()), math.SmallestNonzeroFloat32, math.MaxFloat32}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	metadata := map[string]string{"format": "pt", "b": "2", "a": "ä\n"}
	var first []byte
	for range 2 {
		if err := Write(path, metadata, []Entry{Float32Entry("z", []int64{n}, long), Float32Entry("a", []int64{2, 3}, special), Float32Entry("none", []int64{0}, nil)}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, data) {
			t.Error("the same content gave other bytes")
		}
		first = data
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("folder holds %v (%v), want the file alone", files, err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Metadata) != 3 || f.Metadata["a"] != "ä\n" {
		t.Errorf("metadata %v, want %v", f.Metadata, metadata)
	}
	if f.Tensors[0].Offset%8 != 0 {
		t.Errorf("data start at %d, want a multiple of 8", f.Tensors[0].Offset)
	}
	for name, want := range map[string][]float32{"z": long, "a": special, "none": nil} {
		tensor, ok := f.Lookup(name)
		got := make([]float32, len(want))
		if err := f.Float32(tensor, got); !ok || err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s[%d]: got %x, want %x", name, i, math.Float32bits(got[i]), math.Float32bits(want[i]))
			}
		}
	}
}

// TestEmptyFile holds two small files to the literals of the reference implementation's tests.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	rows := []struct {
		metadata map[string]string
		want     string
	}{
		{nil, "\x08\x00\x00\x00\x00\x00\x00\x00{}      "},
		{map[string]string{"framework": "pt"}, "\x28\x00\x00\x00\x00\x00\x00\x00{\"__metadata__\":{\"framework\":\"pt\"}}     "},
	}
	for _, row := range rows {
		if err := Write(path, row.metadata, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != row.want {
			t.Errorf("got %q (%v), want %q", got, err, row.want)
		}
	}
}

// TestWriteRefuses: a bad entry is named, what stood at the path stays, and no temporary file is left.
func TestWriteRefuses(t *testing.T) {
	broken := errors.New("the device is gone")
	one := []byte{1}
	var huge []Entry
	for _, name := range strings.Split("abcdefgh", "") {
		huge = append(huge, bytesEntry(name, "U8", []int64{1 << 60}, one))
	}
	rows := []struct {
		name     string
		metadata map[string]string
		entries  []Entry
		want     string
	}{
		{"name twice", nil, []Entry{bytesEntry("a", "U8", []int64{1}, one), bytesEntry("a", "I8", []int64{1}, one)}, `tensor name "a" is used twice`},
		{"reserved name", nil, []Entry{bytesEntry("__metadata__", "U8", []int64{1}, one)}, "reserved"},
		{"name not UTF-8", nil, []Entry{bytesEntry("\xff", "U8", []int64{1}, one)}, "not valid UTF-8"},
		{"metadata not UTF-8", map[string]string{"k": "\xff"}, nil, `metadata "k"`},
		{"unknown dtype", nil, []Entry{bytesEntry("a", "float32", []int64{1}, one)}, `tensor "a": dtype "float32" is unknown`},
		{"negative dimension", nil, []Entry{bytesEntry("a", "U8", []int64{-1}, one)}, "dimension 0 is -1"},
		{"overflow", nil, []Entry{bytesEntry("a", "U8", []int64{1 << 62, 8}, one)}, "overflows 64 bits"},
		{"sum overflows", nil, huge, "the file's size overflows"},
		{"too few bytes", nil, []Entry{bytesEntry("a", "U8", []int64{2}, one)}, `tensor "a": 1 bytes written, want 2 for shape [2] of U8`},
		{"too many bytes", nil, []Entry{bytesEntry("a", "U8", []int64{0}, one)}, `tensor "a": 1 bytes more than its shape and dtype make`},
		{"float32 of another length", nil, []Entry{Float32Entry("a", []int64{3}, make([]float32, 2))}, "8 bytes written, want 12"},
		{"source fails", nil, []Entry{{Name: "a", DType: "U8", Shape: []int64{1}, Write: func(io.Writer) error { return broken }}}, "the device is gone"},
		{"header too large", map[string]string{"k": strings.Repeat("x", maxHeader)}, nil, "want at most 100000000"},
	}
	for _, row := range rows {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.safetensors")
		if err := os.WriteFile(path, []byte("earlier"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Write(path, row.metadata, row.entries)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", row.name, err, row.want)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != "earlier" {
			t.Errorf("%s: the earlier file is now %q (%v)", row.name, data, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("%s: left behind %v (%v)", row.name, files, err)
		}
	}
	if err := Write(filepath.Join(t.TempDir(), "no", "m.safetensors"), nil, nil); err == nil {
		t.Error("wrote into a missing folder")
	}
}
