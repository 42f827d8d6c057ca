package main

import (
	"context"
	"fmt"
	"math"
	"math/bits"

	"immiscible/datasets"
	"immiscible/datasets/rng"
	"immiscible/pipeline/npy"
)

// assignImages are images to pair with noise.
type assignImages struct {
	Name   string
	X      []float32 // [N, Dim]
	N, Dim int
	Labels []int64 // [N]; nil: there are none
}

// madeUp lists the kinds of images that madeUpImages makes.
const madeUp = "latents, clusters, heavy or gaussian"

// madeUpImages draws n images of dim numbers; image i is a function of the seed
// and i. Numbers have standard deviation std.
//
//	latents   4 channels of a square whose spectrum falls as 1/(0.05 + frequency), as VAE latents' does
//	clusters  ten classes: a tenth of the variance is within them
//	heavy     independent numbers, each image × a log-normal factor with σ = 2
//	gaussian  independent numbers
func madeUpImages(kind string, n, dim int, std float64, seed uint64) (*assignImages, error) {
	a := &assignImages{Name: kind, X: make([]float32, n*dim), N: n, Dim: dim}
	side := int(math.Sqrt(float64(dim / 4)))
	if kind == "latents" && (4*side*side != dim || bits.OnesCount(uint(side)) != 1) {
		return nil, usagef("-data latents -dim %d, want 4 × a square of side 1, 2, 4, 8, …: 1024, 4096, 16384", dim)
	}
	var centres []float32
	switch kind {
	case "clusters":
		centres = make([]float32, 10*dim)
		rng.New(seed, "images/centres", 0).FillNormal(centres)
		a.Labels = make([]int64, n)
	case "latents", "heavy", "gaussian":
	default:
		return nil, usagef("-data %q, want %s", kind, madeUp)
	}
	for i := range n {
		draws := rng.New(seed, "images", uint64(i))
		row := a.X[i*dim : (i+1)*dim]
		factor := std
		switch kind {
		case "latents":
			for c := 0; c < 4; c += 2 {
				smoothFields(row[c*side*side:], side, draws)
			}
		case "clusters":
			label := draws.Intn(10)
			a.Labels[i] = int64(label)
			draws.FillNormal(row)
			for k := range row {
				row[k] = float32(math.Sqrt(0.1))*row[k] + float32(math.Sqrt(0.9))*centres[label*dim+k]
			}
		case "heavy":
			factor *= math.Exp(2 * draws.Normal())
			draws.FillNormal(row)
		default:
			draws.FillNormal(row)
		}
		for k := range row {
			row[k] *= float32(factor)
		}
	}
	return a, nil
}

// smoothFields fills two independent fields [side, side] of variance 1: the real
// and the imaginary part of a field whose Fourier coefficients are independent.
func smoothFields(dst []float32, side int, draws *rng.Stream) {
	field := make([]complex128, side*side)
	power := 0.0
	frequency := func(k int) float64 { return float64(min(k, side-k)) / float64(side) }
	for i := range field {
		amplitude := 1 / (0.05 + math.Hypot(frequency(i/side), frequency(i%side)))
		power += amplitude * amplitude
		field[i] = complex(amplitude*draws.Normal(), amplitude*draws.Normal())
	}
	for range 2 { // rows, then, transposed, columns
		for i := range side {
			fourier(field[i*side : (i+1)*side])
		}
		for i := range side {
			for j := range i {
				field[i*side+j], field[j*side+i] = field[j*side+i], field[i*side+j]
			}
		}
	}
	unit := 1 / math.Sqrt(power)
	for i, v := range field {
		dst[i], dst[side*side+i] = float32(unit*real(v)), float32(unit*imag(v))
	}
}

// fourier is the discrete Fourier transform, in place, of a power of two numbers
// (J. Cooley, J. Tukey, Math. Comp. 19 (1965) 297–301).
func fourier(x []complex128) {
	n := len(x)
	if n == 1 {
		return
	}
	even, odd := make([]complex128, n/2), make([]complex128, n/2)
	for i := range n / 2 {
		even[i], odd[i] = x[2*i], x[2*i+1]
	}
	fourier(even)
	fourier(odd)
	for i := range n / 2 {
		sin, cos := math.Sincos(-2 * math.Pi * float64(i) / float64(n))
		turned := odd[i] * complex(cos, sin)
		x[i], x[n/2+i] = even[i]+turned, even[i]-turned
	}
}

// embeddedImages are the first n images of the embedded Fashion-MNIST set in the
// order of a seed, 28×28 in [−1, 1]; 0: all.
func embeddedImages(ctx context.Context, n int, seed uint64) (*assignImages, error) {
	data, err := datasets.Open(ctx, datasets.Options{Channels: 1, Resolution: 28, NumClasses: 10, Seed: seed})
	if err != nil {
		return nil, err
	}
	defer data.Close()
	if n == 0 {
		n = data.Len()
	}
	if n > data.Len() {
		return nil, usagef("-n %d, and the embedded set has %d images: want at most as many", n, data.Len())
	}
	loader := data.Loader(0, n)
	defer loader.Close()
	b, err := loader.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &assignImages{Name: "fashion-mnist", X: b.Pixels, N: n, Dim: len(b.Pixels) / n, Labels: b.Labels}, nil
}

// readImages reads the first n rows of an .npy file [N, any shape] and their
// labels [N], if there are any; n = 0: all.
func readImages(path, labelsPath string, n int) (*assignImages, error) {
	images, err := npy.Read(path)
	if err != nil {
		return nil, err
	}
	if len(images.Shape) < 2 || images.Shape[0] < 2 {
		return nil, fmt.Errorf("%s: shape %v, want an image a row and two at least", path, images.Shape)
	}
	x, err := images.Float32()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := &assignImages{Name: path, N: images.Shape[0], Dim: len(x) / images.Shape[0]}
	if a.Dim == 0 {
		return nil, fmt.Errorf("%s: shape %v holds no numbers", path, images.Shape)
	}
	for i, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("%s: entry %s is %v, want a finite number", path, images.Index(i), v)
		}
	}
	if labelsPath != "" {
		labels, err := npy.Read(labelsPath)
		if err != nil {
			return nil, err
		}
		if a.Labels, err = labels.Int64(); err != nil {
			return nil, fmt.Errorf("%s: %w", labelsPath, err)
		}
		if len(labels.Shape) != 1 || len(a.Labels) != a.N {
			return nil, fmt.Errorf("%s: shape %v, want [%d]: a label for each image of %s", labelsPath, labels.Shape, a.N, path)
		}
		for i, label := range a.Labels {
			if label < 0 || label >= 1<<20 {
				return nil, fmt.Errorf("%s: entry [%d] is %d, want a class from 0 up", labelsPath, i, label)
			}
		}
	}
	if n > a.N {
		return nil, usagef("-n %d, and %s has %d images: want at most as many", n, path, a.N)
	}
	if n > 0 {
		a.N = n
	}
	a.X = x[:a.N*a.Dim]
	if a.Labels != nil {
		a.Labels = a.Labels[:a.N]
	}
	return a, nil
}
