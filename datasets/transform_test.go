package datasets

import "testing"

// TestWrite: [H, W, C] bytes become [C, H, W] numbers in [−1, 1], mirrored or not.
func TestWrite(t *testing.T) {
	for _, channels := range []int{1, 3} {
		p := newPicture(5, 3, channels)
		for i := range p.pix {
			p.pix[i] = uint8(17 * i)
		}
		for _, flip := range []bool{false, true} {
			dst := make([]float32, len(p.pix))
			p.write(dst, flip)
			for c := range channels {
				for y := range p.h {
					for x := range p.w {
						from := x
						if flip {
							from = p.w - 1 - x
						}
						want := float32(float64(p.pix[(y*p.w+from)*channels+c])/127.5 - 1)
						if got := dst[(c*p.h+y)*p.w+x]; got != want {
							t.Fatalf("%d channels, flip %v: (%d, %d, %d) is %v, want %v", channels, flip, c, y, x, got, want)
						}
					}
				}
			}
		}
	}
}
