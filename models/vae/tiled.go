package vae

import "fmt"

// Tiles says how a large image or its latents are cut: squares of In pixels or
// latents, each beginning three quarters of a side after the one before, which
// a run turns into squares of Out. In and Out are multiples of 4, so that both
// sides of a quarter are whole; one of them is a multiple of the other.
type Tiles struct{ In, Out int }

// EncodeTiles are the tiles for Encoder: sample_size pixels, as diffusers has
// it, raised to a whole multiple of four latents where it is none.
func (c Config) EncodeTiles() Tiles {
	f := c.Factor()
	latents := (c.SampleSize/f + 3) / 4 * 4
	latents = max(latents, 4)
	return Tiles{In: latents * f, Out: latents}
}

// DecodeTiles are the tiles for Decoder, the same squares the other way.
func (c Config) DecodeTiles() Tiles {
	t := c.EncodeTiles()
	return Tiles{In: t.Out, Out: t.In}
}

// Fits reports whether h×w needs no cutting.
func (t Tiles) Fits(h, w int) bool { return h <= t.In && w <= t.In }

// Image is a batch of images, moments or latents in host memory: N·C·H·W
// numbers, row-major.
type Image struct {
	Data       []float32
	N, C, H, W int
}

// Run gives x to run tile by tile and puts the results together. Tiles at the
// right and the bottom are smaller; run must scale a tile's height and width by
// Out/In. Where two results overlap, a quarter of a tile, they are blended
// linearly, first with the one above, then with the one at the left. The result
// differs from a single run's, since a tile does not see beyond its border; it
// is diffusers' tiled_decode and tiled_encode:
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/models/autoencoders/autoencoder_kl.py#L364
func (t Tiles) Run(x Image, run func(tile Image) (Image, error)) (Image, error) {
	if t.In < 4 || t.Out < 4 || t.In%4 != 0 || t.Out%4 != 0 || (t.In%t.Out != 0 && t.Out%t.In != 0) {
		return Image{}, fmt.Errorf("tiles of %d to %d: want multiples of 4, one a multiple of the other", t.In, t.Out)
	}
	step, blend, limit := t.In/4*3, t.Out/4, t.Out/4*3
	whole := Image{N: x.N, H: x.H * t.Out / t.In, W: x.W * t.Out / t.In}
	var above []Image // the row of tiles above, blended
	for top, y := 0, 0; y < whole.H; top, y = top+step, y+limit {
		var row []Image
		for left, at := 0, 0; at < whole.W; left, at = left+step, at+limit {
			in := x.crop(top, left, min(t.In, x.H-top), min(t.In, x.W-left))
			tile, err := run(in)
			if err != nil {
				return Image{}, err
			}
			if wantH, wantW := in.H*t.Out/t.In, in.W*t.Out/t.In; tile.N != x.N || tile.H != wantH || tile.W != wantW || len(tile.Data) != tile.N*tile.C*tile.H*tile.W {
				return Image{}, fmt.Errorf("a tile of %d×%d became %d images of %d×%d, want %d of %d×%d", in.H, in.W, tile.N, tile.H, tile.W, x.N, wantH, wantW)
			}
			if whole.Data == nil {
				whole.C = tile.C
				whole.Data = make([]float32, whole.N*whole.C*whole.H*whole.W)
			}
			if top > 0 {
				blendBelow(above[len(row)], tile, blend)
			}
			if left > 0 {
				blendRight(row[len(row)-1], tile, blend)
			}
			whole.paste(tile, y, at, limit)
			row = append(row, tile)
		}
		above = row
	}
	return whole, nil
}

// crop copies a rectangle out.
func (x Image) crop(top, left, h, w int) Image {
	tile := Image{Data: make([]float32, x.N*x.C*h*w), N: x.N, C: x.C, H: h, W: w}
	for plane := range x.N * x.C {
		for i := range h {
			copy(tile.Data[(plane*h+i)*w:][:w], x.Data[(plane*x.H+top+i)*x.W+left:])
		}
	}
	return tile
}

// paste copies at most limit rows and columns of a tile into x.
func (x Image) paste(tile Image, top, left, limit int) {
	h, w := min(tile.H, limit, x.H-top), min(tile.W, limit, x.W-left)
	for plane := range x.N * x.C {
		for i := range h {
			copy(x.Data[(plane*x.H+top+i)*x.W+left:][:w], tile.Data[(plane*tile.H+i)*tile.W:])
		}
	}
}

// blendBelow fades the last rows of above into the first ones of tile.
func blendBelow(above, tile Image, extent int) {
	extent = min(tile.H, extent)
	for plane := range tile.N * tile.C {
		for i := range extent {
			a := above.Data[(plane*above.H+above.H-extent+i)*above.W:]
			fade(a[:tile.W], tile.Data[(plane*tile.H+i)*tile.W:], i, extent)
		}
	}
}

// blendRight fades the last columns of left into the first ones of tile.
func blendRight(left, tile Image, extent int) {
	extent = min(tile.W, extent)
	for line := range tile.N * tile.C * tile.H {
		a, b := left.Data[(line+1)*left.W-extent:], tile.Data[line*tile.W:]
		for i := range extent {
			fade(a[i:i+1], b[i:], i, extent)
		}
	}
}

// fade sets b to a·(1 − i/extent) + b·i/extent.
func fade(a, b []float32, i, extent int) {
	share := float64(i) / float64(extent)
	for k, x := range a {
		b[k] = x*float32(1-share) + b[k]*float32(share)
	}
}
