package importer

import (
	"slices"

	"immiscible/models/graph"
)

// Folds that move elements.

func foldGather(c *call, in []*tensor) []*tensor {
	x, indices := in[0], in[1]
	axis := c.axis(c.int("axis", 0), len(x.shape))
	shape := slices.Concat(x.shape[:axis], indices.shape, x.shape[axis+1:])
	after := axis + len(indices.shape)
	return one(x.dtype, shape, func(i []int) float64 {
		pick := c.axis(int(indices.at(i[axis:after])), x.shape[axis])
		return x.at(slices.Concat(i[:axis], []int{pick}, i[after:]))
	})
}

func foldConcat(c *call, in []*tensor) []*tensor {
	axis := c.axis(c.int("axis", 0), len(in[0].shape))
	shape := slices.Clone(in[0].shape)
	for _, x := range in[1:] {
		c.must(len(x.shape) == len(shape), "shapes %v and %v", shape, x.shape)
		for d := range shape {
			c.must(d == axis || x.shape[d] == shape[d], "shapes %v and %v along axis %d", shape, x.shape, axis)
		}
		shape[axis] += x.shape[axis]
	}
	return one(in[0].dtype, shape, func(index []int) float64 {
		i, part := slices.Clone(index), 0
		for i[axis] >= in[part].shape[axis] {
			i[axis] -= in[part].shape[axis]
			part++
		}
		// Not at: a part of size 1 is no broadcast here, and its index is 0 anyway.
		return in[part].at(i)
	})
}

// foldReshape is for the operators that change the shape alone.
func foldReshape(c *call, in []*tensor) []*tensor {
	return []*tensor{{in[0].dtype, c.reshaped(in[0].shape), in[0].data}}
}

func foldSlice(c *call, in []*tensor) []*tensor {
	x := in[0]
	cuts := c.cuts(x.shape)
	shape := make([]int, len(cuts))
	for d, cut := range cuts {
		shape[d] = cut.count
	}
	return one(x.dtype, shape, func(index []int) float64 {
		i := make([]int, len(index))
		for d, cut := range cuts {
			i[d] = cut.start + index[d]*cut.step
		}
		return x.at(i)
	})
}

func foldExpand(c *call, in []*tensor) []*tensor {
	shape, ok := broadcast(in[0].shape, c.claimed(in[1].ints()))
	c.must(ok, "shape %v does not broadcast to %v", in[0].shape, in[1].ints())
	return one(in[0].dtype, shape, in[0].at)
}

func foldTranspose(c *call, in []*tensor) []*tensor {
	x, perm := in[0], c.perm(len(in[0].shape))
	shape := make([]int, len(perm))
	for d, p := range perm {
		shape[d] = x.shape[p]
	}
	return one(x.dtype, shape, func(index []int) float64 {
		i := make([]int, len(index))
		for d, p := range perm {
			i[p] = index[d]
		}
		return x.at(i)
	})
}

func foldTile(c *call, in []*tensor) []*tensor {
	x, repeats := in[0], in[1].ints()
	c.must(len(repeats) == len(x.shape), "repeats %v of a value %v", repeats, x.shape)
	shape := slices.Clone(x.shape)
	for d, r := range c.claimed(repeats) {
		shape[d] *= r
	}
	return one(x.dtype, c.claimed(shape), func(index []int) float64 {
		i := slices.Clone(index)
		for d := range i {
			i[d] %= x.shape[d]
		}
		return x.at(i)
	})
}

func foldSplit(c *call, in []*tensor) []*tensor {
	x := in[0]
	axis, sizes := c.splits(x.shape)
	var list []*tensor
	start := 0
	for _, size := range sizes {
		shape := slices.Clone(x.shape)
		shape[axis] = size
		list = append(list, one(x.dtype, shape, func(index []int) float64 {
			i := slices.Clone(index)
			i[axis] += start
			return x.at(i)
		})...)
		start += size
	}
	return list
}

func foldTrilu(c *call, in []*tensor) []*tensor {
	x := in[0]
	rank := len(x.shape)
	c.must(rank >= 2, "shape %v, want at least two dimensions", x.shape)
	k := 0
	if len(in) > 1 && in[1] != nil {
		k = in[1].ints()[0]
	}
	upper := c.int("upper", 1) == 1
	return one(x.dtype, x.shape, func(i []int) float64 {
		if off := i[rank-1] - i[rank-2] - k; upper && off < 0 || !upper && off > 0 {
			return 0
		}
		return x.at(i)
	})
}

func foldNonZero(_ *call, in []*tensor) []*tensor {
	x := in[0]
	var hits [][]int
	one(x.dtype, x.shape, func(i []int) float64 {
		if x.at(i) != 0 {
			hits = append(hits, slices.Clone(i))
		}
		return 0
	})
	return one(graph.Int64, []int{len(x.shape), len(hits)}, func(i []int) float64 { return float64(hits[i[1]][i[0]]) })
}

func foldGatherND(c *call, in []*tensor) []*tensor {
	x, indices := in[0], in[1]
	batch := c.int("batch_dims", 0)
	last := len(indices.shape) - 1
	c.must(last >= 0 && batch >= 0 && batch <= last && batch+indices.shape[last] <= len(x.shape), "indices %v for %v, %d batch dimensions", indices.shape, x.shape, batch)
	k := indices.shape[last]
	shape := slices.Concat(indices.shape[:last], x.shape[batch+k:])
	return one(x.dtype, shape, func(i []int) float64 {
		from := slices.Clone(i[:batch])
		for j := range k {
			from = append(from, c.axis(int(indices.at(append(slices.Clone(i[:last]), j))), x.shape[batch+j]))
		}
		return x.at(append(from, i[last:]...))
	})
}

func foldScatterND(c *call, in []*tensor) []*tensor {
	if r := c.string("reduction", "none"); r != "none" {
		return nil
	}
	x, indices, updates := in[0], in[1], in[2]
	y := &tensor{x.dtype, x.shape, slices.Clone(x.data)}
	last := len(indices.shape) - 1
	c.must(last >= 0 && indices.shape[last] <= len(x.shape), "indices %v for %v", indices.shape, x.shape)
	k := indices.shape[last]
	size := numel(x.shape[k:])
	c.must(len(updates.data) == numel(indices.shape[:last])*size, "updates %v for indices %v of %v", updates.shape, indices.shape, x.shape)
	for row := range numel(indices.shape[:last]) {
		offset := 0
		for j := range k {
			offset = offset*x.shape[j] + c.axis(int(indices.data[row*k+j]), x.shape[j])
		}
		copy(y.data[offset*size:][:size], updates.data[row*size:])
	}
	return []*tensor{y}
}

func foldPad(c *call, in []*tensor) []*tensor {
	if c.string("mode", "constant") != "constant" {
		return nil
	}
	x := in[0]
	before, after := c.pads(x.shape)
	value := c.float("value", 0)
	if len(in) > 2 && in[2] != nil {
		value = in[2].data[0]
	}
	shape := slices.Clone(x.shape)
	for d := range shape {
		shape[d] += before[d] + after[d]
	}
	return one(x.dtype, c.claimed(shape), func(index []int) float64 {
		i := slices.Clone(index)
		for d := range i {
			if i[d] -= before[d]; i[d] < 0 || i[d] >= x.shape[d] {
				return value
			}
		}
		return x.at(i)
	})
}
