package importer

import (
	"slices"

	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// indices are input i, with negative ones counted from the end made positive:
// derivatives compare them with positions.
func (c *call) indices(i, size int) *graph.Value {
	b := c.b
	if t := c.im.known(c.entry(i)); t != nil {
		list := t.ints()
		for k, at := range list {
			list[k] = c.axis(at, size)
		}
		return b.Int64s(list, t.shape...)
	}
	x := c.x(i)
	return b.Where(b.Less(x, b.Int64s([]int{0})), b.Add(x, b.Int64s([]int{size})), x)
}

func buildGather(c *call) []*graph.Value {
	x := c.x(0)
	axis := c.axis(c.int("axis", 0), x.Rank())
	return single(c.b.Gather(x, c.indices(1, x.Dim(axis)), axis))
}

func buildGatherElements(c *call) []*graph.Value {
	x := c.x(0)
	axis := c.axis(c.int("axis", 0), x.Rank())
	return single(c.b.GatherElements(x, c.x(1), axis))
}

func buildScatterElements(c *call) []*graph.Value {
	x := c.x(0)
	axis := c.axis(c.int("axis", 0), x.Rank())
	return single(c.b.ScatterElements(x, c.x(1), c.x(2), axis, c.string("reduction", "none")))
}

// GatherND with batch dimensions is one without: each row of indices gets its
// batch position in front.
func buildGatherND(c *call) []*graph.Value {
	b, x, indices, batch := c.b, c.x(0), c.x(1), c.int("batch_dims", 0)
	c.must(indices.Rank() >= 1 && batch >= 0 && batch < indices.Rank() && batch <= x.Rank(), "%d batch dimensions of %v", batch, indices.Shape)
	if batch > 0 {
		rows := indices.Shape[:indices.Rank()-1]
		places := make([]int, 0, numel(rows)*batch)
		one(graph.Int64, rows, func(i []int) float64 { places = append(places, i[:batch]...); return 0 })
		c.must(slices.Equal(x.Shape[:batch], indices.Shape[:batch]), "batch dimensions of %v and %v", x.Shape, indices.Shape)
		front := b.Int64s(places, slices.Concat(rows, []int{batch})...)
		indices = b.Concat(-1, front, indices)
	}
	return single(b.GatherND(x, indices))
}

func buildScatterND(c *call) []*graph.Value {
	return single(c.b.ScatterND(c.x(0), c.x(1), c.x(2), c.string("reduction", "none")))
}

// OneHot compares the indices with the positions; values are [off, on].
func buildOneHot(c *call) []*graph.Value {
	b, depth, values := c.b, int(c.scalar(1)), c.x(2)
	c.must(depth >= 1 && depth < foldLimit, "depth %d", depth)
	indices := b.Cast(c.x(0), graph.Int64)
	axis := c.axis(c.int("axis", -1), indices.Rank()+1)
	zero := b.Int64s([]int{0})
	indices = b.Where(b.Less(indices, zero), b.Add(indices, b.Int64s([]int{depth})), indices)
	wide := slices.Insert(slices.Clone(indices.Shape), axis, 1)
	places := make([]int, indices.Rank()+1)
	for i := range places {
		places[i] = 1
	}
	places[axis] = depth
	positions := countdown(depth)
	slices.Reverse(positions)
	hit := b.Equal(b.Reshape(indices, wide...), b.Int64s(positions, places...))
	pick := func(i int) *graph.Value { return b.Reshape(b.SliceAxis(values, 0, i, i+1)) }
	return single(b.Where(hit, pick(1), pick(0)))
}

func buildEyeLike(c *call) []*graph.Value {
	shape := c.im.shape(c.entry(0))
	c.must(len(shape) == 2 && numel(shape) <= foldLimit, "shape %v, want a matrix", shape)
	dtype := c.im.typed(c.entry(0))
	if c.attr("dtype") != nil {
		d, err := dtypeOf(onnx.DataType(c.int("dtype", 0)))
		c.must(err == nil, "%v", err)
		dtype = d
	}
	k := c.int("k", 0)
	t := one(dtype, shape, func(i []int) float64 { return float64(truth(i[1]-i[0] == k)) })[0]
	return single(t.emit(c.b))
}
