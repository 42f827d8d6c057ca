package pipeline

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"immiscible/datasets"
	"immiscible/datasets/rng"
	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/pipeline/diffusion"
)

// The order law: the number of decoding workers and of batches made ahead
// changes no bit.
func TestWorkersAndPrefetchChangeNoBit(t *testing.T) {
	source := plainSource(t)
	run := func(workers, prefetch string) string {
		return train(t, "", append(tinySets(source, everyDraw...), "train.max_steps=8", "data.workers="+workers, "data.prefetch="+prefetch))
	}
	want := run("1", "1")
	for _, other := range [][2]string{{"4", "1"}, {"4", "8"}} {
		got := run(other[0], other[1])
		for _, part := range []string{"unet", "unet_ema", "samples"} {
			at := "checkpoint-8/" + part
			if part == "samples" {
				at = part
			}
			sameFiles(t, want+"/"+at, got+"/"+at)
		}
		// optimizer.safetensors and trainer_state.json hold the moments and the
		// position; the state's config_digest differs, as the settings do.
		if files(t, want+"/checkpoint-8")["optimizer.safetensors"] != files(t, got+"/checkpoint-8")["optimizer.safetensors"] {
			t.Errorf("workers and prefetch %s: the moments differ", other)
		}
		if w, g := untimed(t, readLog(t, want)), untimed(t, readLog(t, got)); w != g {
			t.Errorf("workers and prefetch %s: the log is\n%swant\n%s", other, g, w)
		}
	}
}

// How a batch is cut into micro-batches changes neither its examples nor its
// draws. Not to the bit: gradients are summed over the batch in another order,
// and float32 addition is not associative; 1e-5 is the design's bound for
// agreement of outputs.
func TestMicroBatchChangesNoDraw(t *testing.T) {
	source := plainSource(t)
	sets := append(tinySets(source, everyDraw...), "train.max_steps=8")
	four, eight := readLog(t, train(t, "", sets)), readLog(t, train(t, "", append(sets, "train.micro_batch=8")))
	for i := range four {
		a, b := four[i], eight[i]
		if a.DistanceBefore != b.DistanceBefore || a.DistanceAfter != b.DistanceAfter || a.LR != b.LR || a.SkippedRecords != b.SkippedRecords {
			t.Errorf("step %d: %+v as 2 × 4, %+v as 1 × 8", i+1, a, b)
		}
		if d := math.Abs(float64(a.Loss-b.Loss)) / float64(b.Loss); !(d <= 1e-5) {
			t.Errorf("step %d: losses %v and %v differ by %.1e", i+1, a.Loss, b.Loss, d)
		}
	}
}

// An image does not depend on how many others are in its batch, down to the bits
// of the model's output: that is why generated files do not depend on -batch.
// It holds from two images on, and GenerateImages never runs one alone.
func TestBatchSizeChangesNoBit(t *testing.T) {
	out := train(t, "", tinySets(plainSource(t), "train.max_steps=2"))
	m, err := models.Open(filepath.Join(out, "checkpoint-2"), "unet_ema")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	config, err := diffusion.LoadConfig(m.Scheduler)
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := diffusion.New(config)
	if err != nil {
		t.Fatal(err)
	}
	const most = 33
	batch, labels := make([]float32, most*64), make([]int64, most)
	for i := range most {
		rng.New(1, "batch", uint64(i)).FillNormal(batch[i*64 : (i+1)*64])
		labels[i] = int64(i % 5)
	}
	var want []float32
	for _, n := range []int{most, 2, 3, 4, 5, 8, 16, 32} {
		g, state, err := loadGenerator(enginetest.Open(t), m, schedule, GraphOptions{Batch: n, Height: 8, Width: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		defer g.Close()
		e, err := g.evaluator(evaluatorKind{rows: n})
		if err == nil {
			err = e.labels.SetInt64(labels[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.run(t.Context(), batch[:n*64], 1, 500)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want[:n*64]) {
			t.Errorf("in a batch of %d the output is not the same as in one of %d", n, most)
		}
	}
}

// inputs is what a training graph is fed for a batch, by input and position.
type inputs map[string]map[int64][]float32

// feedOf makes the inputs of the first batches under a configuration.
func feedOf(t *testing.T, batches int, sets []string) inputs {
	t.Helper()
	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSubject(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	data, err := datasets.Open(t.Context(), c.dataOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	tr, err := newTrainer(openEngine(t, "standard"), c, s, false) // which is fed its masks
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	pairs := startPools(t.Context(), &source{config: c, data: data}, &chooser{config: c}, 0)
	defer pairs.close()
	all := inputs{}
	size := c.Train.MicroBatch
	var p *pool
	for at := int64(0); at < int64(batches*c.Train.BatchSize); at += int64(size) {
		if p == nil || at >= p.position+int64(p.n) {
			if p, err = pairs.next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.feed.fill(t.Context(), tr.step, p, int(at-p.position), size, 1); err != nil {
			t.Fatal(err)
		}
		if err := tr.step.feed.Deliver(); err != nil {
			t.Fatal(err)
		}
		for name, tensor := range tr.step.inputs {
			if tensor.Len()%size != 0 {
				continue // loss_scale
			}
			if all[name] == nil {
				all[name] = map[int64][]float32{}
			}
			row := tensor.Len() / size
			for i := range size {
				values := make([]float32, row)
				switch {
				case tensor.DType() == engine.Int64:
					values[0] = float32(tensor.GetInt64()[i])
				case tensor.Bytes() == int64(tensor.Len()): // a dropout mask
					raw := make([]byte, tensor.Bytes())
					if err := tensor.Download(raw); err != nil {
						t.Fatal(err)
					}
					for k := range values {
						values[k] = float32(raw[i*row+k])
					}
				default:
					copy(values, tensor.GetFloat32()[i*row:])
				}
				all[name][at+int64(i)] = values
			}
		}
	}
	return all
}

// Runs that differ in their pairing see the same images, labels, timesteps and
// masks, and linear assignment hands out the very draws that an independent run
// uses, in another order: what differs between two such runs is the pairing
// alone. The cut into micro-batches changes nothing at all.
func TestPairingChangesNothingButNoise(t *testing.T) {
	source := plainSource(t)
	sets := tinySets(source, "model.unet.dropout=0.1", "train.conditioning_dropout=0.2")
	const batches = 8 // two pools, into the second epoch
	linear := feedOf(t, batches, sets)
	if got := slices.Sorted(maps.Keys(linear)); len(got) < 6 || len(linear["sample"]) != 8*batches {
		t.Fatalf("inputs %q of %d positions", got, len(linear["sample"]))
	}
	same := func(what string, other inputs, but string) {
		t.Helper()
		for name, rows := range linear {
			for at, row := range rows {
				if name != but && !slices.Equal(row, other[name][at]) {
					t.Fatalf("%s: %s of position %d differs", what, name, at)
				}
			}
		}
	}
	same("micro_batch 8", feedOf(t, batches, append(sets, "train.micro_batch=8")), "")
	independent := feedOf(t, batches, append(sets, "noise.pairing=independent", "noise.per_class=false"))
	same("independent", independent, "noise")
	same("knn", feedOf(t, batches, append(sets, "noise.pairing=knn", "noise.per_class=false")), "noise")

	moved := 0
	for first := int64(0); first < 8*batches; first += 32 {
		var ours, theirs [][]float32
		for at := first; at < first+32; at++ {
			ours, theirs = append(ours, linear["noise"][at]), append(theirs, independent["noise"][at])
			if !slices.Equal(linear["noise"][at], independent["noise"][at]) {
				moved++
			}
		}
		slices.SortFunc(ours, slices.Compare)
		slices.SortFunc(theirs, slices.Compare)
		if !slices.EqualFunc(ours, theirs, slices.Equal) {
			t.Errorf("the pool at %d does not hold its own draws", first)
		}
	}
	if moved == 0 {
		t.Error("the assignment moved nothing")
	}
}
