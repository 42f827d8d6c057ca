package assign

import (
	"fmt"
	"math"
	"slices"
)

// Principal returns the r directions in which the rows of x [n, dim] vary most about the origin: orthonormal rows
// [r, dim], the mean square along each, falling, and the mean of |x_i|², which is the sum over all directions.
//
// Subspace iteration with Rayleigh–Ritz (N. Halko, P.-G. Martinsson, J. Tropp, "Finding structure with randomness",
// SIAM Review 53 (2011), Algorithm 4.4) on xᵀx/n or xxᵀ/n, whichever is smaller. src draws the first subspace; the
// result hardly depends on it where the variances fall. Directions past the rank of x are arbitrary and have
// variance 0.
func Principal(x []float32, n, dim, r int, src Source) (directions []float32, variances []float64, total float64, err error) {
	if err := checkRows("x", x, n, dim); err != nil {
		return nil, nil, 0, err
	}
	if r < 1 || r > dim {
		return nil, nil, 0, fmt.Errorf("assign: %d principal directions of %d coordinates, want 1…%d", r, dim, dim)
	}
	for _, sq := range squaredNorms(x, n, dim) {
		total += sq / float64(n)
	}
	const spare, rounds = 10, 10
	if dim <= n {
		m := min(dim, r+spare)
		basis, values, err := leading(second(x, n, dim), dim, m, rounds, src)
		if err != nil {
			return nil, nil, 0, err
		}
		return basis[:r*dim], values[:r], total, nil
	}
	// The rows u of a basis of xxᵀ/n become the directions xᵀu, of length √(n·value).
	gram := make([]float32, n*n)
	if err := MatrixProduct(x, x, n, n, dim, gram); err != nil {
		return nil, nil, 0, err
	}
	for k := range gram {
		gram[k] /= float32(n)
	}
	m := min(n, r+spare)
	basis, values, err := leading(gram, n, m, rounds, src)
	if err != nil {
		return nil, nil, 0, err
	}
	directions = make([]float32, r*dim)
	src.FillNormal(directions) // where x has no more directions, any will do
	for i := range min(r, m) {
		if values[i] <= 1e-6*values[0] {
			continue
		}
		sum := make([]float64, dim)
		for j, u := range vector(basis, i, n) {
			for k, v := range vector(x, j, dim) {
				sum[k] += float64(u) * float64(v)
			}
		}
		for k, v := range sum {
			directions[i*dim+k] = float32(v / math.Sqrt(float64(n)*values[i]))
		}
	}
	orthonormalise(directions, r, dim)
	variances = make([]float64, r)
	for i := range min(r, m) {
		variances[i] = values[i]
	}
	return directions, variances, total, nil
}

// second returns xᵀx/n, [dim, dim].
func second(x []float32, n, dim int) []float32 {
	const rows = 2048 // transposed at a time
	sum, part := make([]float32, dim*dim), make([]float32, dim*dim)
	columns := make([]float32, dim*min(n, rows))
	for from := 0; from < n; from += rows {
		here := min(rows, n-from)
		for i := range here {
			for k, v := range vector(x, from+i, dim) {
				columns[k*here+i] = v
			}
		}
		multiply(columns[:dim*here], columns[:dim*here], dim, dim, here, part)
		for k, v := range part {
			sum[k] += v / float32(n)
		}
	}
	return sum
}

// leading returns orthonormal rows [m, n] that span the leading eigenvectors of the symmetric s [n, n], and their
// eigenvalues, falling.
func leading(s []float32, n, m, rounds int, src Source) (basis []float32, values []float64, err error) {
	basis = make([]float32, m*n)
	src.FillNormal(basis)
	orthonormalise(basis, m, n)
	next := make([]float32, m*n)
	for range rounds {
		if err := MatrixProduct(basis, s, m, n, n, next); err != nil {
			return nil, nil, err
		}
		orthonormalise(next, m, n)
		basis, next = next, basis
	}
	// Rayleigh–Ritz: the eigenvectors of s within the subspace.
	if err := MatrixProduct(basis, s, m, n, n, next); err != nil {
		return nil, nil, err
	}
	small := make([]float64, m*m)
	for i := range m {
		for j := range m {
			small[i*m+j] = (dot64(vector(next, i, n), vector(basis, j, n)) + dot64(vector(next, j, n), vector(basis, i, n))) / 2
		}
	}
	values, vectors := jacobi(small, m)
	rotated := make([]float32, m*n)
	sum := make([]float64, n)
	for i := range m {
		clear(sum)
		for j := range m {
			c := vectors[i*m+j]
			for k, v := range vector(basis, j, n) {
				sum[k] += float64(c * float64(v))
			}
		}
		for k, v := range sum {
			rotated[i*n+k] = float32(v)
		}
		values[i] = max(0, values[i])
	}
	orthonormalise(rotated, m, n)
	return rotated, values, nil
}

// orthonormalise makes the rows of q [m, n] orthonormal, m ≤ n, by Gram–Schmidt, twice each. A row that the others
// span is replaced by the first axis that they do not.
func orthonormalise(q []float32, m, n int) {
	row := make([]float64, n)
	axis := 0
	for i := range m {
		for k, v := range vector(q, i, n) {
			row[k] = float64(v)
		}
		for {
			start := norm64(row)
			for range 2 {
				for j := range i {
					p := vector(q, j, n)
					var c float64
					for k, v := range p {
						c += float64(row[k] * float64(v))
					}
					for k, v := range p {
						row[k] -= float64(c * float64(v))
					}
				}
			}
			length := norm64(row)
			if length > 1e-5*start {
				for k, v := range row {
					q[i*n+k] = float32(v / length)
				}
				break
			}
			clear(row)
			row[axis] = 1
			axis++
		}
	}
}

// norm64 is the Euclidean length.
func norm64(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += float64(v * v)
	}
	return math.Sqrt(s)
}

// jacobi returns the eigenvalues of the symmetric a [n, n], falling, and orthonormal eigenvectors as rows, by cyclic
// Jacobi rotations (G. Golub, C. Van Loan, "Matrix Computations", 4th edition, §8.5.3). a is destroyed.
func jacobi(a []float64, n int) (values, vectors []float64) {
	v := make([]float64, n*n) // rows are rotated along
	for i := range n {
		v[i*n+i] = 1
	}
	for range 30 {
		var off, all float64
		for i := range n {
			for j := range n {
				sq := float64(a[i*n+j] * a[i*n+j])
				all += sq
				if i != j {
					off += sq
				}
			}
		}
		if off <= 1e-26*all {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				if apq := a[p*n+q]; apq != 0 {
					theta := (a[q*n+q] - a[p*n+p]) / (2 * apq)
					t := math.Copysign(1, theta) / (math.Abs(theta) + math.Sqrt(float64(theta*theta)+1))
					c := 1 / math.Sqrt(float64(t*t)+1)
					rotate(a, v, n, p, q, c, t*c)
				}
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch x, y := a[i*n+i], a[j*n+j]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	values, vectors = make([]float64, n), make([]float64, 0, n*n)
	for k, i := range order {
		values[k] = a[i*n+i]
		vectors = append(vectors, v[i*n:(i+1)*n]...)
	}
	return values, vectors
}

// rotate applies the rotation of rows and columns p and q by (c, s) to a, and to the rows of v.
func rotate(a, v []float64, n, p, q int, c, s float64) {
	turn := func(x, y *float64) {
		u, w := *x, *y
		*x, *y = float64(c*u)-float64(s*w), float64(s*u)+float64(c*w)
	}
	for k := range n {
		turn(&a[k*n+p], &a[k*n+q])
	}
	for k := range n {
		turn(&a[p*n+k], &a[q*n+k])
		turn(&v[p*n+k], &v[q*n+k])
	}
}
