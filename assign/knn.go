package assign

import (
	"fmt"
	"math"
)

// Source is a stream of random numbers; datasets/rng has the one that training uses.
type Source interface {
	Uint64() uint64
	Float64() float64 // uniform in [0, 1)
	Normal() float64  // standard normal
	FillNormal(dst []float32)
}

// KNN chooses for each image the best of K Gaussian noises (arXiv 2505.18521) without drawing K noises.
//
// The choice sees of a candidate only s = n·x̂ and the squared remainder q = |n|² − s². For Gaussian noise in D
// dimensions s ~ N(0, 1), q ~ χ²(D−1) and the direction of the remainder are independent. So one Gaussian is drawn
// as the first candidate; the others are pairs (s, q); if one of them wins, the first one's remainder is scaled
// to its q and its component along x̂ set to its s. The law is that of the literal search, at O(K + D) instead of
// O(K·D). K = 1 draws what FillNormal draws and nothing else.
type KNN struct {
	// K ≥ 1 is the number of candidates. It may be any real number, so that a schedule can lower it to 1 smoothly.
	// For dot the law is that of the maximum with distribution function Φ^K, at a cost that does not depend on K.
	// For l2, ⌊K⌋ candidates and one more with probability K − ⌊K⌋: O(K), some 50 ns a candidate.
	K float64
	// Score is "l2": the nearest candidate, as in the paper, whose noise is shorter than Gaussian noise; or "dot":
	// the largest n·x, which changes the law along x only.
	Score string
}

// Draw fills dst with the noise chosen for x; both have the D numbers of one image. It fails, before it draws, if
// K or Score is not valid, the lengths differ or x has an entry that is not finite. Against x = 0 all candidates
// are equal for dot, and the shortest wins for l2.
func (k KNN) Draw(dst, x []float32, src Source) error {
	if err := k.check(); err != nil {
		return err
	}
	if len(dst) != len(x) || len(x) == 0 {
		return fmt.Errorf("assign: noise of %d entries for an image of %d, want the same number, at least 1", len(dst), len(x))
	}
	if i := notFinite(x); i >= 0 {
		return fmt.Errorf("assign: image entry [%d] is %v, want a finite number", i, x[i])
	}
	length := math.Sqrt(dot64(x, x))
	src.FillNormal(dst)
	switch {
	case k.K == 1:
	case k.Score == "dot":
		if length > 0 {
			k.drawDot(dst, x, length, src)
		}
	default:
		k.drawL2(dst, x, length, src)
	}
	return nil
}

// check refuses what Draw cannot honour.
func (k KNN) check() error {
	if k.Score != "l2" && k.Score != "dot" {
		return fmt.Errorf("assign: knn_score %q, want l2 or dot", k.Score)
	}
	most := 1e100 // beyond, the tail of the normal law leaves float64
	if k.Score == "l2" {
		most = 1 << 30 // each of them is drawn
	}
	if !(k.K >= 1 && k.K <= most) {
		return fmt.Errorf("assign: knn_k is %v, want a number from 1 to %v for knn_score %s", k.K, most, k.Score)
	}
	return nil
}

// drawDot moves the first candidate along x̂ to the largest component of the K − 1 others, if that is larger than
// its own. The remainder plays no part in the choice, so it stays.
func (k KNN) drawDot(dst, x []float32, length float64, src Source) {
	own := dot64(dst, x) / length
	if s := maxNormal(src.Float64(), k.K-1); s > own {
		shift := (s - own) / length
		for i, v := range x {
			dst[i] = float32(float64(dst[i]) + float64(shift*float64(v)))
		}
	}
}

// drawL2 takes the candidate of the least |x − n|² = (|x| − s)² + q.
func (k KNN) drawL2(dst, x []float32, length float64, src Source) {
	candidates := int(k.K)
	if part := k.K - math.Floor(k.K); part > 0 && src.Float64() < part {
		candidates++
	}
	along, norm := x, length
	if length == 0 { // any direction will do
		along, norm = make([]float32, len(x)), 1
		along[0] = 1
	}
	ownS := dot64(dst, along) / norm
	var ownQ float64
	for i, g := range dst {
		r := float64(g) - float64(ownS*(float64(along[i])/norm))
		ownQ += float64(r * r)
	}
	s, q, least := ownS, ownQ, score(length, ownS, ownQ)
	won := false
	for range candidates - 1 {
		s1, q1 := src.Normal(), chiSquared(len(x)-1, src)
		if c := score(length, s1, q1); c < least {
			s, q, least, won = s1, q1, c, true
		}
	}
	if !won {
		return
	}
	stretch := 0.0 // one dimension has no remainder
	if len(x) > 1 && ownQ > 0 {
		stretch = math.Sqrt(q / ownQ)
	}
	for i, g := range dst {
		e := float64(along[i]) / norm
		dst[i] = float32(float64(stretch*(float64(g)-float64(ownS*e))) + float64(s*e))
	}
}

// score is the squared distance to an image of the given length.
func score(length, s, q float64) float64 { return float64((length-s)*(length-s)) + q }

// chiSquared draws from χ²(n): 2·Gamma(n/2) by G. Marsaglia and W. W. Tsang, "A simple method for generating gamma
// variables", ACM TOMS 26 (2000) 363–372, which needs a shape of at least 1; χ²(1) is a squared normal.
func chiSquared(n int, src Source) float64 {
	if n <= 1 {
		z := src.Normal()
		return float64(n) * z * z
	}
	d := float64(n)/2 - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		z := src.Normal()
		v := 1 + float64(c*z)
		if v <= 0 {
			continue
		}
		v = v * v * v
		u, zz := src.Float64(), z*z
		if u < 1-float64(0.0331*zz*zz) || math.Log(u) < float64(0.5*zz)+float64(d*(1-v+math.Log(v))) {
			return 2 * d * v
		}
	}
}

// maxNormal returns the u-quantile of the largest of k standard normals, Φ⁻¹(u^(1/k)), k > 0 real, 0 ≤ u < 1. The
// distance of u^(1/k) from 1 is computed without forming it, so a large k keeps its digits. Below a probability of
// e^−700 the result is −Inf: nothing that is drawn is as low.
func maxNormal(u, k float64) float64 {
	logP := math.Log(u) / k
	if upper := -math.Expm1(logP); upper <= 0.5 {
		return upperQuantile(upper)
	}
	if logP < -700 {
		return math.Inf(-1)
	}
	return -upperQuantile(math.Exp(logP))
}

// upperQuantile returns the s ≥ 0 that a standard normal exceeds with probability p, 0 ≤ p ≤ 0.5; +Inf for 0. Two
// steps of Halley's method from formula 26.2.23 of Abramowitz and Stegun, whose error is below 4.5e-4; each step
// cubes it.
func upperQuantile(p float64) float64 {
	if p == 0 {
		return math.Inf(1)
	}
	r := math.Sqrt(-2 * math.Log(p))
	above := 2.515517 + float64(r*(0.802853+float64(r*0.010328)))
	below := 1 + float64(r*(1.432788+float64(r*(0.189269+float64(r*0.001308)))))
	s := r - above/below
	for range 2 {
		// w = (Q(s) − p)/φ(s), with φ(s) as exp(−s²/2)/√(2π)
		w := (math.Erfc(s/math.Sqrt2)/2 - p) * math.Sqrt(2*math.Pi) * math.Exp(s*s/2)
		s += w / (1 - float64(w*s/2))
	}
	return s
}

// Annealed is the K of a step: k at step 0, falling (or rising) log-linearly to end at step steps, end from there
// on; exactly end, so that an end of 1 is independent noise to the bit. steps = 0 is no annealing: k throughout.
func Annealed(k, end float64, step, steps int64) float64 {
	switch {
	case steps == 0 || step <= 0:
		return k
	case step >= steps:
		return end
	}
	return k * math.Exp(float64(float64(step)/float64(steps))*math.Log(end/k))
}
