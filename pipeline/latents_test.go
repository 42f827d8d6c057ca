package pipeline

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models"
	"immiscible/models/engine/enginetest"
	"immiscible/models/safetensors"
	"immiscible/models/vae"
)

// goldenVAEs holds diffusers' autoencoders with PyTorch's vectors, made by
// tools/golden/vae.py.
const goldenVAEs = "../models/vae/testdata"

// openVAE is a pipeline folder's model with nothing but that autoencoder.
func openVAE(t *testing.T, name string) (*models.Model, tensors) {
	t.Helper()
	dir := filepath.Join(goldenVAEs, name)
	c, err := vae.LoadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	file := weightsFile
	if name == "half" {
		file = "diffusion_pytorch_model.fp16.safetensors"
	}
	f, err := safetensors.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &models.Model{Dir: dir, VAE: &c, VAEWeights: f}, openTensors(t, filepath.Join(dir, "vectors.safetensors"))
}

func newTestAutoencoder(t *testing.T, m *models.Model, batch, h, w int) *Autoencoder {
	t.Helper()
	a, err := newAutoencoder(enginetest.Open(t), m, batch, h, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// clamped is what Decode makes of a decoder's output.
func clamped(x []float32) []float32 {
	for i := range x {
		x[i] = min(max(x[i], -1), 1)
	}
	return x
}

// Images to moments, moments to a denoiser's latents, and latents to images are
// diffusers', whatever the batch: 1e-5 is issue 5's bound.
func TestGoldenAutoencoder(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"sd", "tiles", "half", "single"} {
		t.Run(name, func(t *testing.T) {
			m, v := openVAE(t, name)
			shape := v.lookup("sample").Shape
			for _, batch := range []int{1, 2, 3} {
				a := newTestAutoencoder(t, m, batch, int(shape[2]), int(shape[3]))
				moments, err := a.Encode(ctx, v.float32s("sample"))
				if err != nil {
					t.Fatal(err)
				}
				within(t, "moments", moments, v.float32s("moments"), 1e-5)
				latents, err := a.Latents(moments, v.float32s("draw"))
				if err != nil {
					t.Fatal(err)
				}
				within(t, "latents", latents, v.float32s("latents"), 1e-5)
				channels, h, w := a.LatentShape()
				if got, want := []int64{2, int64(channels), int64(h), int64(w)}, v.lookup("draw").Shape; !slices.Equal(got, want) {
					t.Errorf("latents of %v, want %v", got, want)
				}
				z := v.float32s("latent_sample")
				a.Config.Scale(z, 2)
				given := slices.Clone(z)
				pixels, err := a.Decode(ctx, z)
				if err != nil {
					t.Fatal(err)
				}
				within(t, "decoded", pixels, clamped(v.float32s("decoded")), 1e-5)
				if !slices.Equal(z, given) {
					t.Error("Decode changed its latents")
				}
			}
		})
	}
}

// With Tiled, what is larger than a tile is diffusers' tiled result, and what is
// not is untouched by it.
func TestGoldenTiledAutoencoder(t *testing.T) {
	ctx := context.Background()
	m, v := openVAE(t, "tiles")
	shape := v.lookup("tiled_sample").Shape
	a := newTestAutoencoder(t, m, 1, int(shape[2]), int(shape[3]))
	a.Tiled = true
	moments, err := a.Encode(ctx, v.float32s("tiled_sample"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, "tiled moments", moments, v.float32s("tiled_moments"), 1e-5)
	z := v.float32s("tiled_latent_sample")
	a.Config.Scale(z, 1)
	pixels, err := a.Decode(ctx, z)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "tiled decoded", pixels, clamped(v.float32s("tiled_decoded")), 1e-5)

	shape = v.lookup("sample").Shape
	small := newTestAutoencoder(t, m, 2, int(shape[2]), int(shape[3]))
	small.Tiled = true
	if moments, err = small.Encode(ctx, v.float32s("sample")); err != nil {
		t.Fatal(err)
	}
	within(t, "moments of a small image", moments, v.float32s("moments"), 1e-5)
}

func TestAutoencoderErrors(t *testing.T) {
	e := enginetest.Open(t)
	m, v := openVAE(t, "sd")
	if _, err := newAutoencoder(e, &models.Model{Dir: "somewhere"}, 1, 16, 16); err == nil || !strings.Contains(err.Error(), "somewhere has no vae folder") {
		t.Errorf("no autoencoder: got %v", err)
	}
	if _, err := newAutoencoder(e, m, 1, 16, 20); err == nil || !strings.Contains(err.Error(), "16×20 pixels: want multiples of 8") {
		t.Errorf("16×20: got %v", err)
	}
	wider := *m.VAE
	wider.BlockOutChannels = []int{4, 4, 6, 10}
	if _, err := newAutoencoder(e, &models.Model{VAE: &wider, VAEWeights: m.VAEWeights}, 1, 16, 16); err == nil || !strings.Contains(err.Error(), "the weights do not belong to this config.json") {
		t.Errorf("other weights: got %v", err)
	}
	var entries []safetensors.Entry
	for _, w := range m.VAEWeights.Tensors {
		raw, err := m.VAEWeights.Bytes(w)
		if err != nil {
			t.Fatal(err)
		}
		if w.Name == "quant_conv.bias" {
			copy(raw[8:], []byte{0, 0, 0x80, 0x7f}) // +Inf
		}
		entries = append(entries, safetensors.Entry{Name: w.Name, DType: w.DType, Shape: w.Shape, Write: func(to io.Writer) error {
			_, err := to.Write(raw)
			return err
		}})
	}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := safetensors.Write(path, nil, entries); err != nil {
		t.Fatal(err)
	}
	broken, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	if _, err := newAutoencoder(e, &models.Model{VAE: m.VAE, VAEWeights: broken}, 1, 16, 16); err == nil || !strings.Contains(err.Error(), `tensor "quant_conv.bias" (F32) is +Inf at element 2, want finite numbers`) {
		t.Errorf("an infinite weight: got %v", err)
	}
	a := newTestAutoencoder(t, m, 1, 16, 24)
	for _, n := range []int{0, 1, len(v.float32s("sample")) - 1} {
		if _, err := a.Encode(context.Background(), make([]float32, n)); err == nil || !strings.Contains(err.Error(), "want images of 3×16×24") {
			t.Errorf("%d numbers: got %v", n, err)
		}
		if _, err := a.Decode(context.Background(), make([]float32, n)); err == nil || !strings.Contains(err.Error(), "want images of 4×2×3") {
			t.Errorf("%d latents: got %v", n, err)
		}
	}
	if _, err := a.Latents(make([]float32, 48), make([]float32, 23)); err == nil {
		t.Error("a draw of 23 numbers for 24 latents was accepted")
	}
}
