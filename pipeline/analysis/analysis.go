// Package analysis holds the measures of the papers' analyses that need no
// model: what images and estimates of images are like, given as numbers. A row
// is an image of dim numbers; groups are the classes within which images are
// compared, nil for one group of all. Everything is summed in float64.
package analysis

import (
	"fmt"
	"math"

	"immiscible/assign"
)

// Means are the means of the rows x [n, dim] by group: [groups, dim], where a
// group without a row has the mean of all.
func Means(x []float32, n, dim int, groups []int64) ([]float32, error) {
	count, err := groupCount(n, groups)
	if err != nil {
		return nil, err
	}
	m := assign.NewMeans(count, dim)
	for i := range n {
		if err := m.Add(x[i*dim:(i+1)*dim], groupOf(groups, i)); err != nil {
			return nil, err
		}
	}
	return m.Rows(), nil
}

func groupCount(n int, groups []int64) (int, error) {
	count := int64(1)
	if groups != nil && len(groups) != n {
		return 0, fmt.Errorf("%d groups for %d images, want one each", len(groups), n)
	}
	for i, g := range groups {
		if g < 0 {
			return 0, fmt.Errorf("image %d has group %d, want 0 or more", i, g)
		}
		count = max(count, g+1)
	}
	return int(count), nil
}

func groupOf(groups []int64, i int) int64 {
	if groups == nil {
		return 0
	}
	return groups[i]
}

// Spread is the standard deviation of a number of the rows x [n, dim] about its
// group's mean: the root of the mean over numbers and groups, groups of one row
// left out. It is 0 where every image of a group is the same smear.
func Spread(x []float32, n, dim int, groups []int64) (float64, error) {
	count, err := groupCount(n, groups)
	if err != nil {
		return 0, err
	}
	sums, squares, rows := make([]float64, count*dim), make([]float64, count), make([]float64, count)
	for i := range n {
		g := int(groupOf(groups, i))
		rows[g]++
		for k, v := range x[i*dim : (i+1)*dim] {
			sums[g*dim+k] += float64(v)
			squares[g] += float64(v) * float64(v)
		}
	}
	var square, free float64
	for g := range count {
		if rows[g] < 2 {
			continue
		}
		square += squares[g]
		free += rows[g] - 1
		for _, s := range sums[g*dim : (g+1)*dim] {
			square -= s * s / rows[g]
		}
	}
	if free == 0 {
		return 0, nil
	}
	return math.Sqrt(max(0, square) / (free * float64(dim))), nil
}

// Nearest are the Euclidean distances from the rows x [n, dim] to the nearest
// of images [m, dim]: large for what is like no image. With apart, row i is
// images' own row i and is held against the others alone.
func Nearest(x []float32, n int, images []float32, m, dim int, apart bool) ([]float64, error) {
	out := make([]float64, n)
	lengths := squaredLengths(images, m, dim)
	const block = 64 // rows of products in memory at once
	products := make([]float32, block*m)
	for at := 0; at < n; at += block {
		rows := min(block, n-at)
		if err := assign.MatrixProduct(x[at*dim:(at+rows)*dim], images, rows, m, dim, products[:rows*m]); err != nil {
			return nil, err
		}
		for i := range rows {
			own := squaredLengths(x[(at+i)*dim:(at+i+1)*dim], 1, dim)[0]
			least := math.Inf(1)
			for j := range m {
				if d := own + lengths[j] - 2*float64(products[i*m+j]); d < least && !(apart && j == at+i) {
					least = d
				}
			}
			out[at+i] = math.Sqrt(max(0, least))
		}
	}
	return out, nil
}

// NearestOf is the row of images [m, dim] that is nearest to x [dim].
func NearestOf(x, images []float32, m, dim int) int {
	best, least := 0, math.Inf(1)
	for j := range m {
		if d := squareOfDifference(x, images[j*dim:(j+1)*dim]); d < least {
			best, least = j, d
		}
	}
	return best
}

func squaredLengths(x []float32, n, dim int) []float64 {
	out := make([]float64, n)
	for i := range n {
		for _, v := range x[i*dim : (i+1)*dim] {
			out[i] += float64(v) * float64(v)
		}
	}
	return out
}

// PairDistance is the mean Euclidean distance of two different rows of x [n, dim].
func PairDistance(x []float32, n, dim int) float64 {
	sum := 0.0
	for i := range n {
		for j := range i {
			sum += math.Sqrt(squareOfDifference(x[i*dim:(i+1)*dim], x[j*dim:(j+1)*dim]))
		}
	}
	return sum / float64(max(1, n*(n-1)/2))
}

// MeanOf is the mean of values and its standard error, which takes them for
// independent.
func MeanOf(values []float64) assign.Estimate {
	var e assign.Estimate
	for _, v := range values {
		e.Value += v / float64(len(values))
	}
	square := 0.0
	for _, v := range values {
		square += (v - e.Value) * (v - e.Value)
	}
	if n := float64(len(values)); n > 1 {
		e.Error = math.Sqrt(square / (n - 1) / n)
	}
	return e
}

// ClusterDistance is how far the centres of clusters of noise are apart: the
// root of the mean over pairs of clusters within a group of |c_i − c_j|², with the
// part that the number of noises alone makes taken off, so that it tends to 0 for
// clusters that have nothing to do with the noise. cluster[i] is the cluster of
// row i of noise [n, dim], group those of the clusters; clusters of less than two
// rows are left out. The standard error takes clusters for independent.
func ClusterDistance(noise []float32, n, dim int, cluster []int, group []int64) assign.Estimate {
	count := make([]float64, len(group))
	centres, squares := make([]float64, len(group)*dim), make([]float64, len(group))
	for i := range n {
		c := cluster[i]
		count[c]++
		for k, v := range noise[i*dim : (i+1)*dim] {
			centres[c*dim+k] += float64(v)
			squares[c] += float64(v) * float64(v)
		}
	}
	chance := make([]float64, len(group)) // variance of a centre, summed over its numbers
	for c := range group {
		for k := range dim {
			mean := &centres[c*dim+k]
			*mean /= max(1, count[c])
			squares[c] -= count[c] * *mean * *mean
		}
		chance[c] = squares[c] / max(1, count[c]-1) / max(1, count[c])
	}
	var byCluster []float64 // mean over the pairs that the cluster is in
	for c := range group {
		sum, pairs := 0.0, 0.0
		for o := range group {
			if o == c || group[o] != group[c] || count[o] < 2 || count[c] < 2 {
				continue
			}
			square := -chance[c] - chance[o]
			for k := range dim {
				d := centres[c*dim+k] - centres[o*dim+k]
				square += d * d
			}
			sum, pairs = sum+square, pairs+1
		}
		if pairs > 0 {
			byCluster = append(byCluster, sum/pairs)
		}
	}
	if len(byCluster) == 0 {
		return assign.Estimate{}
	}
	mean := MeanOf(byCluster)
	distance, spread := math.Sqrt(max(0, mean.Value)), 2*mean.Error // each cluster is in both members of its pairs
	if distance*distance < spread {
		return assign.Estimate{Value: distance, Error: math.Sqrt(spread)}
	}
	return assign.Estimate{Value: distance, Error: spread / (2 * distance)}
}
