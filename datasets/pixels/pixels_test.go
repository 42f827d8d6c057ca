package pixels

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"
)

// TestFastIsGeneric: what this machine computes is what the plain loops compute, to
// the bit, for all filters and sizes, over noise and over the extremes that overshoot.
func TestFastIsGeneric(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, filter := range []string{Bilinear, Bicubic, Lanczos} {
		for range 200 {
			w, h, out := 1+random.Intn(60), 1+random.Intn(20), 1+random.Intn(60)
			src := make([]uint8, w*h*3)
			for i := range src {
				if src[i] = uint8(random.Intn(256)); random.Intn(2) == 0 {
					src[i] = uint8(255 * random.Intn(2))
				}
			}
			name := fmt.Sprintf("%s, %d×%d to %d", filter, w, h, out)
			all := NewTaps(filter, w, float64(w), out)
			got, want := make([]uint8, out*h*3), make([]uint8, out*h*3)
			Rows(got, src, w, 3, all)
			rowsGeneric(want, src, w*3, 3, all)
			if !bytes.Equal(got, want) {
				t.Fatalf("rows of %s differ", name)
			}
			all = NewTaps(filter, h, float64(h), out)
			got, want = make([]uint8, out*w*3), make([]uint8, out*w*3)
			Columns(got, src, w*3, all)
			for y, taps := range all {
				columnsGeneric(want[y*w*3:(y+1)*w*3], src[taps.First*w*3:], w*3, taps.Weights)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("columns of %s differ", name)
			}
		}
	}
}

// TestColoursAreGeneric: every triple of some levels, in rows of every length.
func TestColoursAreGeneric(t *testing.T) {
	var y, cb, cr []uint8
	for _, a := range []uint8{0, 1, 77, 128, 200, 254, 255} {
		for b := 0; b < 256; b += 5 {
			for c := 0; c < 256; c += 5 {
				y, cb, cr = append(y, a), append(cb, uint8(b)), append(cr, uint8(255-c))
			}
		}
	}
	got, want := make([]uint8, 3*len(y)), make([]uint8, 3*len(y))
	ToRGB(got, y, cb, cr)
	toRGBGeneric(want, y, cb, cr)
	if !bytes.Equal(got, want) {
		t.Error("colours differ")
	}
	for n := range 70 {
		got := bytes.Repeat([]uint8{99}, 3*n+8)
		ToRGB(got, y[:n], cb, cr)
		if !bytes.Equal(got[:3*n], want[:3*n]) || !bytes.Equal(got[3*n:], bytes.Repeat([]uint8{99}, 8)) {
			t.Errorf("%d pixels differ, or more are written", n)
		}
	}
}

// TestWeightsSumToOne: a flat picture stays flat.
func TestWeightsSumToOne(t *testing.T) {
	for _, filter := range []string{Bilinear, Bicubic, Lanczos} {
		for _, level := range []uint8{0, 1, 128, 254, 255} {
			src := bytes.Repeat([]uint8{level}, 50*7*3)
			dst := make([]uint8, 13*7*3)
			Rows(dst, src, 50, 3, NewTaps(filter, 50, 50, 13))
			for _, v := range dst {
				if v != level {
					t.Fatalf("%s: level %d becomes %d", filter, level, v)
				}
			}
		}
	}
}

// BenchmarkRowsRGB shrinks an ImageNet photograph's rows.
func BenchmarkRowsRGB(b *testing.B) {
	src, dst := make([]uint8, 500*375*3), make([]uint8, 256*375*3)
	all := NewTaps(Bilinear, 500, 500, 341)[42 : 42+256]
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Rows(dst, src, 500, 3, all)
	}
}
