package runlog

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// decode reads a PNG.
func decode(t *testing.T, data []byte) image.Image {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Six images of one colour each, 2 rows of 3: the place and value of every
// pixel follow from its position alone.
func TestGridRGB(t *testing.T) {
	const rows, cols, H, W = 2, 3, 4, 5
	var images [][]float32
	for i := range rows * cols {
		pixels := make([]float32, 3*H*W)
		for j := range pixels {
			// Channel c of image i: exactly level 40·i + 10·c + 5.
			pixels[j] = float32(40*i+10*(j/(H*W))+5)/127.5 - 1
		}
		images = append(images, pixels)
	}
	data, err := EncodeGrid(images, rows, cols, 3, H, W)
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, data)
	if m.Bounds() != image.Rect(0, 0, 2+3*7, 2+2*6) {
		t.Fatalf("bounds are %v", m.Bounds())
	}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			want := color.NRGBA{0, 0, 0, 255}
			if x%7 >= 2 && y%6 >= 2 {
				level := uint8(40*(y/6*cols+x/7) + 5)
				want = color.NRGBA{level, level + 10, level + 20, 255}
			}
			if got := color.NRGBAModel.Convert(m.At(x, y)); got != want {
				t.Fatalf("pixel %d, %d is %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestGridGrey(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	values := []float32{-1, 1, 0, -7, 7, nan, inf, -inf, 1.01/255 - 1, 0.99/255 - 1}
	want := []uint8{0, 255, 128, 0, 255, 0, 255, 0, 1, 0} // 0 is 127.5: up
	data, err := EncodeGrid([][]float32{values}, 1, 1, 1, 1, len(values))
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, data)
	for i, w := range want {
		if got := color.NRGBAModel.Convert(m.At(2+i, 2)); got != (color.NRGBA{w, w, w, 255}) {
			t.Errorf("%v becomes %v, want %d", values[i], got, w)
		}
	}
}

func TestWriteGrid(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "step-1.png")
	data, err := WriteGrid(path, [][]float32{{0.5}}, 1, 1, 1, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, path) != string(data) {
		t.Errorf("the file is not what was returned")
	}
	bad := []struct {
		images           [][]float32
		rows, cols, C, H int
		want             string
	}{
		{[][]float32{{1}, {1}}, 1, 1, 1, 1, "2 images"},
		{[][]float32{{1, 1}}, 1, 1, 2, 1, "1 or 3 channels"},
		{[][]float32{{1}, {1, 2}}, 1, 2, 1, 1, "image 1 has 2 values"},
		{nil, 0, 0, 1, 1, "0 images"},
		{[][]float32{{}}, 1, 1, 1, 0, "[1, 0, 1]"},
	}
	for _, b := range bad {
		if _, err := WriteGrid(path, b.images, b.rows, b.cols, b.C, b.H, 1); err == nil || !strings.Contains(err.Error(), b.want) {
			t.Errorf("got %v, want %q", err, b.want)
		}
	}
	if _, err := WriteGrid(filepath.Join(dir, "none", "x.png"), [][]float32{{1}}, 1, 1, 1, 1, 1); err == nil {
		t.Errorf("a grid in no folder")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || !reflect.DeepEqual(entries[0].Name(), "step-1.png") || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
