package pipeline

import (
	"math"
	"time"

	"immiscible/assign"
	"immiscible/datasets/rng"
)

// PairingLaw is what a pairing does to the noise of given images.
type PairingLaw struct {
	assign.Law                    // of the chosen noise
	Before     assign.Estimate    // distance of images and noise before the choice
	Norms      []float64          // |n| of every draw
	Along      []float64          // n·x̂ of every draw
	PairMS     Quartiles          // time of the choice for a pool, milliseconds
	PoolSize   int                // images of a pool
	Clusters   [2]assign.Estimate // see clusterDistance; independent, chosen
}

// MeasurePairing chooses noise for images [n, dim], which are not changed, as
// the training that c configures would at its first step, and measures it. Each
// image is drawn for once. labels [n] may be nil. The axes of LeadingVariance
// are the images' five leading principal directions about the means of their
// classes. With rounds > 0 the first pool is drawn for that often, for Clusters.
func MeasurePairing(c Config, images []float32, n, dim int, labels []int64, rounds int) (*PairingLaw, error) {
	images = append([]float32(nil), images...)
	scale(images, c.Noise.Scale)
	measured := labels
	if labels == nil {
		labels = make([]int64, n)
	}
	ch := &chooser{config: c}
	if c.needsDirections() {
		e := newEstimator(c, dim)
		for i := range min(n, c.Noise.StatisticsExamples) {
			if err := e.add(images[i*dim:(i+1)*dim], labels[i]); err != nil {
				return nil, err
			}
		}
		var err error
		if ch.directions, err = e.directions(); err != nil {
			return nil, err
		}
	}
	l := &PairingLaw{PoolSize: min(n, c.poolSize())}
	drawn, noise := make([]float32, n*dim), make([]float32, n*dim)
	drawNoise(drawn, uint64(c.Train.Seed), 0, n)
	var ms []float64
	for at := 0; at < n; at += l.PoolSize {
		p := poolOf(images, labels, at, min(n, at+l.PoolSize), dim)
		start := time.Now()
		if err := ch.choose(p); err != nil {
			return nil, err
		}
		ms = append(ms, time.Since(start).Seconds()*1e3)
		copy(noise[at*dim:], p.noise)
	}
	l.PairMS = QuartilesOf(ms)
	axes, err := leadingAxes(c, images, n, dim, labels)
	if err != nil {
		return nil, err
	}
	before, err := assign.Measure(images, drawn, n, dim, nil, nil)
	if err != nil {
		return nil, err
	}
	l.Before = before.Distance
	if l.Law, err = assign.Measure(images, noise, n, dim, measured, axes); err != nil {
		return nil, err
	}
	for i := range n {
		x, row := images[i*dim:(i+1)*dim], noise[i*dim:(i+1)*dim]
		l.Norms = append(l.Norms, math.Sqrt(float64(dim)*assign.SecondMoment(row)))
		l.Along = append(l.Along, assign.AlongX(x, row, nil, 1, dim))
	}
	if rounds > 0 {
		err = l.clusters(ch, images, labels, dim, rounds)
	}
	return l, err
}

// poolOf is the pool of positions [from, to).
func poolOf(images []float32, labels []int64, from, to, dim int) *pool {
	return &pool{position: int64(from), n: to - from, dim: dim, images: images[from*dim : to*dim], labels: labels[from:to],
		noise: make([]float32, (to-from)*dim)}
}

// leadingAxes are the five leading principal directions of the images about the
// means of their classes.
func leadingAxes(c Config, images []float32, n, dim int, labels []int64) ([]float32, error) {
	d := assign.Directions{Dim: dim}
	classes := 1
	for _, label := range labels {
		classes = max(classes, int(label)+1)
	}
	means := assign.NewMeans(classes, dim)
	for i := range n {
		if err := means.Add(images[i*dim:(i+1)*dim], labels[i]); err != nil {
			return nil, err
		}
	}
	d.Means = means.Rows()
	centred := make([]float32, n*dim)
	for i := range n {
		if err := d.Along(centred[i*dim:(i+1)*dim], images[i*dim:(i+1)*dim], labels[i]); err != nil {
			return nil, err
		}
	}
	axes, _, _, err := assign.Principal(centred, n, dim, min(5, dim), rng.New(uint64(c.Train.Seed), "noise_statistics", 1))
	return axes, err
}

// clusters measures paper 2's miscibility (arXiv 2505.18521, §4.2): the noises
// that fall to one image form a cluster, and the clusters' centres are apart by
// so much on average, over pairs of the first 32 images of the first pool. The
// paper reads 0.92 for independent noise, 2.17 for KNN and 4.11 for linear
// assignment. With finitely many draws centres are apart by chance alone, by
// √(2·D/draws); the estimate is made from two halves of the draws, in which
// chance differs, so that it tends to 0 for independent noise.
func (l *PairingLaw) clusters(ch *chooser, images []float32, labels []int64, dim, rounds int) error {
	n := l.PoolSize
	m := min(32, n)
	for way, config := range []Config{{}, ch.config} {
		config.Train = ch.config.Train
		var sums [2][]float64
		for half := range sums {
			sums[half] = make([]float64, m*dim)
		}
		for r := range 2 * ((rounds + 1) / 2) {
			p := poolOf(images, labels, 0, n, dim)
			config.Train.Seed = ch.config.Train.Seed + 1 + int64(r) // fresh noise for the same images
			if err := (&chooser{config: config, directions: ch.directions}).choose(p); err != nil {
				return err
			}
			for k, v := range p.noise[:m*dim] {
				sums[r%2][k] += float64(v) / float64((rounds+1)/2)
			}
		}
		l.Clusters[way] = clusterDistance(sums, m, dim)
	}
	return nil
}

// clusterDistance is the root of the mean over pairs i, j of (a_i − a_j)·(b_i − b_j),
// where a and b [m, dim] estimate the same centres independently. The standard
// error takes images for independent.
func clusterDistance(centres [2][]float64, m, dim int) assign.Estimate {
	byImage := make([]float64, m) // mean over the pairs that the image is in
	var mean float64
	for i := range m {
		for j := range m {
			if i == j {
				continue
			}
			var product float64
			for k := range dim {
				product += (centres[0][i*dim+k] - centres[0][j*dim+k]) * (centres[1][i*dim+k] - centres[1][j*dim+k])
			}
			byImage[i] += product / float64(m-1)
		}
		mean += byImage[i] / float64(m)
	}
	var square float64
	for _, v := range byImage {
		square += (v - mean) * (v - mean)
	}
	distance := math.Sqrt(max(0, mean))
	spread := 2 * math.Sqrt(square/float64(max(1, m-1))/float64(m)) // each image is in both members of its pairs
	if distance*distance < spread {
		return assign.Estimate{Value: distance, Error: math.Sqrt(spread)}
	}
	return assign.Estimate{Value: distance, Error: spread / (2 * distance)}
}
