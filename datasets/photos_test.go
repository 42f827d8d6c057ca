package datasets

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// photo reads a file of testdata/photos, made by tools/golden/datasets/photos.py
// with the versions in testdata/photos/VERSIONS.
func photo(t testing.TB, name string, least int) *picture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/photos", name))
	if err != nil {
		t.Fatal(err)
	}
	p, err := decode(data, least)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// difference is the largest and the mean difference of two pictures, in levels.
func difference(t *testing.T, name string, got, want *picture) (largest int, mean float64) {
	t.Helper()
	largest = worst(t, name, got, want)
	for i, v := range got.pix {
		mean += max(float64(v)-float64(want.pix[i]), float64(want.pix[i])-float64(v))
	}
	return largest, mean / float64(len(got.pix))
}

// TestPhotosMatchPillow: two photographs, decoded and shrunk as Pillow does it, to the
// bit. -v prints the table.
func TestPhotosMatchPillow(t *testing.T) {
	files, err := filepath.Glob("testdata/photos/*_*.png")
	if err != nil || len(files) != 6 {
		t.Fatalf("%d golden files, want 6 (%v)", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		part := strings.Split(strings.TrimSuffix(name, ".png"), "_")
		got := resize(photo(t, part[0]+".jpg", math.MaxInt), 96, 72, part[1])
		largest, mean := difference(t, name, got, photo(t, name, math.MaxInt))
		t.Logf("%-8s %-9s largest %d, mean %.4f of 255", part[0], part[1], largest, mean)
		if largest > 0 {
			t.Errorf("%s differs by %d levels, %.4f in the mean", name, largest, mean)
		}
	}
}

// TestShrunkPhotos holds a decoder that shrinks (build tag turbojpeg) against one
// that does not, by the examples that come out: at most 12 levels anywhere and 1 in
// the mean, with each filter. Without the tag nothing shrinks and nothing differs.
func TestShrunkPhotos(t *testing.T) {
	for _, name := range []string{"china", "flower"} {
		for _, filter := range []string{FilterBilinear, FilterBicubic, FilterLanczos} {
			p := photo(t, name+".jpg", 40)
			largest, mean := difference(t, name, resize(p, 53, 40, filter), resize(photo(t, name+".jpg", math.MaxInt), 53, 40, filter))
			t.Logf("%-8s %-9s read at 1/%d: largest %d, mean %.4f of 255", name, filter, max(p.shrink, 1), largest, mean)
			if shrunk := p.shrink > 0; shrunk != jpegShrinks || !shrunk && largest > 0 || largest > 12 || mean > 1 {
				t.Errorf("%s, %s: read at 1/%d, differs by %d levels, %.4f in the mean: want at most 12 and 1", name, filter, p.shrink, largest, mean)
			}
		}
	}
}
