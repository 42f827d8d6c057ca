package graph_test

import (
	"fmt"

	"immiscible/models/graph"
)

func convRows() []row {
	var list []row
	for _, c := range []struct {
		name string
		x, w []int
		a    graph.ConvAttrs
	}{
		{"1x1", []int{2, 3, 4, 5}, []int{4, 3, 1, 1}, graph.ConvAttrs{}},
		{"1x1 stride 2, odd", []int{2, 3, 5, 7}, []int{4, 3, 1, 1}, graph.ConvAttrs{Stride: 2}},
		{"1x1 stride 2, even", []int{1, 2, 4, 6}, []int{3, 2, 1, 1}, graph.ConvAttrs{Stride: 2}},
		{"1x1 stride 3", []int{1, 2, 6, 5}, []int{3, 2, 1, 1}, graph.ConvAttrs{Stride: 3}},
		{"1x1 pads 1", []int{1, 2, 3, 4}, []int{3, 2, 1, 1}, graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}},
		{"3x3 pads 1", []int{2, 3, 5, 4}, []int{4, 3, 3, 3}, graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}},
		{"3x3 no pads", []int{1, 2, 6, 4}, []int{3, 2, 3, 3}, graph.ConvAttrs{}},
		{"3x3 pads 3, more than the kernel needs", []int{1, 2, 2, 3}, []int{2, 2, 3, 3}, graph.ConvAttrs{Pads: [4]int{3, 3, 3, 3}}},
		{"3x3 four different pads", []int{1, 2, 4, 5}, []int{2, 2, 3, 3}, graph.ConvAttrs{Pads: [4]int{0, 1, 2, 3}}},
		{"3x3 stride 2 pads 1, even", []int{2, 2, 6, 4}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}},
		{"3x3 stride 2 pads 1, odd", []int{2, 2, 5, 7}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}},
		{"3x3 stride 2 pads 0011, even", []int{2, 2, 6, 4}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{0, 0, 1, 1}}},
		{"3x3 stride 2 pads 0011, odd", []int{2, 2, 5, 7}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{0, 0, 1, 1}}},
		{"3x3 stride 2 no pads", []int{1, 2, 8, 6}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2}},
		{"3x3 stride 4, columns unused", []int{1, 2, 10, 9}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 4}},
		{"5x5 pads 2", []int{1, 2, 6, 5}, []int{3, 2, 5, 5}, graph.ConvAttrs{Pads: [4]int{2, 2, 2, 2}}},
		{"5x5 stride 2 pads 2", []int{1, 2, 7, 6}, []int{3, 2, 5, 5}, graph.ConvAttrs{Stride: 2, Pads: [4]int{2, 2, 2, 2}}},
		{"2x3 kernel", []int{1, 2, 4, 5}, []int{3, 2, 2, 3}, graph.ConvAttrs{Pads: [4]int{1, 0, 0, 1}}},
		{"1x3 kernel, stride 2", []int{1, 2, 5, 6}, []int{3, 2, 1, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{0, 1, 0, 1}}},
		{"kernel as large as the image", []int{3, 2, 4, 4}, []int{5, 2, 4, 4}, graph.ConvAttrs{}},
		{"one of everything", []int{1, 1, 1, 1}, []int{1, 1, 1, 1}, graph.ConvAttrs{}},
	} {
		list = append(list,
			row{op: "Conv", name: c.name + ", bias", in: []arg{normal(c.x...), normal(c.w...), normal(c.w[0])}, exact: true,
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Conv(x[0], x[1], x[2], c.a) })},
			row{op: "Conv", name: c.name, in: []arg{normal(c.x...), normal(c.w...)}, exact: true,
				build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Conv(x[0], x[1], nil, c.a) })})
	}
	for _, c := range []struct {
		name string
		x, w []int
		a    graph.ConvAttrs
		h, v int
	}{
		{"4x4 stride 2 pads 1", []int{2, 3, 3, 4}, []int{3, 2, 4, 4}, graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}, 6, 8},
		{"3x3 stride 2 pads 1, output_padding", []int{1, 3, 3, 4}, []int{3, 2, 3, 3}, graph.ConvAttrs{Stride: 2, Pads: [4]int{1, 1, 1, 1}}, 6, 7},
		{"3x3 pads 1", []int{1, 2, 4, 3}, []int{2, 3, 3, 3}, graph.ConvAttrs{Pads: [4]int{1, 1, 1, 1}}, 4, 3},
		{"2x3 stride 3, four different pads", []int{2, 2, 2, 3}, []int{2, 1, 2, 3}, graph.ConvAttrs{Stride: 3, Pads: [4]int{1, 0, 0, 2}}, 4, 8},
		{"1x1", []int{1, 2, 2, 2}, []int{2, 3, 1, 1}, graph.ConvAttrs{}, 2, 2},
	} {
		list = append(list, row{op: "ConvTranspose", name: c.name, in: []arg{normal(c.x...), normal(c.w...)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value {
				return b.ConvTranspose(x[0], x[1], c.a, c.h, c.v)
			})})
	}
	for _, shape := range [][]int{{1, 1, 1, 1}, {2, 3, 4, 2}, {1, 2, 3, 5}} {
		w := []int{2, shape[1], 3, 3}
		list = append(list, row{op: "ConvTranspose", name: fmt.Sprint("Upsample2xConv ", shape), in: []arg{normal(shape...), normal(w...)}, exact: true,
			build: one(func(b *graph.Builder, x []*graph.Value) *graph.Value { return b.Upsample2xConv(x[0], x[1]) })})
	}
	for _, shape := range [][]int{{1, 1, 1, 1}, {2, 3, 4, 2}, {1, 2, 3, 5}} {
		list = append(list, row{op: "Resize", name: fmt.Sprint(shape), in: []arg{normal(shape...)}, exact: true,
			build: with1((*graph.Builder).Resize2x)})
	}
	return list
}
