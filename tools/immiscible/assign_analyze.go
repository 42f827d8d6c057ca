package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"immiscible/assign"
	"immiscible/pipeline"
)

// assignReport is what assign analyze says of one pairing, and its JSON.
type assignReport struct {
	Data     string  `json:"data"`
	N        int     `json:"n"`
	Dim      int     `json:"dim"`
	Pairing  string  `json:"pairing"`
	PoolSize int     `json:"pool_size"` // images that one choice sees
	PerClass bool    `json:"per_class"`
	KNNK     float64 `json:"knn_k"`
	KNNScore string  `json:"knn_score"`
	Center   string  `json:"center"`
	Whiten   int     `json:"whiten"`
	Cost     string  `json:"cost"`  // of a linear assignment
	Flip     bool    `json:"flip"`  // the chosen noise with its sign turned
	Scale    float64 `json:"scale"` // of the images

	DistanceBefore    float64   `json:"distance_before"`
	DistanceAfter     float64   `json:"distance_after"`
	NoiseSecondMoment float64   `json:"noise_second_moment"` // E|n|²/D
	AlongX            float64   `json:"along_x"`             // E n·x̂
	AlongResidual     float64   `json:"along_residual"`      // the same for x less the mean of its class
	MeanShift         float64   `json:"mean_shift"`          // |E n|²
	LeadingVariance   []float64 `json:"leading_variance"`    // along the images' leading principal directions
	ClassProbe        *float64  `json:"class_probe"`         // null without labels
	ClassChance       *float64  `json:"class_chance"`
	KS                assignKS  `json:"ks"`               // components along x̂ against N(0, 1)
	ClusterDistance   *float64  `json:"cluster_distance"` // miscibility; null with -rounds 0
	ClusterDistance0  *float64  `json:"cluster_distance_independent"`
	NormHistogram     histogram `json:"norm_histogram"` // of |n|

	PairMS        pipeline.Quartiles `json:"pair_ms"` // a pool
	StandardError assignErrors       `json:"standard_error"`

	law *pipeline.PairingLaw
}

// assignKS is a Kolmogorov–Smirnov test.
type assignKS struct {
	Statistic float64 `json:"statistic"`
	PValue    float64 `json:"p_value"`
}

// histogram counts values between edges, which are one more than the counts.
type histogram struct {
	Edges  []float64 `json:"edges"`
	Counts []int     `json:"counts"`
}

// assignErrors are the standard errors of the fields of the same names.
type assignErrors struct {
	DistanceBefore    float64   `json:"distance_before"`
	DistanceAfter     float64   `json:"distance_after"`
	NoiseSecondMoment float64   `json:"noise_second_moment"`
	AlongX            float64   `json:"along_x"`
	AlongResidual     float64   `json:"along_residual"`
	MeanShift         float64   `json:"mean_shift"`
	LeadingVariance   []float64 `json:"leading_variance"`
	ClassProbe        *float64  `json:"class_probe"`
	ClusterDistance   *float64  `json:"cluster_distance"`
}

// analyzeOptions are the flags of assign analyze. Settings of [noise] stay text
// until the configuration reads them.
type analyzeOptions struct {
	data, images, labels, plot, over               string
	pairing, cost, dtype, score, center, k, factor string
	n, dim, whiten, poolSize, rounds               int
	std                                            float64
	seed                                           uint64
	perClass, flip, table, asJSON                  bool
}

func assignAnalyze() Command {
	var o analyzeOptions
	var threads int
	return Command{
		Name:  "assign analyze",
		Usage: "[-pairing P] [-images X.npy [-labels Y.npy] | -data D -dim D] [-n N]\n  [-table | -over KEY=LIST] [-plot F.png] [-json]",
		Short: "what a pairing does to the noise: distance, law, miscibility",
		Long: `Chooses noise for images as training would, once an image, and measures what that does to its law.
Sampling starts from noise that is Gaussian and knows neither image nor class; each figure has its
standard error:
  distance          mean Euclidean distance of image and noise, before and after (paper 1, Table 2)
  second moment     E|n|²/D; Gaussian: 1
  along x           E n·x̂, and the same for x less its class's mean, in standard deviations
  shift             |E n|²; Gaussian: 0
  leading variance  of the noise along the five leading principal directions of the images; Gaussian: 1
  class probe       share of classes that a linear probe reads from the noise; chance is given beside
  KS                test of the components along x̂ against N(0, 1)
  cluster distance  miscibility of paper 2 (arXiv 2505.18521, §4.2): of the centres of the noises that
                    fall to one image

Images: the embedded Fashion-MNIST set (28×28, in [−1, 1]); or -images, an .npy file [N, …], and its
-labels, int64 [N]; or -data latents, clusters, heavy or gaussian of -dim numbers, made up. -dim alone
means gaussian.

-table prints a row for each of the usual pairings instead. -over prints one for each value of a flag:
knn_k=1,2,4,8,16, pool_size=128,256,512 (paper 1, Table 2: distance and time), cost=l2sq,l2,l1, scale=1,2,4.
What these do to training is what compare tells, whose arms take any key. -plot draws norms, components
along x̂ and leading variances, and with -over the figures by value. -flip is paper 1's non-OT check: the
noises stay sorted, and the distance rises. Trained models: see analyze.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&o.pairing, "pairing", "linear", "linear, knn or independent `P`")
			flags.IntVar(&o.poolSize, "pool_size", 500, "images that a linear assignment sees `N`")
			flags.StringVar(&o.cost, "cost", "l2sq", "cost `C` of a linear assignment: l2sq, dot, l2 or l1")
			flags.StringVar(&o.dtype, "cost_dtype", "float32", "digits that costs are rounded to: float32 or float16")
			flags.BoolVar(&o.perClass, "per_class", false, "assign within each class")
			flags.StringVar(&o.k, "knn_k", "8", "knn: candidates `K`, any real number from 1 up")
			flags.StringVar(&o.score, "knn_score", "l2", "knn: l2 or dot `S`")
			flags.StringVar(&o.center, "center", "none", "knn: none, global or class `C`")
			flags.IntVar(&o.whiten, "whiten", 0, "knn: leading principal directions to whiten `R`")
			flags.BoolVar(&o.flip, "flip", false, "turn the sign of the chosen noise")
			flags.StringVar(&o.factor, "scale", "1", "multiply images by `F`")
			flags.StringVar(&o.images, "images", "", "images from the file `X.npy`")
			flags.StringVar(&o.labels, "labels", "", "their classes from the file `Y.npy`")
			flags.StringVar(&o.data, "data", "", "made-up images `D`: "+madeUp)
			flags.IntVar(&o.dim, "dim", 0, "numbers of a made-up image `D`; 0: 4096")
			flags.Float64Var(&o.std, "std", 1, "standard deviation of its numbers `S`")
			flags.IntVar(&o.n, "n", 0, "analyze `N` images; 0: all, 4000 of made-up ones")
			flags.Uint64Var(&o.seed, "seed", 0, "of images and noise")
			flags.IntVar(&o.rounds, "rounds", 32, "draw for the first pool `R` times for the cluster distance; 0: leave it out")
			flags.BoolVar(&o.table, "table", false, "the pairings of the comparison, a row each, instead of one")
			flags.StringVar(&o.over, "over", "", "a row for each value of a flag, `KEY=LIST`: "+strings.Join(sweepKeys, ", "))
			flags.StringVar(&o.plot, "plot", "", "draw the result into the PNG file `F.png`")
			threadsFlag(flags, &threads)
			flags.BoolVar(&o.asJSON, "json", false, "print the result as JSON; with -table or -over, a line a row")
		},
		Run: func(ctx context.Context, args []string, stdout, _ io.Writer) error {
			switch {
			case len(args) != 0:
				return usagef("unexpected argument %q", args[0])
			case o.images != "" && (o.data != "" || o.dim != 0):
				return usagef("-images and made-up images, want one of them")
			case o.labels != "" && o.images == "":
				return usagef("-labels without -images")
			case o.n < 0 || o.n == 1:
				return usagef("-n %d, want 2 or more", o.n)
			case o.dim < 0:
				return usagef("-dim %d, want 1 or more", o.dim)
			case o.poolSize < 1:
				return usagef("-pool_size %d, want 1 or more", o.poolSize)
			case o.rounds < 0:
				return usagef("-rounds %d, want 0 or more", o.rounds)
			case !(o.std > 0) || math.IsInf(o.std, 0):
				return usagef("-std %v, want a number above 0", o.std)
			case o.table && o.plot != "":
				return usagef("-plot and -table, want one of them")
			case o.table && o.over != "":
				return usagef("-over and -table, want one of them")
			}
			if err := useThreads(threads); err != nil {
				return err
			}
			if o.plot != "" {
				if err := probe(o.plot); err != nil {
					return err
				}
			}
			return o.run(ctx, stdout)
		},
	}
}

// run analyzes one pairing, or the table's.
func (o analyzeOptions) run(ctx context.Context, stdout io.Writer) error {
	if _, err := o.config(1); err != nil { // before any work
		return err
	}
	values, err := o.values()
	if err != nil {
		return err
	}
	images, err := o.load(ctx)
	if err != nil {
		return err
	}
	if images.Labels == nil && (o.perClass || o.center == "class" && o.pairing == "knn") {
		return usagef("-per_class and -center class need labels, and %s has none", images.Name)
	}
	if values != nil {
		return o.sweep(ctx, images, values, stdout)
	}
	if !o.table {
		r, err := o.analyze(images)
		if err != nil {
			return err
		}
		if o.plot != "" {
			if err := plotLaw(o.plot, r); err != nil {
				return err
			}
		}
		if o.asJSON {
			return printJSON(stdout, r)
		}
		_, err = io.WriteString(stdout, r.String())
		return err
	}
	if !o.asJSON {
		fmt.Fprintf(stdout, "%s, %d images of %d numbers; ± one standard error\n\n%s", images.Name, images.N, images.Dim, tableHead)
	}
	for _, row := range tableRows(images.Labels != nil) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		row.data, row.poolSize, row.cost, row.dtype, row.seed = o.data, o.poolSize, o.cost, o.dtype, o.seed
		row.factor, row.flip, row.rounds = o.factor, o.flip, 0
		row.whiten = min(row.whiten, images.Dim)
		r, err := row.analyze(images)
		if err == nil && o.asJSON {
			err = printJSON(stdout, r)
		} else if err == nil {
			_, err = io.WriteString(stdout, r.row())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// load makes or reads the images.
func (o analyzeOptions) load(ctx context.Context) (*assignImages, error) {
	switch {
	case o.images != "":
		return readImages(o.images, o.labels, o.n)
	case o.data == "" && o.dim == 0:
		return embeddedImages(ctx, o.n, o.seed)
	}
	kind, dim, n := o.data, o.dim, o.n
	if kind == "" {
		kind = "gaussian"
	}
	if dim == 0 {
		dim = 4096
	}
	if n == 0 {
		n = 4000
	}
	return madeUpImages(kind, n, dim, o.std, o.seed)
}

// config is a run's configuration with the pairing that the flags ask for.
func (o analyzeOptions) config(classes int) (pipeline.Config, error) {
	c, err := pipeline.LoadConfig("", "", []string{
		"noise.pairing=" + o.pairing, "noise.cost=" + o.cost, "noise.cost_dtype=" + o.dtype,
		"noise.knn_k=" + o.k, "noise.knn_score=" + o.score, "noise.center=" + o.center, "noise.whiten=" + strconv.Itoa(o.whiten),
		"noise.flip=" + strconv.FormatBool(o.flip), "noise.scale=" + o.factor,
	})
	if err != nil {
		return c, usageError{err}
	}
	// What follows need not fit a model.
	c.Noise.PerClass, c.Data.NumClasses = o.perClass, classes
	c.Noise.PoolSize, c.Train.BatchSize, c.Train.Seed = o.poolSize, o.poolSize, int64(o.seed>>1)
	return c, nil
}

// analyze measures one pairing on the images.
func (o analyzeOptions) analyze(a *assignImages) (*assignReport, error) {
	classes := 1
	for _, label := range a.Labels {
		classes = max(classes, int(label)+1)
	}
	c, err := o.config(classes)
	if err != nil {
		return nil, err
	}
	law, err := pipeline.MeasurePairing(c, a.X, a.N, a.Dim, a.Labels, o.rounds)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	r := &assignReport{
		Data: a.Name, N: a.N, Dim: a.Dim, Pairing: o.pairing, PoolSize: law.PoolSize, PerClass: o.perClass,
		KNNK: c.Noise.KNNK, KNNScore: o.score, Center: o.center, Whiten: o.whiten, Cost: o.cost, Flip: o.flip, Scale: c.Noise.Scale,
		DistanceBefore: law.Before.Value, DistanceAfter: law.Distance.Value, NoiseSecondMoment: law.SecondMoment.Value,
		AlongX: law.AlongX.Value, AlongResidual: law.AlongResidual.Value, MeanShift: law.MeanShift.Value,
		KS: assignKS{law.KS, law.KSP}, NormHistogram: histogramOf(law.Norms, 40), PairMS: law.PairMS,
		StandardError: assignErrors{DistanceBefore: law.Before.Error, DistanceAfter: law.Distance.Error,
			NoiseSecondMoment: law.SecondMoment.Error, AlongX: law.AlongX.Error, AlongResidual: law.AlongResidual.Error, MeanShift: law.MeanShift.Error},
		law: law,
	}
	for _, v := range law.LeadingVariance {
		r.LeadingVariance = append(r.LeadingVariance, v.Value)
		r.StandardError.LeadingVariance = append(r.StandardError.LeadingVariance, v.Error)
	}
	if a.Labels != nil {
		r.ClassProbe, r.ClassChance, r.StandardError.ClassProbe = &law.ClassProbe.Value, &law.Chance, &law.ClassProbe.Error
	}
	if o.rounds > 0 {
		r.ClusterDistance0, r.ClusterDistance, r.StandardError.ClusterDistance = &law.Clusters[0].Value, &law.Clusters[1].Value, &law.Clusters[1].Error
	}
	return r, nil
}

// histogramOf counts values in equal steps from the least to the largest.
func histogramOf(values []float64, steps int) histogram {
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	if least == most {
		most = least + 1
	}
	h := histogram{Counts: make([]int, steps)}
	for i := range steps + 1 {
		h.Edges = append(h.Edges, least+(most-least)*float64(i)/float64(steps))
	}
	for _, v := range values {
		h.Counts[min(steps-1, int(float64(steps)*(v-least)/(most-least)))]++
	}
	return h
}

// largestOf is the largest of x, 0 of nothing.
func largestOf(x []float64) (most float64) {
	for _, v := range x {
		most = max(most, v)
	}
	return most
}

// String is the report for a reader.
func (r *assignReport) String() string {
	var b strings.Builder
	line := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "%-18s "+format+"\n", append([]any{name}, values...)...)
	}
	estimate := func(name string, e assign.Estimate) { line(name, "%.4f ± %.4f", e.Value, e.Error) }
	line("images", "%s, %d of %d numbers", r.Data, r.N, r.Dim)
	line("choice", "%.2f ms for %d images (median)", r.PairMS.Median, r.PoolSize)
	estimate("distance before", r.law.Before)
	line("distance after", "%.4f ± %.4f (%+.2f %%)", r.DistanceAfter, r.StandardError.DistanceAfter, 100*(r.DistanceAfter/r.DistanceBefore-1))
	estimate("second moment", r.law.SecondMoment)
	estimate("along x", r.law.AlongX)
	estimate("along residual", r.law.AlongResidual)
	estimate("shift", r.law.MeanShift)
	for i, v := range r.law.LeadingVariance {
		estimate(fmt.Sprintf("leading variance %d", i+1), v)
	}
	if r.ClassProbe != nil {
		line("class probe", "%.4f ± %.4f, chance %.4f", *r.ClassProbe, *r.StandardError.ClassProbe, *r.ClassChance)
	}
	line("KS along x", "statistic %.4f, p = %.3g", r.KS.Statistic, r.KS.PValue)
	if r.ClusterDistance != nil {
		line("cluster distance", "%.3f ± %.3f, of independent noise %.3f ± %.3f", *r.ClusterDistance, *r.StandardError.ClusterDistance,
			*r.ClusterDistance0, r.law.Clusters[0].Error)
	}
	return b.String()
}
