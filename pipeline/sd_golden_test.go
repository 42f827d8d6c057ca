package pipeline

import (
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"immiscible/pipeline/npy"
)

// sdTiny is a Stable Diffusion pipeline made by tools/golden/sd_pipeline.py.
const sdTiny = "testdata/sd-tiny"

// sdImages are diffusers' pictures of sdTiny.
type sdImages struct {
	tensors
	Prompts []string
	Cases   map[string]struct {
		Sampler, Negative string
		Steps             int
		Guidance          float64
	}
}

func openSDImages(t *testing.T) sdImages {
	t.Helper()
	g := sdImages{tensors: openTensors(t, "testdata/sd-tiny-images.safetensors")}
	if err := json.Unmarshal([]byte(g.file.Metadata["made_by"]), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Prompts) != 3 || len(g.Cases) < 7 {
		t.Fatalf("%d prompts, %d cases, want 3 and 7: run tools/golden/sd_pipeline.py", len(g.Prompts), len(g.Cases))
	}
	return g
}

// sdOptions are the options of GenerateImages for sdTiny.
func sdOptions(out string) ImagesOptions {
	return ImagesOptions{Model: sdTiny, Out: out, PerClass: 1, Steps: 10, Guidance: math.NaN(), Weights: "ema", Messages: io.Discard}
}

// readPicture is a PNG's pixels, [C, H, W].
func readPicture(t *testing.T, path string) []uint8 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds().Size()
	pixels := make([]uint8, 3*size.X*size.Y)
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := picture.At(x, y).RGBA()
			for c, v := range []uint32{r, g, b} {
				pixels[(c*size.Y+y)*size.X+x] = uint8(v >> 8)
			}
		}
	}
	return pixels
}

// Every picture that diffusers makes of a whole pipeline (tokenizer, text
// encoder, U-Net with guidance, sampler, VAE) from given noise, within 1/255.
func TestGoldenStableDiffusion(t *testing.T) {
	g := openSDImages(t)
	latents := filepath.Join(t.TempDir(), "latents.npy")
	f, err := os.Create(latents)
	if err == nil {
		err = npy.Encode(f, []int{3, 4, 8, 8}, g.float32s("latents"))
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	for name, c := range g.Cases {
		t.Run(name, func(t *testing.T) {
			o := sdOptions(filepath.Join(t.TempDir(), "images"))
			o.Prompts, o.Negative, o.Sampler, o.Steps, o.Guidance, o.Latents = g.Prompts, c.Negative, c.Sampler, c.Steps, c.Guidance, latents
			if err := GenerateImages(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			want, err := g.file.Bytes(g.lookup(name))
			if err != nil {
				t.Fatal(err)
			}
			var got []uint8
			for i := range g.Prompts {
				got = append(got, readPicture(t, filepath.Join(o.Out, fmt.Sprintf("prompt-%05d-00000.png", i)))...)
			}
			if len(got) != len(want) {
				t.Fatalf("%d pixels, want %d", len(got), len(want))
			}
			other := 0
			for i, x := range got {
				switch d := math.Abs(float64(x) - float64(want[i])); {
				case d > 1:
					t.Fatalf("pixel %d is %d, want %d within 1", i, x, want[i])
				case d > 0:
					other++
				}
			}
			t.Logf("%d of %d pixels are off by 1", other, len(got))
		})
	}
}

// What a run on class names leaves generates classes with the names and the
// template of the training, from the moving average.
func TestTrainedClassesGenerate(t *testing.T) {
	model := filepath.Join(train(t, "", sdSets(t, "train.max_steps=2")), "checkpoint-2")
	o := sdOptions(filepath.Join(t.TempDir(), "images"))
	o.Model, o.Steps, o.PerClass = model, 2, 6
	if err := GenerateImages(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	have, order, err := readManifest(o.Out)
	if err != nil || len(order) != 24 {
		t.Fatalf("%d images (%v), want 6 of each of 4 classes", len(order), err)
	}
	prompts := map[string]int{}
	for _, r := range have {
		prompts[fmt.Sprintf("%d %s %s", *r.Class, *r.Prompt, r.Weights)]++
	}
	if prompts["0 a bag ema"] != 6 || prompts["3 a crane ema"] != 6 || prompts["1 a shoe ema"] == 0 || prompts["1 a shoe ema"]+prompts["1 a boot ema"] != 6 {
		t.Errorf("prompts %v", prompts)
	}
}
