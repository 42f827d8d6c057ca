package datasets

import "testing"

// BenchmarkExample times what follows the decoder: a photograph of ImageNet's usual
// size becomes 256² pixels, and these become numbers.
func BenchmarkExample(b *testing.B) {
	p := photo(b, "china.jpg")
	big := resize(p, 500, 375, FilterBicubic)
	d := &Dataset{options: Options{Resolution: 256, Channels: 3, Filter: FilterBilinear, Crop: CropCenter}}
	dst := make([]float32, 3*256*256)
	b.Run("transform", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.canvas(raw{pixels: big}, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		p, _ := d.canvas(raw{pixels: big}, 0)
		for b.Loop() {
			p.write(dst, false)
		}
	})
}
