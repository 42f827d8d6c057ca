package datasets

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// photo reads a file of testdata/photos, made by tools/golden/datasets/photos.py
// with the versions in testdata/photos/VERSIONS.
func photo(t testing.TB, name string) *picture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/photos", name))
	if err != nil {
		t.Fatal(err)
	}
	p, err := decode(data)
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
		got := resize(photo(t, part[0]+".jpg"), 96, 72, part[1])
		largest, mean := difference(t, name, got, photo(t, name))
		t.Logf("%-8s %-9s largest %d, mean %.4f of 255", part[0], part[1], largest, mean)
		if largest > 0 {
			t.Errorf("%s differs by %d levels, %.4f in the mean", name, largest, mean)
		}
	}
}

// resize resamples a whole picture to w×h.
func resize(p *picture, w, h int, filter string) *picture {
	return newView(p.w, p.h, 1, w, h, window{0, 0, w, h}, filter).of(p)
}

// TestShrunkPhotos holds a decoder that shrinks (build tag turbojpeg) against one
// that does not, by the examples that come out: at most 12 levels anywhere and 1 in
// the mean, with each filter. Without the tag nothing shrinks and nothing differs.
func TestShrunkPhotos(t *testing.T) {
	for _, name := range []string{"china", "flower"} {
		data, err := os.ReadFile("testdata/photos/" + name + ".jpg")
		if err != nil {
			t.Fatal(err)
		}
		image, err := look(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, filter := range []string{FilterBilinear, FilterBicubic, FilterLanczos} {
			d := &Dataset{options: Options{Resolution: 40, Channels: 3, Filter: filter, Crop: CropCenter}}
			v, err := d.view(image.w, image.h, mostShrink, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.canvas(raw{image: data}, 0)
			if err != nil {
				t.Fatal(err)
			}
			want, err := d.canvas(raw{pixels: photo(t, name+".jpg")}, 0)
			if err != nil {
				t.Fatal(err)
			}
			largest, mean := difference(t, name, got, want)
			t.Logf("%-8s %-9s read at 1/%d: largest %d, mean %.4f of 255", name, filter, v.shrink, largest, mean)
			if shrunk := v.shrink > 1; shrunk != (mostShrink > 1) || !shrunk && largest > 0 || largest > 12 || mean > 1 {
				t.Errorf("%s, %s: read at 1/%d, differs by %d levels, %.4f in the mean: want at most 12 and 1", name, filter, v.shrink, largest, mean)
			}
		}
	}
}

// TestPartsAreThePictures: of every JPEG, any part that is decoded is that part of the
// whole, to the bit, in memory that held something else; and so it is at the scales that
// the decoder has.
func TestPartsAreThePictures(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	files, err := filepath.Glob("testdata/*/*.jpg")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	memory := new(room)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		image, err := look(data)
		if err != nil {
			t.Fatal(err)
		}
		for shrink := 1; shrink <= mostShrink; shrink *= 2 {
			w, h := (image.w+shrink-1)/shrink, (image.h+shrink-1)/shrink
			whole, err := image.read(shrink, window{0, 0, w, h}, nil)
			if err != nil {
				break // it is not to be read
			}
			if whole.shrink != shrink {
				break // not by this decoder
			}
			for range 40 {
				part := window{x: random.IntN(w), y: random.IntN(h)}
				part.w, part.h = 1+random.IntN(w-part.x), 1+random.IntN(h-part.y)
				memory.clear()
				for i := range memory.slab {
					memory.slab[i] = uint8(random.Uint32())
				}
				got, err := image.read(shrink, part, memory)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				if got.x > part.x || got.y > part.y || got.x+got.w < part.x+part.w || got.y+got.h < part.y+part.h || got.c != whole.c || got.shrink != shrink {
					t.Fatalf("%s: %+v at 1/%d is a part of %d×%d at (%d, %d) of 1/%d", file, part, shrink, got.w, got.h, got.x, got.y, got.shrink)
				}
				got = cut(got, window{part.x - got.x, part.y - got.y, part.w, part.h}, 0)
				if !slices.Equal(got.pix, cut(whole, part, 0).pix) {
					t.Fatalf("%s: %+v of %d×%d at 1/%d differs", file, part, w, h, shrink)
				}
			}
		}
	}
}
