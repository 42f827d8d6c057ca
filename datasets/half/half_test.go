package half

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"unsafe"
)

// TestHalf: every float16 survives, and numbers become the nearest one, halves to even.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		x := Float(uint16(h))
		if x != x {
			if got := From(x); got&0x7c00 != 0x7c00 || got&0x3ff == 0 {
				t.Fatalf("%04x became %04x, want not a number", h, got)
			}
		} else if got := From(x); got != uint16(h) {
			t.Fatalf("%04x is %v, and came back as %04x", h, x, got)
		}
	}
	if Float(0x3c01) != 1+1.0/1024 || Float(0x7bff) != 65504 || Float(1) != 1.0/(1<<24) || Float(0xc000) != -2 {
		t.Error("float16 is read wrongly")
	}
	for h := uint16(0); h < 0x7bff; h++ { // the middle of neighbours, and what is just beside it
		low, high := float64(Float(h)), float64(Float(h+1))
		middle := float32((low + high) / 2)
		even := h + h&1
		if From(middle) != even || From(math.Nextafter32(middle, 0)) != h || From(math.Nextafter32(middle, 1e9)) != h+1 {
			t.Fatalf("between %v and %v: %04x %04x %04x", low, high, From(math.Nextafter32(middle, 0)), From(middle), From(math.Nextafter32(middle, 1e9)))
		}
	}
	if From(65519.99) != 0x7bff || From(65520) != 0x7c00 || From(1e30) != 0x7c00 {
		t.Error("the upper end is rounded wrongly")
	}
}

// TestFloats: every number of them, with and without wide registers, is one by
// one; also where they become numbers in place.
func TestFloats(t *testing.T) {
	var data []byte
	var want []float32
	for h := range 1 << 16 {
		if h&0x7c00 != 0x7c00 || h&0x3ff == 0 { // not a number is not equal to itself
			data, want = binary.LittleEndian.AppendUint16(data, uint16(h)), append(want, Float(uint16(h)))
		}
	}
	for _, n := range []int{0, 1, 31, 32, 33, 64, 100, len(want) - 1, len(want)} {
		got := make([]float32, n+1)
		if Floats(got[:n], data); !slices.Equal(got[:n], want[:n]) || got[n] != 0 {
			t.Errorf("%d at once are read wrongly", n)
		}
		if n == 0 {
			continue
		}
		within := unsafe.Slice((*byte)(unsafe.Pointer(&got[0])), 4*n)[2*n:]
		copy(within, data)
		if Floats(got[:n], within); !slices.Equal(got[:n], want[:n]) || got[n] != 0 {
			t.Errorf("%d at once are read wrongly within their own memory", n)
		}
	}
}

func BenchmarkFloats(b *testing.B) {
	data, dst := make([]byte, 1<<16), make([]float32, 1<<15)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Floats(dst, data)
	}
}
