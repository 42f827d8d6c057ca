package vae

import (
	"errors"
	"math"
	"slices"
	"testing"
)

// The posterior's sample and the denoiser's latents are diffusers', and Unscale
// is Scale's inverse. 1e-6 is a few roundings of float32.
func TestGoldenLatents(t *testing.T) {
	for _, dir := range folders(t) {
		g := openGolden(t, dir)
		draw := g.vectors["draw"]
		z := slices.Clone(draw.Data)
		if err := Sample(z, g.vectors["moments"].Data, z, draw.N); err != nil {
			t.Fatal(err)
		}
		within(t, dir+": posterior", z, g.vectors["posterior"].Data, 1e-6)
		g.Scale(z, draw.N)
		within(t, dir+": latents", z, g.vectors["latents"].Data, 1e-6)
		g.Unscale(z, draw.N)
		within(t, dir+": unscaled", z, g.vectors["posterior"].Data, 1e-6)
	}
}

// Variances beyond diffusers' bounds are clamped, and no draw means the mean.
func TestSampleBounds(t *testing.T) {
	moments := []float32{1, 2, 3, -100, 100, 0, 4, 5, 6, 0, 0, 0} // two images of three latents
	draw := []float32{1, 1, 1, 0, -1, 2}
	got := make([]float32, 6)
	if err := Sample(got, moments, draw, 2); err != nil {
		t.Fatal(err)
	}
	want := []float32{1 + float32(math.Exp(-15)), 2 + float32(math.Exp(10)), 4, 4, 4, 8}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := Sample(got, moments, nil, 2); err != nil || !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("without a draw: got %v, %v, want the means", got, err)
	}
	for _, err := range []error{Sample(got, moments, draw[:5], 2), Sample(got[:5], moments, nil, 2), Sample(got, moments, nil, 5), Sample(got, moments, nil, 0)} {
		if err == nil {
			t.Error("sizes that do not fit were accepted")
		}
	}
}

// Tiles of diffusers' size, blended as diffusers blends them, give its tiled
// results; its whole results are something else.
func TestGoldenTiles(t *testing.T) {
	g := openGolden(t, "testdata/tiles")
	for _, part := range []struct {
		decode  bool
		tiles   Tiles
		in, out string
		runs    int
	}{
		{false, g.EncodeTiles(), "tiled_sample", "tiled_moments", 9},
		{true, g.DecodeTiles(), "tiled_latent_sample", "tiled_decoded", 9},
	} {
		in, want, runs := g.vectors[part.in], g.vectors[part.out], 0
		if part.tiles.Fits(in.H, in.W) {
			t.Fatalf("%s: %d×%d fits a tile of %d", part.in, in.H, in.W, part.tiles.In)
		}
		got, err := part.tiles.Run(in, func(tile Image) (Image, error) {
			runs++
			return g.run(t, part.decode, tile, false), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.N != want.N || got.C != want.C || got.H != want.H || got.W != want.W || runs != part.runs {
			t.Errorf("%s: %d×%d×%d×%d in %d runs, want %d×%d×%d×%d in %d", part.out, got.N, got.C, got.H, got.W, runs, want.N, want.C, want.H, want.W, part.runs)
		}
		within(t, part.out, got.Data, want.Data, 1e-5)
	}
}

// Where tiles agree with each other, the whole is seamless: repeating pixels,
// or averaging blocks of them, gives the same with and without tiles, to the
// rounding of a blend's two weights.
func TestTilesOfLocalMaps(t *testing.T) {
	repeat := func(x Image) (Image, error) { // each latent to 2×2 pixels
		y := Image{Data: make([]float32, 4*len(x.Data)), N: x.N, C: x.C, H: 2 * x.H, W: 2 * x.W}
		for i := range y.Data {
			plane, row, column := i/(y.H*y.W), i/y.W%y.H, i%y.W
			y.Data[i] = x.Data[(plane*x.H+row/2)*x.W+column/2]
		}
		return y, nil
	}
	mean := func(x Image) (Image, error) {
		y := Image{Data: make([]float32, x.N*x.C*(x.H/2)*(x.W/2)), N: x.N, C: x.C, H: x.H / 2, W: x.W / 2}
		for i := range y.Data {
			plane, row, column := i/(y.H*y.W), i/y.W%y.H, i%y.W
			at := (plane*x.H+2*row)*x.W + 2*column
			y.Data[i] = (x.Data[at] + x.Data[at+1] + x.Data[at+x.W] + x.Data[at+x.W+1]) / 4
		}
		return y, nil
	}
	for _, size := range [][2]int{{1, 30}, {8, 8}, {9, 8}, {25, 14}, {31, 19}} {
		x := Image{N: 2, C: 3, H: size[0], W: size[1]}
		x.Data = make([]float32, x.N*x.C*x.H*x.W)
		for i := range x.Data {
			x.Data[i] = float32(math.Sin(float64(i * i)))
		}
		for _, c := range []struct {
			tiles Tiles
			run   func(Image) (Image, error)
		}{{Tiles{8, 16}, repeat}, {Tiles{16, 8}, mean}} {
			want, _ := c.run(x)
			got, err := c.tiles.Run(x, c.run)
			if err != nil || got.H != want.H || got.W != want.W {
				t.Fatalf("%v, %v: %d×%d, %v, want %d×%d", size, c.tiles, got.H, got.W, err, want.H, want.W)
			}
			if len(want.Data) > 0 {
				within(t, "tiles", got.Data, want.Data, 1e-6)
			}
		}
	}
}

func TestTilesErrors(t *testing.T) {
	x := Image{Data: make([]float32, 100), N: 1, C: 1, H: 10, W: 10}
	same := func(x Image) (Image, error) { return x, nil }
	if _, err := (Tiles{6, 12}).Run(x, same); err == nil || err.Error() != "tiles of 6 to 12: want multiples of 4, one a multiple of the other" {
		t.Errorf("got %v", err)
	}
	if _, err := (Tiles{8, 16}).Run(x, same); err == nil || err.Error() != "a tile of 8×8 became 1 images of 8×8, want 1 of 16×16" {
		t.Errorf("got %v", err)
	}
	failed := errors.New("out of memory")
	if _, err := (Tiles{8, 16}).Run(x, func(Image) (Image, error) { return Image{}, failed }); err != failed {
		t.Errorf("got %v, want run's error", err)
	}
}
