package assign

import (
	"fmt"
	"math"
)

// Directions turns an image into the direction along which KNN chooses its noise.
//
// Chosen along the image itself, noise takes on what images have in common: E n is the mean image, E n given the
// class tells the class, and the noise has more variance where images vary most. Sampling starts from noise that
// has none of this. So the direction is x − E x, or x − E[x|class], and it is whitened: divided by the standard
// deviation that images have along their leading principal directions, and by one number along all others. Whitened
// directions point everywhere alike, and the choice adds the same little variance in every direction.
//
// The zero value but for Dim leaves images as they are.
type Directions struct {
	Dim int
	// Means is [classes, Dim], the centre of each class; with one row the centre of all; empty: the origin.
	Means []float32
	// Principal is [R, Dim]: orthonormal rows, the leading principal directions about the centres; empty: no
	// whitening. Deviation [R] is the standard deviation of images along each, Rest that along any direction
	// orthogonal to them (root mean square).
	Principal, Deviation []float32
	Rest                 float32
}

// Check refuses shapes that do not fit each other, and entries that are not finite.
func (d Directions) Check() error {
	r := len(d.Deviation)
	switch {
	case d.Dim < 1 || len(d.Means)%d.Dim != 0 || len(d.Principal) != r*d.Dim:
		return fmt.Errorf("assign: directions of %d coordinates have %d entries of means and %d of %d principal directions", d.Dim, len(d.Means), len(d.Principal), r)
	case notFinite(d.Means) >= 0 || notFinite(d.Principal) >= 0 || notFinite(d.Deviation) >= 0 || notFinite([]float32{d.Rest}) >= 0:
		return fmt.Errorf("assign: directions have an entry that is not finite")
	}
	return nil
}

// Along writes the direction for image x of a class into dst; both have Dim entries, and may be one. The label
// counts only where there are centres of classes. The whitened direction is as long as the centred image where
// images vary alike in all directions, so that l2 scores keep their scale.
func (d Directions) Along(dst, x []float32, label int64) error {
	if len(x) != d.Dim || len(dst) != d.Dim {
		return fmt.Errorf("assign: image of %d entries and direction of %d, want %d", len(x), len(dst), d.Dim)
	}
	copy(dst, x)
	if classes := len(d.Means) / d.Dim; classes > 0 {
		if classes == 1 {
			label = 0
		}
		if label < 0 || label >= int64(classes) {
			return fmt.Errorf("assign: label %d, want 0…%d: these classes have centres", label, classes-1)
		}
		for k, m := range vector(d.Means, int(label), d.Dim) {
			dst[k] -= m
		}
	}
	if len(d.Deviation) > 0 {
		d.whiten(dst)
	}
	return nil
}

// whiten divides by the deviations: x ← unit·(x/rest + Σ (1/σ_i − 1/rest)(p_i·x) p_i). A deviation counts as at
// least a thousandth of the largest, so that what hardly varies is not blown up.
func (d Directions) whiten(x []float32) {
	least := 1e-3 * float64(d.Deviation[0])
	rest := max(float64(d.Rest), least)
	var variance float64
	for _, s := range d.Deviation {
		variance += float64(s) * float64(s)
	}
	variance += float64(float64(d.Dim-len(d.Deviation)) * float64(d.Rest) * float64(d.Rest))
	unit := math.Sqrt(variance / float64(d.Dim))
	if unit == 0 {
		return // images that do not vary have no directions
	}
	out := make([]float64, len(x))
	for k, v := range x {
		out[k] = float64(v) * (unit / rest)
	}
	for i, s := range d.Deviation {
		p := vector(d.Principal, i, d.Dim)
		c := dot64(p, x) * (unit/max(float64(s), least) - unit/rest)
		for k, v := range p {
			out[k] += float64(c * float64(v))
		}
	}
	for k, v := range out {
		x[k] = float32(v)
	}
}

// Means adds up images by class.
type Means struct {
	dim   int
	sum   []float64 // [classes, dim]
	count []int
}

// NewMeans begins with no image. classes is 1 for the mean of all.
func NewMeans(classes, dim int) *Means {
	return &Means{dim: dim, sum: make([]float64, classes*dim), count: make([]int, classes)}
}

// Add counts image x in; with one class the label is of no account.
func (m *Means) Add(x []float32, label int64) error {
	if len(m.count) == 1 {
		label = 0
	}
	if len(x) != m.dim || label < 0 || label >= int64(len(m.count)) {
		return fmt.Errorf("assign: image of %d entries with label %d, want %d entries and a label of 0…%d", len(x), label, m.dim, len(m.count)-1)
	}
	m.count[label]++
	sum := m.sum[int(label)*m.dim:][:m.dim]
	for k, v := range x {
		sum[k] += float64(v)
	}
	return nil
}

// Rows returns the means [classes, dim]. A class that has no image gets the mean of all.
func (m *Means) Rows() []float32 {
	all, n := make([]float64, m.dim), 0
	for c, count := range m.count {
		n += count
		for k := range all {
			all[k] += m.sum[c*m.dim+k]
		}
	}
	rows := make([]float32, len(m.sum))
	for c, count := range m.count {
		for k := range all {
			if count > 0 {
				rows[c*m.dim+k] = float32(m.sum[c*m.dim+k] / float64(count))
			} else if n > 0 {
				rows[c*m.dim+k] = float32(all[k] / float64(n))
			}
		}
	}
	return rows
}

// Whitening fills Principal, Deviation and Rest from images x [n, Dim], of which Along has taken the centres off
// already. r is the number of directions, at most Dim.
func (d *Directions) Whitening(x []float32, n, r int, src Source) error {
	principal, variance, total, err := Principal(x, n, d.Dim, r, src)
	if err != nil {
		return err
	}
	d.Principal, d.Deviation = principal, make([]float32, len(variance))
	rest := total
	for i, v := range variance {
		d.Deviation[i] = float32(math.Sqrt(v))
		rest -= v
	}
	d.Rest = 0
	if r < d.Dim {
		d.Rest = float32(math.Sqrt(max(0, rest) / float64(d.Dim-r)))
	}
	return nil
}
