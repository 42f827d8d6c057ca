package npy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// counted is the content of the goldens: entry p in C order is (p−1)·factor
// (tools/golden/npy.py).
func counted[T Element](factor T, shape ...int) Array {
	n := 1
	for _, size := range shape {
		n *= size
	}
	data := make([]T, n)
	for i := range data {
		data[i] = (T(i) - 1) * factor
	}
	return Array{Shape: shape, Data: data}
}

var goldens = []struct {
	file string
	want Array
	same bool // numpy.save's own bytes for C order, version 1.0
}{
	{"float32-2x3.npy", counted[float32](1.5, 2, 3), true},
	{"float64-2x3.npy", counted(1.5, 2, 3), true},
	{"int64-2x3.npy", counted[int64](3, 2, 3), true},
	{"int64-7.npy", counted[int64](3, 7), true},
	{"float64-scalar.npy", counted(1.5, []int{}...), true},
	{"float32-0x3.npy", counted[float32](1.5, 0, 3), true},
	{"float64-2x3-fortran.npy", counted(1.5, 2, 3), false},
	{"float32-2x3x4x5-fortran.npy", counted[float32](1.5, 2, 3, 4, 5), false},
	{"float32-2x3-version2.npy", counted[float32](1.5, 2, 3), false},
	{"float32-2x3-version3.npy", counted[float32](1.5, 2, 3), false},
}

func TestReadsWhatNumPyWrote(t *testing.T) {
	for _, g := range goldens {
		got, err := Read(filepath.Join("testdata", g.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(*got, g.want) {
			t.Errorf("%s: got %v, want %v", g.file, *got, g.want)
		}
	}
}

func TestWritesWhatNumPyWrites(t *testing.T) {
	for _, g := range goldens {
		if !g.same {
			continue
		}
		path := filepath.Join(t.TempDir(), "a.npy")
		var err error
		switch data := g.want.Data.(type) {
		case []float32:
			err = Write(path, g.want.Shape, data)
		case []float64:
			err = Write(path, g.want.Shape, data)
		case []int64:
			err = Write(path, g.want.Shape, data)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", g.file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", g.file, got, want)
		}
	}
}

// Longer than a block, so that reading and writing cross its border.
func TestRoundTripAcrossBlocks(t *testing.T) {
	want := counted(0.5, 3, block/8+1)
	path := filepath.Join(t.TempDir(), "a.npy")
	if err := Write(path, want.Shape, want.Data.([]float64)); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Error("an array of three blocks and a bit came back changed")
	}
}

// file makes a file's bytes of a version 1.0 header and its entries.
func file(header string, entries int) string {
	return magic + "\x01\x00" + string([]byte{byte(len(header)), byte(len(header) >> 8)}) + header + strings.Repeat("\x00", entries)
}

func TestRefuses(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
	swap := func(old, new string) string { return file(strings.Replace(good, old, new, 1), 24) }
	tests := []struct{ name, content, want string }{
		{"empty", "", "is no .npy file"},
		{"other format", "PK\x03\x04 a zip, as .npz is", "is no .npy file"},
		{"version", magic + "\x04\x00", "format version 4.0, want 1.0, 2.0 or 3.0"},
		{"no length", magic + "\x01\x00\x10", "ends inside its header"},
		{"half a header", file(good, 0)[:40], "ends inside its header"},
		{"huge header", magic + "\x02\x00\xff\xff\xff\x7f", "header of 2147483647 bytes, want 65536 at most"},
		{"no dict", swap("{", "["), "is no dict"},
		{"no key", swap("'fortran_order': False, ", ""), `no key "fortran_order"`},
		{"key twice", swap("'fortran_order'", "'descr'"), `key "descr" twice`},
		{"unknown key", swap("'fortran_order'", "'order'"), `key "order", want`},
		{"open end", swap("}", ""), "where a key belongs"},
		{"no comma", swap("False,", "False"), "where a comma belongs"},
		{"behind the dict", swap("}", "} x"), `"x" after the dict`},
		{"order", swap("False", "0"), `fortran_order "0, 'shape'`},
		{"no tuple", swap("(2, 3)", "6"), "want a tuple of at most 64 sizes"},
		{"negative", swap("(2, 3)", "(-2, 3)"), "want a tuple of at most 64 sizes"},
		{"too large", swap("(2, 3)", "(3037000500, 3037000500)"), "shape (3037000500, 3037000500) is too large"},
		{"truncated", file(good, 23), "is truncated: 23 bytes of entries, want 24 for shape (2, 3)"},
		{"a promise of 8 TB", swap("(2, 3)", "(1000000, 2000000)"), "is truncated: 24 bytes of entries, want 8000000000000"},
		{"extra", file(good, 25), "1 bytes after the last entry"},
		{"complex", swap("<f4", "<c8"), "descr '<c8', want '<f4' (float32), '<f8' (float64) or '<i8' (int64)"},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), "bad.npy")
		if err := os.WriteFile(path, []byte(test.content), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want PATH: … %s", test.name, err, test.want)
		}
	}
	if _, err := Read("testdata/none.npy"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "testdata/none.npy: ") {
		t.Errorf("a missing file: got error %v", err)
	}
	for name, want := range map[string]string{
		"big-endian": "descr '>f8' is big-endian, want '<f8'", "float16": "descr '<f2', want", "structured": "is a structured type",
	} {
		if _, err := Read("testdata/refused-" + name + ".npy"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", name, err, want)
		}
	}
}

// Python accepts more ways to write a dict than NumPy uses.
func TestHeaderSpellings(t *testing.T) {
	for _, header := range []string{
		`{"shape":(2,3),"fortran_order":False,"descr":"<f4"}`,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }   \n",
		"{ 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , 'descr' : '<f4' , }",
	} {
		a, err := Decode(strings.NewReader(file(header, 24)))
		if err != nil || !reflect.DeepEqual(a.Shape, []int{2, 3}) {
			t.Errorf("%s: got %v, %v", header, a, err)
		}
	}
}

func TestConversions(t *testing.T) {
	// The largest float64 that rounds into float32's range lies just below
	// the midpoint of its largest value and the next power of two, 2^128.
	edge := math.MaxFloat32 + math.Ldexp(1, 103)
	fits := math.Nextafter(edge, 0)
	got, err := (&Array{Shape: []int{5}, Data: []float64{0.1, fits, -fits, math.Inf(1), 1e-60}}).Float32()
	if want := []float32{0.1, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), 0}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	_, err = (&Array{Shape: []int{2, 2}, Data: []float64{0, 0, 0, -edge}}).Float32()
	if err == nil || !strings.HasPrefix(err.Error(), "entry [1, 1] is -3.40282356") {
		t.Errorf("got error %v, want entry [1, 1] named", err)
	}
	if got, err := (&Array{Data: []float64{math.NaN()}}).Float32(); err != nil || got[0] == got[0] {
		t.Errorf("NaN became %v, %v", got, err)
	}
	if _, err := (&Array{Data: []int64{1}}).Float32(); fmt.Sprint(err) != "holds int64, want float32 or float64" {
		t.Error(err)
	}
	if _, err := (&Array{Data: []float32{1}}).Int64(); fmt.Sprint(err) != "holds float32, want int64" {
		t.Error(err)
	}
}

// A write that fails leaves the old file and nothing beside it.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npy")
	if err := Write(path, []int{1}, []int64{7}); err != nil {
		t.Fatal(err)
	}
	err := Write(path, []int{2, 2}, []int64{1, 2, 3})
	if err == nil || !strings.Contains(err.Error(), "shape (2, 2) holds 4 entries, got 3") {
		t.Errorf("got error %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v (%v), want a.npy only", entries, err)
	}
	if a, err := Read(path); err != nil || !reflect.DeepEqual(a.Data, []int64{7}) {
		t.Errorf("got %v, %v, want the first array", a, err)
	}
	if err := Write(filepath.Join(dir, "none", "a.npy"), []int{1}, []int64{7}); err == nil {
		t.Error("wrote into a folder that is not there")
	}
}

// Whatever the bytes, Decode returns an array that is whole, or an error; an
// array that was read is written and read back as it was.
func FuzzDecode(f *testing.F) {
	for _, g := range goldens {
		data, err := os.ReadFile(filepath.Join("testdata", g.file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		switch entries := a.Data.(type) {
		case []float32:
			err = Encode(&again, a.Shape, entries)
		case []float64:
			err = Encode(&again, a.Shape, entries)
		case []int64:
			err = Encode(&again, a.Shape, entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := Decode(&again)
		if err != nil {
			t.Fatal(err)
		}
		// %v compares NaN with NaN, which DeepEqual does not.
		if x, y := fmt.Sprint(*a), fmt.Sprint(*b); x != y {
			t.Errorf("wrote %s, read %s", x, y)
		}
	})
}
