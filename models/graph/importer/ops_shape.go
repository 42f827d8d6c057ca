package importer

import (
	"math"
	"slices"

	"immiscible/models/graph"
)

func buildReshape(c *call) []*graph.Value {
	x := c.x(0)
	return single(c.b.Reshape(x, c.reshaped(x.Shape)...))
}

// reshaped is the result's shape for Reshape, Flatten, Squeeze and Unsqueeze.
func (c *call) reshaped(x []int) []int {
	switch c.n.GetOpType() {
	case "Reshape":
		shape := slices.Clone(c.ints(1))
		hole := -1
		for i, d := range shape {
			switch {
			case d == 0 && c.int("allowzero", 0) == 0:
				c.must(i < len(x), "dimension %d of %v is copied from %v", i, shape, x)
				shape[i] = x[i]
			case d == -1:
				c.must(hole < 0, "shape %v has two dimensions to infer", shape)
				hole = i
			case d < 0:
				c.im.fail("shape %v", shape)
			}
		}
		if hole >= 0 {
			shape[hole] = 1
			rest := numel(c.claimed(shape))
			c.must(rest > 0 && numel(x)%rest == 0, "%v does not fit %v", x, c.ints(1))
			shape[hole] = numel(x) / rest
		}
		c.must(numel(c.claimed(shape)) == numel(x), "%v has %d elements, %v has %d", x, numel(x), shape, numel(shape))
		return shape
	case "Flatten":
		axis := c.int("axis", 1)
		if axis < 0 {
			axis += len(x)
		}
		c.must(axis >= 0 && axis <= len(x), "axis %d of %v", axis, x)
		return []int{numel(x[:axis]), numel(x[axis:])}
	case "Unsqueeze":
		axes, ok := c.axes(1)
		c.must(ok, "no axes")
		rank := len(x) + len(axes)
		shape := make([]int, rank)
		for _, a := range axes {
			shape[c.axis(a, rank)] = -1
		}
		at := 0
		for i := range shape {
			if shape[i] == -1 {
				shape[i] = 1
				continue
			}
			c.must(at < len(x), "axes %v of %v: one stands twice", axes, x)
			shape[i] = x[at]
			at++
		}
		return shape
	}
	axes, ok := c.axes(1) // Squeeze
	var shape []int
	for i, d := range x {
		named := slices.ContainsFunc(axes, func(a int) bool { return c.axis(a, len(x)) == i })
		c.must(!named || d == 1, "dimension %d of %v is no single one", i, x)
		if !named && (ok || d != 1) {
			shape = append(shape, d)
		}
	}
	return shape
}

func (c *call) perm(rank int) []int {
	perm := c.list("perm")
	if perm == nil {
		perm = countdown(rank)
	}
	c.must(len(perm) == rank, "perm %v of a value with %d dimensions", perm, rank)
	for i := range rank {
		c.must(slices.Contains(perm, i), "perm %v of a value with %d dimensions", perm, rank)
	}
	return perm
}

func buildTranspose(c *call) []*graph.Value {
	x := c.x(0)
	return single(c.b.Transpose(x, c.perm(x.Rank())...))
}

// Concat leaves out operands without elements, which exporters join to caches.
func buildConcat(c *call) []*graph.Value {
	var xs []*graph.Value
	for i := range c.in {
		if numel(c.im.shape(c.entry(i))) > 0 {
			xs = append(xs, c.x(i))
		}
	}
	c.must(len(xs) > 0, "nothing to join")
	return single(c.b.Concat(c.axis(c.int("axis", 0), xs[0].Rank()), xs...))
}

// splits are the axis and sizes of Split: given, or equal parts, the last one
// smaller where they do not fit.
func (c *call) splits(x []int) (axis int, sizes []int) {
	axis = c.axis(c.int("axis", 0), len(x))
	if sizes = c.list("split"); sizes == nil && c.has(1) {
		sizes = c.ints(1)
	}
	if sizes == nil {
		n := len(c.n.Output)
		c.must(n > 0 && c.int("num_outputs", n) == n, "num_outputs %d for %d outputs", c.int("num_outputs", n), n)
		each := (x[axis] + n - 1) / n
		for i := range n {
			sizes = append(sizes, max(0, min(each, x[axis]-i*each)))
		}
	}
	total := 0
	for _, s := range sizes {
		c.must(s >= 0 && s <= x[axis], "sizes %v of axis %d of %v", sizes, axis, x)
		total += s
	}
	c.must(total == x[axis], "sizes %v of axis %d of %v", sizes, axis, x)
	return axis, sizes
}

func buildSplit(c *call) []*graph.Value {
	x := c.x(0)
	axis, sizes := c.splits(x.Shape)
	list, some, next := make([]*graph.Value, len(sizes)), []int{}, 0
	for i, size := range sizes {
		if size > 0 {
			some = append(some, size)
			continue
		}
		shape := slices.Clone(x.Shape)
		shape[axis] = 0
		c.empty = with(c.empty, i, shape)
	}
	parts := c.b.Split(x, axis, some...)
	for i, size := range sizes {
		if size > 0 {
			list[i] = parts[next]
			next++
		}
	}
	return list
}

// cut is what Slice takes of one dimension: count elements from start on, step
// apart, which may be negative.
type cut struct{ start, count, step int }

// cuts resolves Slice's bounds: negative ones count from the end, all are
// clamped to the dimension.
func (c *call) cuts(x []int) []cut {
	list := make([]cut, len(x))
	for i, d := range x {
		list[i] = cut{0, d, 1}
	}
	starts, ends, axes := c.list("starts"), c.list("ends"), c.list("axes") // before opset 10
	if c.im.opset >= 10 {
		starts, ends = c.ints(1), c.ints(2)
		if c.has(3) {
			axes = c.ints(3)
		}
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	c.must(len(ends) == len(starts) && len(axes) == len(starts), "starts %v, ends %v, axes %v", starts, ends, axes)
	for i, a := range axes {
		step := 1
		if c.has(4) {
			c.must(len(c.ints(4)) == len(starts), "steps %v for starts %v", c.ints(4), starts)
			step = c.ints(4)[i]
		}
		a = c.axis(a, len(x))
		d := x[a]
		low, high := 0, d // of both bounds; a step down may end before 0
		if step < 0 {
			low, high = -1, d-1
		}
		resolve := func(at int) int {
			if at < 0 {
				at = max(at, math.MinInt64/2) + d
			}
			return min(max(at, low), high)
		}
		start, end := resolve(starts[i]), resolve(ends[i])
		c.must(step != 0 && step > math.MinInt64, "step %d", step)
		count := 0
		if step > 0 && end > start {
			count = (end-start-1)/step + 1
		} else if step < 0 && end < start {
			count = (start-end-1)/-step + 1
		}
		list[a] = cut{max(start, 0), count, step}
	}
	return list
}

// A step down is a Gather, the rest one Slice.
func buildSlice(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	var axes, starts, ends, steps []int
	cuts := c.cuts(x.Shape)
	if slices.ContainsFunc(cuts, func(cut cut) bool { return cut.count == 0 }) {
		shape := make([]int, len(cuts))
		for a, cut := range cuts {
			shape[a] = cut.count
		}
		c.empty = with(c.empty, 0, shape)
		return []*graph.Value{nil}
	}
	for a, cut := range cuts {
		switch {
		case cut == struct{ start, count, step int }{0, x.Dim(a), 1}:
		case cut.step < 0:
			rows := make([]int, c.listed(cut.count))
			for i := range rows {
				rows[i] = cut.start + i*cut.step
			}
			x = b.Gather(x, b.Ints(rows...), a)
		default:
			axes, starts, steps = append(axes, a), append(starts, cut.start), append(steps, min(cut.step, x.Dim(a)))
			ends = append(ends, cut.start+(cut.count-1)*min(cut.step, x.Dim(a))+1)
		}
	}
	return single(b.Slice(x, axes, starts, ends, steps))
}

func buildExpand(c *call) []*graph.Value {
	x := c.x(0)
	shape, ok := broadcast(x.Shape, c.claimed(c.ints(1)))
	c.must(ok, "%v does not broadcast to %v", x.Shape, c.ints(1))
	return single(c.b.Expand(x, shape...))
}

// Tile is [d0, d1, …] → [1, d0, 1, d1, …], expanded to [r0, d0, r1, d1, …].
func buildTile(c *call) []*graph.Value {
	b, x, repeats := c.b, c.x(0), c.ints(1)
	c.must(len(repeats) == x.Rank(), "repeats %v of %v", repeats, x.Shape)
	var thin, wide []int
	final := slices.Clone(x.Shape)
	for i, r := range c.claimed(repeats) {
		thin, wide = append(thin, 1, x.Dim(i)), append(wide, r, x.Dim(i))
		final[i] *= r
	}
	c.claimed(final)
	return single(b.Reshape(b.Expand(b.Reshape(x, thin...), wide...), final...))
}

// pads are Pad's counts before and after each dimension; negative ones cut.
func (c *call) pads(x []int) (before, after []int) {
	pads := c.list("pads") // before opset 11
	if pads == nil {
		pads = c.ints(1)
	}
	axes := make([]int, len(x))
	for i := range axes {
		axes[i] = i
	}
	if c.has(3) {
		axes = c.ints(3)
	}
	c.must(len(pads) == 2*len(axes), "%d pads for %d dimensions", len(pads), len(axes))
	before, after = make([]int, len(x)), make([]int, len(x))
	for i, a := range axes {
		a = c.axis(a, len(x))
		before[a], after[a] = pads[i], pads[i+len(axes)]
		c.must(before[a] > -x[a] && after[a] > -x[a] && before[a] < math.MaxInt32 && after[a] < math.MaxInt32 && x[a]+before[a]+after[a] > 0,
			"pads %v of %v", pads, x)
	}
	return before, after
}

// Pad with constants is the builder's; with pixels of the image (reflect, edge,
// wrap) a Gather along each axis.
func buildPad(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	before, after := c.pads(x.Shape)
	mode := c.string("mode", "constant")
	for a := range x.Shape {
		d := x.Dim(a)
		if mode != "constant" && (before[a] != 0 || after[a] != 0) {
			var rows []int
			c.listed(before[a] + d + after[a])
			for i := -before[a]; i < d+after[a]; i++ {
				rows = append(rows, c.pixel(mode, i, d))
			}
			x = b.Gather(x, b.Ints(rows...), a)
		} else if before[a] < 0 || after[a] < 0 {
			x = b.SliceAxis(x, a, max(0, -before[a]), d+min(0, after[a]))
		}
		before[a], after[a] = max(0, before[a]), max(0, after[a])
	}
	if mode != "constant" {
		return single(x)
	}
	y := b.Pad(x, append(before, after...)...)
	value := c.float("value", 0)
	if c.has(2) {
		value = c.scalar(2)
	}
	if value != 0 && y != x {
		inside := b.Pad(b.Expand(b.Scalar(1), x.Shape...), append(before, after...)...)
		y = b.Where(b.Cast(inside, graph.Bool), y, b.Cast(b.Scalar(value), y.DType))
	}
	return single(y)
}

func (c *call) pixel(mode string, i, d int) int {
	switch mode {
	case "edge":
		return min(max(i, 0), d-1)
	case "wrap":
		return ((i % d) + d) % d
	case "reflect":
		if d == 1 {
			return 0
		}
		period := 2 * (d - 1)
		i = ((i % period) + period) % period
		return min(i, period-i)
	}
	c.im.fail("mode %q, want constant, reflect, edge or wrap", mode)
	return 0
}

func buildDepthToSpace(c *call) []*graph.Value {
	b, x, k := c.b, c.x(0), c.int("blocksize", 0)
	c.must(x.Rank() == 4 && k > 0 && k < 1<<16 && x.Dim(1)%(k*k) == 0, "blocksize %d of %v", k, x.Shape)
	n, d, h, w := x.Dim(0), x.Dim(1)/(k*k), x.Dim(2), x.Dim(3)
	if c.string("mode", "DCR") == "CRD" {
		return single(b.Reshape(b.Transpose(b.Reshape(x, n, d, k, k, h, w), 0, 1, 4, 2, 5, 3), n, d, h*k, w*k))
	}
	return single(b.Reshape(b.Transpose(b.Reshape(x, n, k, k, d, h, w), 0, 3, 4, 1, 5, 2), n, d, h*k, w*k))
}

func buildSpaceToDepth(c *call) []*graph.Value {
	b, x, k := c.b, c.x(0), c.int("blocksize", 0)
	c.must(x.Rank() == 4 && k > 0 && k < 1<<16 && x.Dim(2)%k == 0 && x.Dim(3)%k == 0, "blocksize %d of %v", k, x.Shape)
	n, d, h, w := x.Dim(0), x.Dim(1), x.Dim(2)/k, x.Dim(3)/k
	if c.string("mode", "DCR") == "CRD" {
		return single(b.Reshape(b.Transpose(b.Reshape(x, n, d, h, k, w, k), 0, 1, 3, 5, 2, 4), n, d*k*k, h, w))
	}
	return single(b.Reshape(b.Transpose(b.Reshape(x, n, d, h, k, w, k), 0, 3, 5, 1, 2, 4), n, d*k*k, h, w))
}

// Trilu multiplies by a mask of the last two dimensions; Where keeps a NaN out.
func buildTrilu(c *call) []*graph.Value {
	b, x := c.b, c.x(0)
	c.must(x.Rank() >= 2, "shape %v, want at least two dimensions", x.Shape)
	rows, cols, k := x.Dim(-2), x.Dim(-1), 0
	if c.has(1) {
		k = int(c.scalar(1))
	}
	c.must(rows*cols <= foldLimit, "a mask of %d×%d", rows, cols)
	mask := make([]int, rows*cols)
	for i := range mask {
		off := i%cols - i/cols - k
		mask[i] = truth(off >= 0 && c.int("upper", 1) == 1 || off <= 0 && c.int("upper", 1) == 0)
	}
	return single(b.Where(b.Cast(b.Int64s(mask, rows, cols), graph.Bool), x, b.Cast(b.Scalar(0), x.DType)))
}
