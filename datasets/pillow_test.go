package datasets

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pillow reads a file of testdata/pillow, made by tools/golden/datasets/pillow.py
// with the versions in testdata/pillow/VERSIONS.
func pillow(t *testing.T, name string) *picture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/pillow", name))
	if err != nil {
		t.Fatal(err)
	}
	p, err := decode(data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// worst is the largest difference of two pictures of one shape, in levels.
func worst(t *testing.T, name string, got, want *picture) (level int) {
	t.Helper()
	if got.w != want.w || got.h != want.h || got.c != want.c {
		t.Fatalf("%s: %d×%d×%d, want %d×%d×%d", name, got.h, got.w, got.c, want.h, want.w, want.c)
	}
	for i, v := range got.pix {
		level = max(level, int(v)-int(want.pix[i]), int(want.pix[i])-int(v))
	}
	return level
}

// TestDecodeMatchesPillow: to the bit; but CMYK JPEGs, which the standard library
// reads, within three levels, since the two inverse DCTs may round apart by one.
func TestDecodeMatchesPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/pillow/decode_*.rgb.png")
	if err != nil || len(files) != 16 {
		t.Fatalf("%d golden files, want 16 (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".rgb.png")
		input, bound := name+".png", 0
		if strings.HasPrefix(name, "decode_jpeg") {
			if input = name + ".jpg"; name == "decode_jpeg_cmyk" {
				bound = 3
			}
		}
		p := pillow(t, input)
		for _, mode := range []struct {
			suffix   string
			channels int
		}{{".rgb.png", 3}, {".l.png", 1}} {
			if d := worst(t, name+mode.suffix, convert(p, mode.channels), pillow(t, name+mode.suffix)); d > bound {
				t.Errorf("%s differs by %d levels, want at most %d", name+mode.suffix, d, bound)
			}
		}
	}
}

// TestResizeMatchesPillow: to the bit, since the arithmetic is Pillow's own.
func TestResizeMatchesPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/pillow/resize_*_*_*.png")
	if err != nil || len(files) != 24 {
		t.Fatalf("%d golden files, want 24 (%v)", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var w, h int
		part := strings.Split(strings.TrimSuffix(name, ".png"), "_")
		if _, err := fmt.Sscanf(part[3], "%dx%d", &w, &h); err != nil {
			t.Fatal(err)
		}
		got := resize(pillow(t, "resize_"+part[1]+".png"), w, h, part[2])
		if d := worst(t, name, got, pillow(t, name)); d != 0 {
			t.Errorf("%s differs by %d levels", name, d)
		}
	}
}

// TestTransformMatchesTorchvision: short side and centre crop, to the bit.
func TestTransformMatchesTorchvision(t *testing.T) {
	files, err := filepath.Glob("testdata/pillow/transform_*_*.png")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d golden files, want 4 (%v)", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		stem, size, _ := strings.Cut(strings.TrimSuffix(name, ".png"), "x")
		size, side, _ := strings.Cut(size, "_")
		var resolution int
		if _, err := fmt.Sscan(side, &resolution); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join("testdata/pillow", stem+"x"+size+".png"))
		if err != nil {
			t.Fatal(err)
		}
		d := &Dataset{options: Options{Resolution: resolution, Channels: 3, Filter: FilterBilinear, Crop: CropCenter}}
		got, err := d.canvas(raw{image: data}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(t, name, got, pillow(t, name)); d != 0 {
			t.Errorf("%s differs by %d levels", name, d)
		}
	}
}

// TestExifMatchesPillow: each orientation in each byte order, to the bit.
func TestExifMatchesPillow(t *testing.T) {
	for want := 1; want <= 8; want++ {
		for _, suffix := range []string{".png", ".jpg"} {
			name := fmt.Sprintf("exif_%d%s", want, suffix)
			data, err := os.ReadFile(filepath.Join("testdata/pillow", name))
			if err != nil {
				t.Fatal(err)
			}
			if got := orientation(data); got != want {
				t.Errorf("%s has orientation %d", name, got)
			}
			if d := worst(t, name, upright(pillow(t, name), orientation(data)), pillow(t, name+".png")); d > 0 {
				t.Errorf("%s differs by %d levels", name, d)
			}
			for cut := range data { // no prefix may panic
				orientation(data[:cut])
			}
		}
	}
}
