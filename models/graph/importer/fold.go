package importer

import (
	"math"
	"slices"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// folds are the operators that are computed at import where their inputs are
// known: what exporters write to compute shapes, indices, masks and tables. A
// result of nil, where the inputs are not as usual, leaves the node to builds.
var folds = map[string]fold{
	"Constant": foldConstant, "ConstantOfShape": foldConstantOfShape, "Range": foldRange, "Cast": foldCast, "CastLike": foldCast,
	"Add": arithmetic(func(x, y float64) float64 { return x + y }), "Sub": arithmetic(func(x, y float64) float64 { return x - y }),
	"Mul": arithmetic(func(x, y float64) float64 { return x * y }), "Div": foldDiv, "Mod": foldMod,
	"Pow": arithmetic(math.Pow), "Min": arithmetic(math.Min), "Max": arithmetic(math.Max),
	"Equal":   comparison(func(x, y float64) bool { return x == y }),
	"Less":    comparison(func(x, y float64) bool { return x < y }),
	"Greater": comparison(func(x, y float64) bool { return x > y }),
	"And":     comparison(func(x, y float64) bool { return x != 0 && y != 0 }), "Or": comparison(func(x, y float64) bool { return x != 0 || y != 0 }),
	"Xor":            comparison(func(x, y float64) bool { return x != y }),
	"LessOrEqual":    comparison(func(x, y float64) bool { return x <= y }),
	"GreaterOrEqual": comparison(func(x, y float64) bool { return x >= y }),
	"Not":            elementwise(func(x float64) float64 { return 1 - x }),
	"Neg":            elementwise(func(x float64) float64 { return -x }), "Abs": elementwise(math.Abs),
	"Sqrt": elementwise(math.Sqrt), "Exp": elementwise(math.Exp), "Log": elementwise(math.Log),
	"Sin": elementwise(math.Sin), "Cos": elementwise(math.Cos), "Floor": elementwise(math.Floor), "Ceil": elementwise(math.Ceil),
	"Round": elementwise(math.RoundToEven), "Reciprocal": elementwise(func(x float64) float64 { return 1 / x }),
	"Sign":  elementwise(func(x float64) float64 { return float64(truth(x > 0) - truth(x < 0)) }),
	"Where": foldWhere, "CumSum": foldCumSum,
	"ReduceSum": foldReduce(func(x, y float64) float64 { return x + y }), "ReduceProd": foldReduce(func(x, y float64) float64 { return x * y }),
	"ReduceMax": foldReduce(math.Max), "ReduceMin": foldReduce(math.Min),
	"Gather": foldGather, "Concat": foldConcat, "Reshape": foldReshape, "Unsqueeze": foldReshape, "Squeeze": foldReshape, "Flatten": foldReshape,
	"Slice": foldSlice, "Expand": foldExpand, "Transpose": foldTranspose, "Tile": foldTile, "Split": foldSplit, "Trilu": foldTrilu,
	"NonZero": foldNonZero, "GatherND": foldGatherND, "ScatterND": foldScatterND, "Pad": foldPad,
}

func truth(x bool) int {
	if x {
		return 1
	}
	return 0
}

// rounded keeps a result to its type: float32 after each operation, as the
// runtime would.
func rounded(dtype graph.DType, x float64) float64 {
	if dtype == graph.Float32 {
		return float64(float32(x))
	}
	return x
}

func one(dtype graph.DType, shape []int, element func(index []int) float64) []*tensor {
	t := &tensor{dtype: dtype, shape: shape}
	if numel(shape) > foldLimit {
		return nil
	}
	index := make([]int, len(shape))
	for range numel(shape) {
		t.data = append(t.data, rounded(dtype, element(index)))
		for d := len(shape) - 1; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
	return []*tensor{t}
}

// at reads an element; the last part of the index counts, and along a dimension
// of 1 every index is 0, which is broadcasting.
func (t *tensor) at(index []int) float64 {
	offset := 0
	for d, size := range t.shape {
		i := index[len(index)-len(t.shape)+d]
		if size == 1 {
			i = 0
		}
		offset = offset*size + i
	}
	return t.data[offset]
}

// broadcast is the common shape of two; false where there is none.
func broadcast(x, y []int) ([]int, bool) {
	if len(x) < len(y) {
		x, y = y, x
	}
	shape := slices.Clone(x)
	for i, d := range y {
		switch at := len(x) - len(y) + i; {
		case shape[at] == 1:
			shape[at] = d
		case d != 1 && d != shape[at]:
			return nil, false
		}
	}
	return shape, true
}

func elementwise(f func(x float64) float64) fold {
	return func(_ *call, in []*tensor) []*tensor {
		return one(in[0].dtype, in[0].shape, func(i []int) float64 { return f(in[0].at(i)) })
	}
}

func combine(c *call, in []*tensor, dtype graph.DType, f func(x, y float64) float64) []*tensor {
	total := in[0]
	for _, y := range in[1:] {
		x := total
		shape, ok := broadcast(x.shape, y.shape)
		c.must(ok, "shapes %v and %v do not broadcast", x.shape, y.shape)
		list := one(dtype, shape, func(i []int) float64 { return f(x.at(i), y.at(i)) })
		if list == nil {
			return nil
		}
		total = list[0]
	}
	return []*tensor{total}
}

func arithmetic(f func(x, y float64) float64) fold {
	return func(c *call, in []*tensor) []*tensor { return combine(c, in, in[0].dtype, f) }
}

func comparison(f func(x, y float64) bool) fold {
	return func(c *call, in []*tensor) []*tensor {
		return combine(c, in, graph.Bool, func(x, y float64) float64 { return float64(truth(f(x, y))) })
	}
}

// Integers are divided towards zero.
func foldDiv(c *call, in []*tensor) []*tensor {
	integer := in[0].dtype == graph.Int64
	return combine(c, in, in[0].dtype, func(x, y float64) float64 {
		if integer {
			c.must(y != 0, "division by zero")
			return math.Trunc(x / y)
		}
		return x / y
	})
}

// Mod has the divisor's sign, or with fmod the dividend's.
func foldMod(c *call, in []*tensor) []*tensor {
	return combine(c, in, in[0].dtype, func(x, y float64) float64 {
		r := math.Mod(x, y)
		if c.int("fmod", 0) == 0 && r != 0 && (r < 0) != (y < 0) {
			r += y
		}
		return r
	})
}

func foldConstant(c *call, _ []*tensor) []*tensor {
	for _, a := range c.n.Attribute {
		switch a.GetName() {
		case "value":
			t, err := readTensor(a.T, c.im.dir)
			c.must(err == nil, "%v", err)
			return []*tensor{t}
		case "value_int":
			return []*tensor{{graph.Int64, nil, []float64{float64(a.GetI())}}}
		case "value_float":
			return []*tensor{{graph.Float32, nil, []float64{float64(a.GetF())}}}
		case "value_ints":
			return []*tensor{intsTensor(c.list("value_ints")...)}
		case "value_floats":
			t := &tensor{dtype: graph.Float32, shape: []int{len(a.Floats)}}
			for _, x := range a.Floats {
				t.data = append(t.data, float64(x))
			}
			return []*tensor{t}
		}
	}
	c.im.fail("a constant without a tensor or numbers")
	return nil
}

func foldConstantOfShape(c *call, in []*tensor) []*tensor {
	fill := &tensor{graph.Float32, []int{1}, []float64{0}}
	if a := c.attr("value"); a != nil {
		t, err := readTensor(a.T, c.im.dir)
		c.must(err == nil, "%v", err)
		fill = t
	}
	c.must(len(fill.data) == 1, "value has %d elements, want one", len(fill.data))
	return one(fill.dtype, c.claimed(in[0].ints()), func([]int) float64 { return fill.data[0] })
}

// claimed checks a shape that the file computes.
func (c *call) claimed(dims []int) []int {
	list := make([]int64, len(dims))
	for i, d := range dims {
		list[i] = int64(d)
	}
	shape, err := shapeOf(list)
	c.must(err == nil, "%v", err)
	return shape
}

func foldRange(c *call, in []*tensor) []*tensor {
	start, limit, step := in[0].data[0], in[1].data[0], in[2].data[0]
	n := math.Ceil((limit - start) / step)
	c.must(step != 0 && n < foldLimit, "range from %g to %g in steps of %g", start, limit, step)
	return one(in[0].dtype, []int{max(0, int(n))}, func(i []int) float64 { return start + float64(i[0])*step })
}

func foldCast(c *call, in []*tensor) []*tensor {
	to := c.castTo()
	return one(to, in[0].shape, func(i []int) float64 { return cast(in[0].at(i), to) })
}

// castTo is the type that Cast or CastLike names.
func (c *call) castTo() graph.DType {
	if c.n.GetOpType() == "CastLike" {
		return c.im.typed(c.entry(1))
	}
	d, err := dtypeOf(onnx.DataType(c.int("to", 0)))
	c.must(err == nil, "%v", err)
	return d
}

func cast(x float64, to graph.DType) float64 {
	switch to {
	case graph.Int64:
		return math.Trunc(x)
	case graph.Bool:
		return float64(truth(x != 0))
	}
	return float64(float32(x))
}

func foldWhere(c *call, in []*tensor) []*tensor {
	shape, ok := broadcast(in[1].shape, in[2].shape)
	if ok {
		shape, ok = broadcast(in[0].shape, shape)
	}
	c.must(ok, "shapes %v, %v and %v do not broadcast", in[0].shape, in[1].shape, in[2].shape)
	return one(in[1].dtype, shape, func(i []int) float64 {
		if in[0].at(i) != 0 {
			return in[1].at(i)
		}
		return in[2].at(i)
	})
}

func foldCumSum(c *call, in []*tensor) []*tensor {
	x, axis := in[0], c.axis(in[1].ints()[0], len(in[0].shape))
	exclusive, reverse := c.int("exclusive", 0) == 1, c.int("reverse", 0) == 1
	return one(x.dtype, x.shape, func(index []int) float64 {
		total, i := 0.0, slices.Clone(index)
		for k := range x.shape[axis] {
			i[axis] = k
			before := k < index[axis] && !reverse || k > index[axis] && reverse
			if before || k == index[axis] && !exclusive {
				total += x.at(i)
			}
		}
		return total
	})
}

func foldReduce(f func(x, y float64) float64) fold {
	return func(c *call, in []*tensor) []*tensor {
		x := in[0]
		axes, ok := c.axes(1)
		if !ok || len(axes) == 0 {
			if c.int("noop_with_empty_axes", 0) == 1 {
				return []*tensor{x}
			}
			axes = nil
			for i := range x.shape {
				axes = append(axes, i)
			}
		}
		kept := slices.Clone(x.shape)
		for _, a := range axes {
			kept[c.axis(a, len(kept))] = 1
		}
		if len(x.data) == 0 {
			return nil
		}
		y := &tensor{dtype: x.dtype, shape: kept, data: make([]float64, numel(kept))}
		seen := make([]bool, len(y.data))
		place := &tensor{shape: kept}
		for i := range y.data {
			place.data = append(place.data, float64(i))
		}
		one(x.dtype, x.shape, func(i []int) float64 {
			at := int(place.at(i))
			if seen[at] {
				y.data[at] = f(y.data[at], x.at(i))
			} else {
				y.data[at], seen[at] = x.at(i), true
			}
			return 0
		})
		if c.int("keepdims", 1) == 0 {
			y.shape = nil
			for i, d := range kept {
				if !slices.ContainsFunc(axes, func(a int) bool { return c.axis(a, len(kept)) == i }) {
					y.shape = append(y.shape, d)
				}
			}
		}
		return []*tensor{y}
	}
}
