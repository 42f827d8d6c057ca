package pipeline

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/assign"
	"immiscible/datasets"
	"immiscible/datasets/rng"
)

// pairingConfig is the default configuration with sets laid over it.
func pairingConfig(t *testing.T, sets ...string) Config {
	t.Helper()
	c, err := LoadConfig("", "", sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pairingPool is a pool of positions from … from+n of made-up images: four
// classes with means of their own, and a mean that all share.
func pairingPool(from int64, n, dim int) *pool {
	p := &pool{position: from, n: n, dim: dim, images: make([]float32, n*dim), noise: make([]float32, n*dim), labels: make([]int64, n)}
	for i := range n {
		at := uint64(from) + uint64(i)
		row := p.images[i*dim : (i+1)*dim]
		rng.New(3, "image", at).FillNormal(row)
		p.labels[i] = int64(at % 4)
		row[0] += 2
		row[1+p.labels[i]] += 3
	}
	return p
}

// chosen is the pool with its noise under a configuration.
func chosen(t *testing.T, ch *chooser, from int64, n, dim int) *pool {
	t.Helper()
	p := pairingPool(from, n, dim)
	if err := ch.choose(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// At k = 1, from the start or where annealing ends, the noise is that of
// independent pairing, bit for bit, centred and whitened or not.
func TestKNNOneIsIndependent(t *testing.T) {
	const n, dim = 12, 30
	want := chosen(t, &chooser{config: pairingConfig(t, "noise.pairing=independent")}, 6400, n, dim)
	d := &assign.Directions{Dim: dim, Means: make([]float32, dim)}
	for _, sets := range [][]string{
		{"noise.knn_k=1"}, {"noise.knn_k=1", "noise.knn_score=dot", "noise.center=global"},
		{"noise.knn_k=64", "noise.anneal_steps=100"}, {"noise.knn_k=64", "noise.knn_score=dot", "noise.anneal_steps=99", "noise.center=global"},
	} {
		got := chosen(t, &chooser{config: pairingConfig(t, append(sets, "noise.pairing=knn")...), directions: d}, 6400, n, dim)
		if !slices.Equal(got.noise, want.noise) {
			t.Errorf("%v: not the independent noise", sets)
		}
	}
	early := chosen(t, &chooser{config: pairingConfig(t, "noise.pairing=knn", "noise.knn_k=64", "noise.anneal_steps=200")}, 6400, n, dim)
	if slices.Equal(early.noise, want.noise) {
		t.Error("at k above 1 the noise is independent")
	}
}

// Annealing follows the step, whatever pool a position is in: order law.
func TestKNNPools(t *testing.T) {
	const dim = 20
	ch := &chooser{config: pairingConfig(t, "noise.pairing=knn", "noise.knn_k=64", "noise.anneal_steps=4", "train.batch_size=8")}
	whole := chosen(t, ch, 0, 40, dim)
	for from := int64(0); from < 40; from += 5 {
		part := chosen(t, ch, from, 5, dim)
		if !slices.Equal(part.noise, whole.noise[from*dim:(from+5)*dim]) {
			t.Errorf("positions %d…%d have other noise in a pool of their own", from, from+4)
		}
	}
}

// Linear pairing lets go image by image: at step 0 it is the whole pairing, from
// anneal_steps on none, and in between the share of images that keep their own
// draw is binomial, and the multiset of draws stays.
func TestLinearAnneals(t *testing.T) {
	const n, dim, batch = 512, 40, 64
	for _, class := range []string{"false", "true"} {
		base := []string{"noise.pool_size=512", "noise.per_class=" + class}
		plain := &chooser{config: pairingConfig(t, base...)}
		annealed := &chooser{config: pairingConfig(t, append(base, "noise.anneal_steps=1000")...)}
		for _, c := range []struct {
			from  int64
			share float64 // of independent images, at the middle of the pool
		}{{0, 0.0035}, {500*batch - n/2, 0.5}, {1000 * batch, 1}, {5000 * batch, 1}} {
			drawn := make([]float32, n*dim)
			drawNoise(drawn, uint64(annealed.config.Train.Seed), c.from, n)
			got := chosen(t, annealed, c.from, n, dim)
			kept := 0
			used := map[float32]int{}
			for i := range n {
				used[got.noise[i*dim]]++
				used[drawn[i*dim]]--
				if slices.Equal(got.noise[i*dim:(i+1)*dim], drawn[i*dim:(i+1)*dim]) {
					kept++
				}
			}
			for value, count := range used {
				if count != 0 {
					t.Fatalf("the noise that begins with %v is used %+d times too often", value, count)
				}
			}
			// Some 1 to 4 of the paired images keep their own by the solver's choice.
			if mean, deviation := c.share*n, math.Sqrt(c.share*(1-c.share)*n); float64(kept) < mean-5*deviation || float64(kept) > mean+5*deviation+15 {
				t.Errorf("per_class %s, from %d: %d of %d keep their own draw, want %v", class, c.from, kept, n, mean)
			}
			if whole := chosen(t, plain, c.from, n, dim); got.after < whole.after {
				t.Errorf("from %d: annealed distance %v is below %v", c.from, got.after, whole.after)
			}
		}
	}
}

// The flip keeps the pairing and turns the sign: images are then further from
// their noise than by chance (reading/method.md, checklist 7).
func TestFlip(t *testing.T) {
	for _, pairing := range []string{"linear", "knn"} {
		plain := chosen(t, &chooser{config: pairingConfig(t, "noise.pairing="+pairing)}, 0, 64, 50)
		flipped := chosen(t, &chooser{config: pairingConfig(t, "noise.pairing="+pairing, "noise.flip=true")}, 0, 64, 50)
		for i, x := range plain.noise {
			if flipped.noise[i] != -x {
				t.Fatalf("%s: number %d is %v, want %v", pairing, i, flipped.noise[i], -x)
			}
		}
		if flipped.before != plain.before || plain.after >= plain.before || flipped.after <= flipped.before {
			t.Errorf("%s: distances %v → %v, flipped %v → %v", pairing, plain.before, plain.after, flipped.before, flipped.after)
		}
	}
}

// The distance falls by more for larger images (paper 2, Figure 8), and scaled
// images come back from the generator's division.
func TestImageScale(t *testing.T) {
	last := 0.0
	for _, factor := range []float64{0.5, 1, 2, 4} {
		p := pairingPool(0, 128, 60)
		was := slices.Clone(p.images)
		scale(p.images, factor)
		if err := (&chooser{config: pairingConfig(t, "noise.per_class=false")}).choose(p); err != nil {
			t.Fatal(err)
		}
		if gain := p.before - p.after; gain <= last {
			t.Errorf("× %v: distance falls by %v, want more than %v", factor, gain, last)
		} else {
			last = gain
		}
		scale(p.images, 1/factor)
		if !slices.Equal(p.images, was) { // powers of two: exactly
			t.Errorf("× %v and back is not the image", factor)
		}
	}
}

// A model that was trained on scaled images says so, generates images of the
// usual size, and clips at the scaled range.
func TestImageScaleOfARun(t *testing.T) {
	c := pairingConfig(t, "noise.scale=2.5")
	if got := imageScale(c.weightsMetadata()); got != 2.5 {
		t.Errorf("the metadata say %v", got)
	}
	if got := imageScale(pairingConfig(t).weightsMetadata()); got != 1 {
		t.Errorf("without scale the metadata say %v", got)
	}
	s, err := openSubject(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if got := s.schedule.Config.ClipSampleRange; got != 2.5 {
		t.Errorf("clip_sample_range is %v", got)
	}
}

// The statistics are those of the first examples: class means by hand, variance
// along the principal directions by hand, and the same again from the file.
func TestEstimateDirections(t *testing.T) {
	const examples, dim = 600, 784
	c := pairingConfig(t, "noise.pairing=knn", "noise.center=class", "noise.whiten=6", "noise.statistics_examples=600", "noise.scale=2",
		"data.resolution=28", "data.pad=0", "model.unet.sample_size=28")
	data, err := datasets.Open(t.Context(), c.dataOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	d, err := estimateDirections(t.Context(), c, &source{config: c, data: data})
	if err != nil {
		t.Fatal(err)
	}
	sum, count := make([]float64, 10*dim), make([]float64, 10)
	rows, labels := make([]float32, 0, examples*dim), []int64{}
	for at := range int64(examples) {
		e, err := data.Example(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		count[e.Label]++
		for k, v := range e.Pixels {
			sum[int(e.Label)*dim+k] += 2 * float64(v)
			rows = append(rows, 2*v)
		}
		labels = append(labels, e.Label)
	}
	for k, m := range d.Means {
		if want := sum[k] / count[k/dim]; math.Abs(float64(m)-want) > 1e-5 {
			t.Fatalf("mean %d of class %d is %v, want %v", k%dim, k/dim, m, want)
		}
	}
	var total float64
	along := make([]float64, 6)
	for i, label := range labels {
		for k := range dim {
			v := float64(rows[i*dim+k] - d.Means[int(label)*dim+k])
			total += v * v / examples
		}
		for a := range along {
			var c float64
			for k := range dim {
				c += float64(d.Principal[a*dim+k]) * float64(rows[i*dim+k]-d.Means[int(label)*dim+k])
			}
			along[a] += c * c / examples
		}
	}
	for a, want := range along {
		if got := float64(d.Deviation[a]); math.Abs(got*got/want-1) > 1e-4 {
			t.Errorf("variance along %d is %v, want %v", a, got*got, want)
		}
		total -= want
	}
	if got := float64(d.Rest) * float64(d.Rest) * (dim - 6); math.Abs(got/total-1) > 1e-3 {
		t.Errorf("variance of the rest %v, want %v", got, total)
	}

	path := filepath.Join(t.TempDir(), statisticsFile)
	if err := writeDirections(path, d, c); err != nil {
		t.Fatal(err)
	}
	again, err := readDirections(path)
	if err != nil {
		t.Fatal(err)
	}
	same := again.Dim == d.Dim && again.Rest == d.Rest && slices.Equal(again.Means, d.Means) &&
		slices.Equal(again.Principal, d.Principal) && slices.Equal(again.Deviation, d.Deviation)
	if !same {
		t.Error("the file reads back as something else")
	}
}

// A run that goes on uses the statistics that stand beside its checkpoint, and
// refuses a file that is broken or of another size; whitening more directions
// than there are is refused.
func TestOpenChooser(t *testing.T) {
	c := pairingConfig(t, tinySets(plainSource(t), "noise.pairing=knn", "noise.center=global", "noise.whiten=3")...)
	data, err := datasets.Open(t.Context(), c.dataOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	out := t.TempDir()
	first, err := openChooser(t.Context(), c, &source{config: c, data: data}, runStart{}, out)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(out, statisticsFile)
	first.directions.Means[0] = 77
	if err := writeDirections(path, first.directions, c); err != nil {
		t.Fatal(err)
	}
	from := runStart{path: filepath.Join(out, "checkpoint-2")}
	other := t.TempDir()
	second, err := openChooser(t.Context(), c, &source{config: c, data: data}, from, other)
	if err != nil || second.directions.Means[0] != 77 {
		t.Errorf("not the statistics beside the checkpoint: %v", err)
	}
	if kept, err := readDirections(filepath.Join(other, statisticsFile)); err != nil || kept.Means[0] != 77 {
		t.Errorf("they are not kept: %v", err)
	}
	fresh, err := openChooser(t.Context(), c, &source{config: c, data: data}, runStart{}, out)
	if err != nil || fresh.directions.Means[0] == 77 {
		t.Errorf("a new run took what another left in its folder: %v", err)
	}
	small := *first.directions
	small.Dim, small.Means, small.Principal = 16, small.Means[:16], small.Principal[:48]
	if err := writeDirections(path, &small, c); err != nil {
		t.Fatal(err)
	}
	if _, err := openChooser(t.Context(), c, &source{config: c, data: data}, from, out); err == nil || !strings.Contains(err.Error(), "images of 16 numbers, and the data's have 64") {
		t.Errorf("statistics of other images: %v", err)
	}
	if err := os.WriteFile(path, []byte("torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openChooser(t.Context(), c, &source{config: c, data: data}, from, out); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a torn file: %v", err)
	}
	c.Noise.Whiten = 65
	if _, err := openChooser(t.Context(), c, &source{config: c, data: data}, runStart{}, out); err == nil || !strings.Contains(err.Error(), "[noise] whiten = 65, and an image has 64 numbers") {
		t.Errorf("65 directions of 64: %v", err)
	}
}

// The resume law with everything that KNN pairing keeps: a killed run ends in
// the bits of the run that was not.
func TestResumeOfWhitenedPairing(t *testing.T) {
	const steps = 12
	sets := tinySets(plainSource(t), "train.max_steps=12", "noise.pairing=knn", "noise.knn_score=dot", "noise.knn_k=64",
		"noise.center=class", "noise.whiten=5", "noise.anneal_steps=9", "noise.scale=1.5")
	want := train(t, "", sets)
	out := filepath.Join(t.TempDir(), "run")
	killAtRandom(t, childRun{Sets: sets, Out: out}, steps)
	train(t, out, sets)
	sameRun(t, want, out, steps)
	if log := readLog(t, want); log[0].DistanceAfter == log[0].DistanceBefore || log[11].DistanceAfter != log[11].DistanceBefore {
		t.Errorf("distances %v → %v at the start, %v → %v at the end: want the strength to fall to nothing",
			log[0].DistanceBefore, log[0].DistanceAfter, log[11].DistanceBefore, log[11].DistanceAfter)
	}
}

// The law of design §7's table on made-up images, through the configuration:
// what the choice along the image itself does to the noise, and what centring
// and whitening repair. Bounds are 5 standard errors.
func TestMeasurePairing(t *testing.T) {
	const n, dim = 4000, 40
	p := pairingPool(0, n, dim)
	for i := range n {
		p.images[i*dim+7] *= 6 // a leading direction
	}
	measure := func(rounds int, sets ...string) *PairingLaw {
		c := pairingConfig(t, append(sets, "noise.knn_k=64", "noise.knn_score=dot", "data.num_classes=4", "noise.pool_size=512")...)
		l, err := MeasurePairing(c, p.images, n, dim, p.labels, rounds)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	off := func(e assign.Estimate, want float64) bool { return !(math.Abs(e.Value-want) <= 5*e.Error) }

	none := measure(8, "noise.pairing=independent")
	if off(none.MeanShift, 0) || off(none.LeadingVariance[0], 1) || off(none.ClassProbe, 0.25) || none.KSP < 1e-6 || none.Clusters[1].Value > 3*none.Clusters[1].Error {
		t.Errorf("independent: %+v", none.Law)
	}
	if none.Distance != none.Before {
		t.Errorf("independent: distance %v → %v", none.Before, none.Distance)
	}
	raw := measure(0, "noise.pairing=knn")
	if raw.MeanShift.Value < 0.1 || raw.LeadingVariance[0].Value < 1.5 || raw.ClassProbe.Value < 0.27 {
		t.Errorf("along the image: %+v, want shift, stretch and bias", raw.Law)
	}
	white := measure(16, "noise.pairing=knn", "noise.center=class", "noise.whiten=1")
	if off(white.MeanShift, 0) || math.Abs(white.LeadingVariance[0].Value-1) > 0.3 || off(white.ClassProbe, 0.25) {
		t.Errorf("centred and whitened: %+v", white.Law)
	}
	if white.AlongResidual.Value < 1.2 || white.Distance.Value >= white.Before.Value || white.Clusters[1].Value < 5*white.Clusters[1].Error {
		t.Errorf("centred and whitened: %+v, want noise that leans to its image", white)
	}
	linear := measure(0, "noise.per_class=true")
	if off(linear.MeanShift, 0) || off(linear.SecondMoment, 1) || off(linear.ClassProbe, 0.25) || linear.PoolSize != 512 {
		t.Errorf("linear within class: %+v", linear.Law)
	}
}
