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
			from := random.Intn(out)
			to := from + 1 + random.Intn(out-from)
			all := NewTaps(filter, w, float64(w), out, from, to)
			if random.Intn(2) == 0 {
				src = append(src, make([]uint8, Slack)...)[:len(src)]
			}
			made := 3 * (to - from)
			got, want := make([]uint8, made*h), make([]uint8, made*h)
			Rows(got, src, w*3, 3, h, all)
			for y := range h {
				rowGeneric(want[y*made:(y+1)*made], src[y*w*3:], 3, all)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("rows of %s differ", name)
			}
			all = NewTaps(filter, h, float64(h), out, from, to)
			got, want = make([]uint8, (to-from)*w*3), make([]uint8, (to-from)*w*3)
			Columns(got, src, w*3, all)
			for y, first := range all.First {
				columnsGeneric(want[y*w*3:(y+1)*w*3], src[int(first)*w*3:], w*3, all.Weights[y*all.Count:(y+1)*all.Count])
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
			Rows(dst, src, 50*3, 3, 7, NewTaps(filter, 50, 50, 13, 0, 13))
			for _, v := range dst {
				if v != level {
					t.Fatalf("%s: level %d becomes %d", filter, level, v)
				}
			}
		}
	}
}

// TestUnit: every byte is v/127.5 − 1, rounded once, in every colour and place, for all
// lengths, with bytes behind the row or without, mirrored or not.
func TestUnit(t *testing.T) {
	for _, channels := range []int{1, 3} {
		for _, n := range []int{0, 1, 7, 8, 9, 16, 31, 256, 300} {
			for _, slack := range []int{0, Slack} {
				for _, flip := range []bool{false, true} {
					row := make([]uint8, n*channels, n*channels+slack)
					for i := range row {
						row[i] = uint8(i/channels + i%channels*85)
					}
					plane := n + 3
					dst := make([]float32, channels*plane)
					Unit(dst, plane, row, channels, flip)
					for c := range channels {
						for x := range plane {
							want := float32(0)
							if from := x; x < n {
								if flip {
									from = n - 1 - x
								}
								want = float32(float64(row[from*channels+c])/127.5 - 1)
							}
							if got := dst[c*plane+x]; got != want {
								t.Fatalf("%d channels, %d pixels, flip %v: %d of channel %d is %v, want %v", channels, n, flip, x, c, got, want)
							}
						}
					}
				}
			}
		}
	}
}

// The benchmarks make an example of 256² of an ImageNet photograph.

func BenchmarkRows(b *testing.B) {
	src, dst := make([]uint8, 500*375*3, 500*375*3+Slack), make([]uint8, 256*375*3)
	all := NewTaps(Bilinear, 500, 500, 341, 42, 42+256)
	for b.Loop() {
		Rows(dst, src, 500*3, 3, 375, all)
	}
}

func BenchmarkColumns(b *testing.B) {
	src, dst := make([]uint8, 256*375*3), make([]uint8, 256*256*3)
	all := NewTaps(Bilinear, 375, 375, 256, 0, 256)
	for b.Loop() {
		Columns(dst, src, 256*3, all)
	}
}

func BenchmarkUnit(b *testing.B) {
	src, dst := make([]uint8, 256*256*3), make([]float32, 256*256*3)
	for b.Loop() {
		for y := range 256 {
			Unit(dst[y*256:], 256*256, src[y*256*3:(y+1)*256*3], 3, false)
		}
	}
}

func BenchmarkTaps(b *testing.B) {
	for b.Loop() {
		NewTaps(Bilinear, 500, 500, 341, 42, 42+256)
	}
}
