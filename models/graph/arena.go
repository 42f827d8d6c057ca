package graph

import (
	"cmp"
	"math"
	"slices"
)

// Arena is what an arena of ONNX Runtime's would use for a graph's intermediate
// values, in bytes.
type Arena struct {
	Peak int64 // most in use at once: whole chunks, so more than Graph.Peak
	Held int64 // taken from the device and kept
}

// Arena runs the values' lives, as Peak counts them, through the rules of ONNX
// Runtime's arena: the smallest free chunk that a value fits in, the lower one of
// two, is cut if it is twice as large or 128 MiB larger, else used whole; free
// neighbours join. What fits nowhere gets a region of its own (kSameAsRequested),
// or with doubling one of twice the size of the last.
// https://github.com/microsoft/onnxruntime/blob/v1.24.1/onnxruntime/core/framework/bfc_arena.cc
func (g *Graph) Arena(doubling bool) Arena {
	a := &arena{region: 1 << 20, doubling: doubling}
	order, until := g.lives()
	ends := make([][]*chunk, len(order))
	for i, n := range order {
		for _, v := range n.Outputs {
			if end, ok := until(v); ok {
				ends[end] = append(ends[end], a.take(v.Bytes()))
			}
		}
		for _, c := range ends[i] {
			a.give(c)
		}
	}
	return a.Arena
}

// chunk is a part of a region. Neighbours are linked.
type chunk struct {
	at, size       int64
	free           bool
	previous, next *chunk
}

func bySize(a, b *chunk) int { return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.at, b.at)) }

type arena struct {
	Arena
	free     []*chunk // by size, then by address
	inUse    int64
	region   int64 // the next one's size, with doubling
	doubling bool
}

func (a *arena) take(bytes int64) *chunk {
	const unit, mostDead, mostRegion = 256, 128 << 20, 1 << 30
	bytes = (bytes + unit - 1) / unit * unit
	i, _ := slices.BinarySearchFunc(a.free, &chunk{size: bytes, at: math.MinInt64}, bySize)
	if i == len(a.free) {
		size := bytes
		if a.doubling {
			grown := false
			for ; a.region < bytes; grown = true {
				a.region *= 2
			}
			if size = a.region; !grown {
				a.region = min(2*a.region, mostRegion)
			}
		}
		a.insert(&chunk{at: a.Held, size: size})
		a.Held += size
		i, _ = slices.BinarySearchFunc(a.free, &chunk{size: bytes, at: math.MinInt64}, bySize)
	}
	c := a.free[i]
	a.free = slices.Delete(a.free, i, i+1)
	c.free = false
	if c.size >= 2*bytes || c.size-bytes >= mostDead {
		rest := &chunk{at: c.at + bytes, size: c.size - bytes, previous: c, next: c.next}
		if c.next != nil {
			c.next.previous = rest
		}
		c.size, c.next = bytes, rest
		a.insert(rest)
	}
	a.inUse += c.size
	a.Peak = max(a.Peak, a.inUse)
	return c
}

func (a *arena) give(c *chunk) {
	a.inUse -= c.size
	if next := c.next; next != nil && next.free {
		a.remove(next)
		c.join(next)
	}
	if previous := c.previous; previous != nil && previous.free {
		a.remove(previous)
		previous.join(c)
		c = previous
	}
	a.insert(c)
}

// join makes a chunk and the next one, which are not listed, one.
func (c *chunk) join(next *chunk) {
	c.size, c.next = c.size+next.size, next.next
	if c.next != nil {
		c.next.previous = c
	}
}

func (a *arena) insert(c *chunk) {
	c.free = true
	i, _ := slices.BinarySearchFunc(a.free, c, bySize)
	a.free = slices.Insert(a.free, i, c)
}

func (a *arena) remove(c *chunk) {
	i, _ := slices.BinarySearchFunc(a.free, c, bySize)
	a.free = slices.Delete(a.free, i, i+1)
}
