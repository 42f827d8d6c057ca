package importer

import "immiscible/models/graph"

// buildReduce is for all reductions: their axes are an attribute or, later, an
// input; without them all are meant, or none with noop_with_empty_axes.
func buildReduce(c *call) []*graph.Value {
	b, x, keep := c.b, c.x(0), c.int("keepdims", 1) == 1
	axes, ok := c.axes(1)
	op := c.n.GetOpType()
	if (!ok || len(axes) == 0) && c.int("noop_with_empty_axes", 0) == 1 {
		switch op { // the elementwise part alone
		case "ReduceL1":
			return single(b.Abs(x))
		case "ReduceL2":
			return single(b.Abs(x))
		case "ReduceSumSquare":
			return single(b.Mul(x, x))
		case "ReduceLogSum":
			return single(b.Log(x))
		}
		return single(b.Identity(x))
	}
	if x.DType == graph.Bool { // max is or, min is and
		reduced := map[string]func(*graph.Builder, *graph.Value, bool, ...int) *graph.Value{
			"ReduceMax": (*graph.Builder).ReduceMax, "ReduceMin": (*graph.Builder).ReduceMin}[op]
		c.must(reduced != nil, "%v of truth values", op)
		return single(b.Cast(reduced(b, b.Cast(x, graph.Float32), keep, axes...), graph.Bool))
	}
	switch op {
	case "ReduceSum":
		return single(b.ReduceSum(x, keep, axes...))
	case "ReduceMean":
		return single(b.ReduceMean(x, keep, axes...))
	case "ReduceMax":
		return single(b.ReduceMax(x, keep, axes...))
	case "ReduceMin":
		return single(b.ReduceMin(x, keep, axes...))
	case "ReduceProd":
		return single(b.ReduceProd(x, keep, axes...))
	case "ReduceL1":
		return single(b.ReduceSum(b.Abs(x), keep, axes...))
	case "ReduceL2":
		return single(b.Sqrt(b.ReduceSumSquare(x, keep, axes...)))
	case "ReduceSumSquare":
		return single(b.ReduceSumSquare(x, keep, axes...))
	case "ReduceLogSum":
		return single(b.Log(b.ReduceSum(x, keep, axes...)))
	}
	// ln Σeˣ, the largest element taken off first.
	most := b.ReduceMax(x, true, axes...)
	sum := b.Log(b.ReduceSum(b.Exp(b.Sub(x, most)), true, axes...))
	y := b.Add(sum, most)
	if !keep {
		y = b.ReduceSum(y, false, axes...) // of single elements: it drops the dimensions
	}
	return single(y)
}

func buildArgExtremum(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	axis, keep := c.axis(c.int("axis", 0), x.Rank()), c.int("keepdims", 1) == 1
	last := c.int("select_last_index", 0) == 1
	if x.DType != graph.Float32 {
		x = b.Cast(x, graph.Float32)
	}
	find := b.ArgMax
	if c.n.GetOpType() == "ArgMin" {
		find = b.ArgMin
	}
	if !last {
		return single(find(x, axis, keep))
	}
	// The last of equal ones is the first of the reversed.
	reversed := b.Gather(x, b.Ints(countdown(c.listed(x.Dim(axis)))...), axis)
	return single(b.Sub(b.Int64s([]int{x.Dim(axis) - 1}), find(reversed, axis, keep)))
}

func countdown(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = n - 1 - i
	}
	return list
}

func buildCumSum(c *call) []*graph.Value {
	x := c.x(0)
	return single(c.b.CumSum(x, c.axis(int(c.scalar(1)), x.Rank()), c.int("exclusive", 0) == 1, c.int("reverse", 0) == 1))
}
