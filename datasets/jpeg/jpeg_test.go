package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// inputs are the JPEGs of ../testdata, whose pixels the tests of package datasets hold
// against Pillow's, to the bit.
func inputs(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"jpegs/*.jpg", "pillow/*.jpg", "photos/*.jpg"} {
		files, err := filepath.Glob(filepath.Join("../testdata", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s (%v)", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(file)] = data
		}
	}
	return all
}

// decode is Decode for the whole image.
func decode(data []byte) (image.Image, error) {
	w, h, err := Size(data)
	if err != nil {
		return nil, err
	}
	return Decode(data, image.Rect(0, 0, w, h), func(n int) []uint8 { return make([]uint8, n) })
}

// TestLikeStandard: the luma of each file is the standard library's within a level,
// which is what two ways of rounding one inverse DCT may make; what is not for this
// decoder is said to be so.
func TestLikeStandard(t *testing.T) {
	unsupported := []string{"arithmetic.jpg", "sample_chroma.jpg", "rgb.jpg", "decode_jpeg_cmyk.jpg"}
	for name, data := range inputs(t) {
		got, err := decode(data)
		if slices.Contains(unsupported, name) {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s: error %v, want ErrUnsupported", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := jpeg.Decode(bytes.NewReader(data))
		if name == "restart_progressive.jpg" && err != nil {
			continue // what Pillow reads, the standard library does not
		}
		if err != nil {
			t.Errorf("%s: the standard library: %v", name, err)
			continue
		}
		if got.Bounds() != want.Bounds() {
			t.Errorf("%s: %v, want %v", name, got.Bounds(), want.Bounds())
			continue
		}
		a, b := luma(got), luma(want)
		for y := range got.Bounds().Dy() {
			for x := range got.Bounds().Dx() {
				if d := int(a(x, y)) - int(b(x, y)); d < -1 || d > 1 {
					t.Fatalf("%s: %d levels at (%d, %d)", name, d, x, y)
				}
			}
		}
	}
}

// luma returns the Y of a pixel.
func luma(m image.Image) func(x, y int) uint8 {
	switch m := m.(type) {
	case *image.YCbCr:
		return func(x, y int) uint8 { return m.Y[y*m.YStride+x] }
	case *image.Gray:
		return func(x, y int) uint8 { return m.Pix[y*m.Stride+x] }
	}
	return func(int, int) uint8 { return 0 }
}

// TestFastIsGeneric: what this machine makes of a block is what the plain loops make, to
// the bit: of few and of many coefficients, up to the largest that 8-bit images have.
func TestFastIsGeneric(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for try := range 20_000 {
		var b block
		for range 1 + random.Intn(64) {
			b[random.Intn(64)] = int32(random.Intn(1<<(1+try%12))) - 1<<(try%12)
		}
		got, want := make([]uint8, 8*20), make([]uint8, 8*20)
		copied := b
		idct(&copied, got, 20)
		if idctGeneric(&b, want, 20); !slices.Equal(got, want) {
			t.Fatalf("block %d differs", try)
		}
	}
}

// TestDamage: files with bits flipped, bytes lost and ends cut off are read or
// refused; a file without its end is always refused.
func TestDamage(t *testing.T) {
	for name, data := range inputs(t) {
		if len(data) > 10_000 {
			continue
		}
		if _, err := decode(data[:bytes.LastIndex(data, []byte{0xff, 0xd9})]); err == nil {
			t.Errorf("%s is read without its end marker", name)
		}
		random := rand.New(rand.NewSource(int64(len(data))))
		for range 200 {
			damaged := slices.Clone(data)
			for range 1 + random.Intn(3) {
				switch i := random.Intn(len(damaged)); random.Intn(3) {
				case 0:
					damaged[i] ^= 1 << random.Intn(8)
				case 1:
					damaged[i] = byte(random.Intn(256))
				case 2:
					damaged = slices.Delete(damaged, i, min(i+1+random.Intn(4), len(damaged)))
				}
				if len(damaged) == 0 {
					damaged = []byte{0}
				}
			}
			if small(damaged) {
				decode(damaged)
			}
		}
	}
}

// small tells whether a file's size is one that a test has time for.
func small(data []byte) bool {
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	return err != nil || c.Width*c.Height < 1<<20
}

// FuzzDecode: whatever is read has the size that its header says.
func FuzzDecode(f *testing.F) {
	for _, data := range inputs(f) {
		if len(data) < 5_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !small(data) {
			return
		}
		m, err := decode(data)
		if err != nil {
			return
		}
		if c, err := jpeg.DecodeConfig(bytes.NewReader(data)); err == nil && (m.Bounds().Dx() != c.Width || m.Bounds().Dy() != c.Height) {
			t.Errorf("%v, want %d×%d", m.Bounds(), c.Width, c.Height)
		}
	})
}
