package metrics

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// TInterval returns the mean of values and half the width of its 95 % confidence
// interval by Student's t with n − 1 degrees of freedom, which takes the values
// for independent draws from one normal law. half is NaN for fewer than two
// values, and where one of them is not finite.
func TInterval(values []float64) (mean, half float64) {
	n := float64(len(values))
	for _, x := range values {
		mean += x / n
	}
	if len(values) < 2 || math.IsNaN(mean) || math.IsInf(mean, 0) {
		return mean, math.NaN()
	}
	squares := 0.0
	for _, x := range values {
		squares += (x - mean) * (x - mean)
	}
	t := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975)
	return mean, t * math.Sqrt(squares/(n-1)/n)
}
