package npy

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Archives written stored and deflated come back, and twice the same bytes.
// What NumPy writes is read by the tests of pipeline/metrics.
func TestArchiveRoundTrip(t *testing.T) {
	arrays := []Named{{"mu", counted(0.5, 7)}, {"sigma", counted(0.25, 3, block/8+1)}, {"n", counted[int64](3, 1)}, {"feats", counted[float32](2, 5, 4)}}
	for _, deflate := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "a.npz")
		var written [2][]byte
		for i := range written {
			if err := WriteArchive(path, arrays, deflate); err != nil {
				t.Fatal(err)
			}
			var err error
			if written[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(written[0], written[1]) {
			t.Errorf("deflate %v: two archives of the same arrays differ", deflate)
		}
		a, err := OpenArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if want := []string{"mu", "sigma", "n", "feats"}; !slices.Equal(a.Names, want) || !a.Has("mu") || a.Has("nu") {
			t.Errorf("names %v, want %v", a.Names, want)
		}
		for _, want := range arrays {
			got, err := a.Read(want.Name)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, want.Array) {
				t.Errorf("deflate %v: %s came back changed", deflate, want.Name)
			}
		}
		if _, err := a.Read("nu"); err == nil || !strings.Contains(err.Error(), `no array "nu": it holds mu, sigma, n, feats`) {
			t.Errorf("a missing array: %v", err)
		}
		if _, err := a.Rows("n"); err == nil || !strings.Contains(err.Error(), "descr '<i8', want '<f4'") {
			t.Errorf("rows of integers: %v", err)
		}
		rows, err := a.Rows("feats")
		if err != nil {
			t.Fatal(err)
		}
		checkRows(t, rows, arrays[3].Array)
	}
	if err := WriteArchive(filepath.Join(t.TempDir(), "a.npz"), []Named{{"x", Array{Shape: []int{2}, Data: []float32{1}}}}, false); err == nil || !strings.Contains(err.Error(), "x: shape (2,) holds 2 entries, got 1") {
		t.Errorf("a wrong shape: %v", err)
	}
}

// checkRows reads rows a few at a time and compares them with the array.
func checkRows(t *testing.T, r *Rows, want Array) {
	t.Helper()
	defer r.Close()
	var values []float64
	switch data := want.Data.(type) {
	case []float64:
		values = data
	case []float32:
		for _, x := range data {
			values = append(values, float64(x))
		}
	}
	if !slices.Equal(r.Shape, want.Shape) || r.DType != want.DType() || r.Width*want.Shape[0] != len(values) {
		t.Errorf("rows of shape %v, %s, width %d, want %v, %s", r.Shape, r.DType, r.Width, want.Shape, want.DType())
	}
	var got []float64
	buf := make([]float64, 2*r.Width+1)
	for {
		n, err := r.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, buf[:n*r.Width]...)
	}
	if !slices.Equal(got, values) {
		t.Errorf("rows of shape %v came back changed", want.Shape)
	}
}

func TestRows(t *testing.T) {
	for _, g := range goldens {
		if len(g.want.Shape) == 0 || g.want.DType() == "int64" {
			continue
		}
		r, err := OpenRows(filepath.Join("testdata", g.file))
		if err != nil {
			t.Fatal(err)
		}
		checkRows(t, r, g.want)
	}
	long := counted(0.5, 5, block/16+3)
	path := filepath.Join(t.TempDir(), "long.npy")
	if err := Write(path, long.Shape, long.Data.([]float64)); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRows(path)
	if err != nil {
		t.Fatal(err)
	}
	checkRows(t, r, long)

	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"cut":  {raw[:len(raw)-8*(block/16+4)], "is truncated: it ends in row 3 of shape (5, 4099)"},
		"more": {append(slices.Clone(raw), 0), "1 bytes after the last entry"},
		"zip":  {[]byte("PK\x03\x04"), "is no .npy file"},
	} {
		bad := filepath.Join(t.TempDir(), name+".npy")
		if err := os.WriteFile(bad, test.content, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := OpenRows(bad)
		for err == nil {
			var n int
			if n, err = r.Next(make([]float64, 2*r.Width)); n == 0 {
				break
			}
		}
		if err == nil || !strings.HasPrefix(err.Error(), bad+": ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want PATH: … %s", name, err, test.want)
		}
	}
	for file, want := range map[string]string{"int64-2x3.npy": "descr '<i8'", "float64-scalar.npy": "shape (), want an array of rows"} {
		if _, err := OpenRows(filepath.Join("testdata", file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", file, err, want)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	if _, err := OpenArchive("testdata/none.npz"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "testdata/none.npz: ") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := OpenArchive("testdata/float32-2x3.npy"); err == nil || !strings.Contains(err.Error(), "is no .npz file") {
		t.Errorf("a .npy file: %v", err)
	}
	// A member whose bytes have changed since its checksum was taken.
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := WriteArchive(path, []Named{{"x", counted(1.0, 9)}}, false); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[bytes.Index(raw, []byte(magic))+130] ^= 1
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Read("x"); !errors.Is(err, zip.ErrChecksum) {
		t.Errorf("a changed member: %v", err)
	}
}
