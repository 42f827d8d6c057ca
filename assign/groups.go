package assign

import (
	"fmt"
	"sync"
)

// Options say how a pool is paired. The zero value of a field but Cost is off.
type Options struct {
	Cost Cost
	// Half rounds the costs to float16's digits: see RoundHalf. Ties arise from the cost as it is named, so l2sq
	// is then the squared distance and not −x·n.
	Half bool
	// Standardise measures images by coordinate, each with the mean and the standard deviation of the pool taken
	// out, as diffusion policies do (Immiscible Diffusion Policy, arXiv 2610.09369): see Standardised.
	Standardise bool
	// Penalty is added to the cost of image i and noise j once for each unit of squared distance between the
	// conditions of images i and j. Noise then hardly tells a continuous condition, as it does not tell a class
	// under labels (C²OT, arXiv 2503.10636). Conditions is [n, any number].
	Penalty    float64
	Conditions []float32
	// Gap is the part of Σ|chosen costs| by which the total may exceed the optimum where the matrix is too large to
	// be kept, above 16,384 images: each pass over it makes all products again. 0 stands for 1e-6. The first pass
	// is mostly within 1e-3, which gives away a thousandth of what the pairing gains.
	Gap float64
	// Product makes the inner products; nil: MatrixProduct.
	Product Product
}

// Pair permutes the noises of a pool: image i takes noise perm[i], at the least total cost. x and noise are [n, dim].
//
// With labels [n], noise j belongs to the class of image j, and noises move within their class only. Pairing
// across classes makes the noise predict the class (C²OT, arXiv 2503.10636), which sampling, where the two are
// independent, then lacks. Equal labels are one class, whatever their value; a class of one keeps its noise, and
// Partnered tells how many images that leaves out. Memory is that of the largest classes, so that a pool with many
// classes may be far larger than one without.
//
// A pool of any size works: see Gap. What such a pool costs is the product, which a projection of images and noise on
// the images' leading directions makes smaller (Principal, MatrixProduct): 256 to 512 directions of 4×32×32 latents
// keep 97 to 99.8 % of the gain.
//
// Squared L2 is solved as −x·n, which differs by constants of the rows and columns: l2sq and dot give the same
// permutation.
func Pair(x, noise []float32, n, dim int, labels []int64, o Options) (perm []int, err error) {
	if err := o.checkPool(x, noise, n, dim); err != nil {
		return nil, err
	}
	if labels != nil && len(labels) != n {
		return nil, fmt.Errorf("assign: %d labels for %d images, want one each", len(labels), n)
	}
	if o.Standardise {
		x = Standardised(x, n, dim)
	}
	if o.Product != nil {
		var one sync.Mutex
		product := o.Product
		o.Product = func(x, noise []float32, rows, cols, dim int, out []float32) error {
			one.Lock()
			defer one.Unlock()
			return product(x, noise, rows, cols, dim, out)
		}
	}
	if labels == nil {
		return o.pairAll(x, noise, o.Conditions, n, dim)
	}
	perm = make([]int, n)
	classes := groups(labels)
	errs := make([]error, len(classes))
	parallel(len(classes), n*dim, 1, func(from, to int) {
		for g := from; g < to; g++ {
			errs[g] = o.pairClass(perm, x, noise, classes[g], n, dim)
		}
	})
	for g, err := range errs {
		if err != nil {
			members := classes[g]
			return nil, fmt.Errorf("%w (among the %d images of class %d)", err, len(members), labels[members[0]])
		}
	}
	return perm, nil
}

// checkPool refuses a pool that is no pool, and what check does.
func (o Options) checkPool(x, noise []float32, n, dim int) error {
	if err := checkRows("x", x, n, dim); err != nil {
		return err
	}
	if err := checkRows("noise", noise, n, dim); err != nil {
		return err
	}
	return o.check(n)
}

// solved is the cost that is solved: −x·n has the optimum of squared L2, but not its ties.
func (o Options) solved() Cost {
	if o.Cost == CostL2Sq && !o.Half {
		return CostDot
	}
	return o.Cost
}

// check refuses what Pair cannot honour for n images.
func (o Options) check(n int) error {
	if err := o.Cost.check(); err != nil {
		return err
	}
	switch {
	case !(o.Gap >= 0 && o.Gap < 1):
		return fmt.Errorf("assign: gap is %v, want a number from 0 to below 1", o.Gap)
	case !(o.Penalty >= 0 && o.Penalty <= 1e30):
		return fmt.Errorf("assign: penalty is %v, want 0 or more", o.Penalty)
	case o.Penalty > 0 && (len(o.Conditions) == 0 || len(o.Conditions)%n != 0):
		return fmt.Errorf("assign: %d conditions for %d images, want the same number, at least one, for each", len(o.Conditions), n)
	}
	if o.Penalty > 0 {
		return checkRows("conditions", o.Conditions, n, len(o.Conditions)/n)
	}
	return nil
}

// pairClass fills perm at the members of one class.
func (o Options) pairClass(perm []int, x, noise []float32, members []int, n, dim int) error {
	m := len(members)
	if m == 1 {
		perm[members[0]] = members[0]
		return nil
	}
	var conditions []float32
	if o.Penalty > 0 {
		conditions = gather(o.Conditions, members, len(o.Conditions)/n)
	}
	within, err := o.pairAll(gather(x, members, dim), gather(noise, members, dim), conditions, m, dim)
	for i, j := range within {
		perm[members[i]] = members[j]
	}
	return err
}

// pairAll is Pair without classes, of what was checked.
func (o Options) pairAll(x, noise, conditions []float32, n, dim int) ([]int, error) {
	if n > LargestKept && !o.Half && o.Penalty == 0 {
		perm, _, err := o.large(x, noise, n, dim)
		return perm, err
	}
	cost := o.solved()
	matrix := make([]float32, n*n)
	if err := costs(x, noise, n, n, dim, cost, o.Product, matrix); err != nil {
		return nil, err
	}
	if o.Penalty > 0 {
		penalty := o.Penalty
		if cost == CostDot && o.Cost == CostL2Sq {
			penalty /= 2 // −x·n is half of the squared distance
		}
		apart := make([]float32, n*n)
		if err := costs(conditions, conditions, n, n, len(conditions)/n, CostL2Sq, nil, apart); err != nil {
			return nil, err
		}
		for k, sq := range apart {
			matrix[k] += float32(penalty * float64(sq))
		}
	}
	if o.Half {
		RoundHalf(matrix)
	}
	return Linear(matrix, n, n)
}

// Partnered returns the share of images that have another one of their class among labels: the images that
// class-aware pairing can give a noise other than their own. With C equally frequent classes it is
// 1 − (1 − 1/C)^(n−1) on average: 64 % for 1,000 classes in a pool of 1,024.
func Partnered(labels []int64) float64 {
	alone := 0
	for _, members := range groups(labels) {
		if len(members) == 1 {
			alone++
		}
	}
	return 1 - float64(alone)/float64(max(1, len(labels)))
}

// groups lists the positions of each label, labels in the order in which they first appear.
func groups(labels []int64) [][]int {
	var members [][]int
	at := make(map[int64]int)
	for i, label := range labels {
		g, ok := at[label]
		if !ok {
			g = len(members)
			at[label] = g
			members = append(members, nil)
		}
		members[g] = append(members[g], i)
	}
	return members
}

// gather copies the chosen rows of x [·, dim].
func gather(x []float32, rows []int, dim int) []float32 {
	out := make([]float32, 0, len(rows)*dim)
	for _, i := range rows {
		out = append(out, vector(x, i, dim)...)
	}
	return out
}
