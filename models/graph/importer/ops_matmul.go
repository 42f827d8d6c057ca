package importer

import (
	"slices"
	"strings"

	"immiscible/models/graph"
)

// MatMul follows NumPy: a vector on the left is a row, on the right a column,
// and its dimension leaves the result.
func buildMatMul(c *call) []*graph.Value {
	b, x, y := c.b, c.x(0), c.x(1)
	c.must(x.Rank() > 0 && y.Rank() > 0, "operands %v and %v, want vectors or matrices", x.Shape, y.Shape)
	left, right := x, y
	if x.Rank() == 1 {
		left = b.Reshape(x, 1, x.Dim(0))
	}
	if y.Rank() == 1 {
		right = b.Reshape(y, y.Dim(0), 1)
	}
	z := b.MatMul(left, right)
	shape := slices.Clone(z.Shape)
	if y.Rank() == 1 {
		shape = shape[:len(shape)-1]
	}
	if x.Rank() == 1 {
		at := len(shape) - 2
		if y.Rank() == 1 {
			at++
		}
		shape = slices.Delete(shape, at, at+1)
	}
	return single(b.Reshape(z, shape...))
}

// Gemm is alpha·x·y + beta·c, either operand transposed first. torch's Linear is
// the builder's Gemm.
func buildGemm(c *call) []*graph.Value {
	b, x, y := c.b, c.x(0), c.x(1)
	alpha, beta := c.float("alpha", 1), c.float("beta", 1)
	tx, ty := c.int("transA", 0) == 1, c.int("transB", 0) == 1
	bias := c.optional(2)
	c.must(x.Rank() == 2 && y.Rank() == 2, "operands %v and %v, want matrices", x.Shape, y.Shape)
	if !tx && ty && alpha == 1 && beta == 1 && (bias == nil || slices.Equal(bias.Shape, y.Shape[:1])) {
		return single(b.Gemm(x, y, bias))
	}
	z := b.FusedMatMul(x, y, tx, ty, alpha)
	if bias != nil {
		if beta != 1 {
			bias = b.Mul(bias, b.Scalar(beta))
		}
		z = b.Add(z, bias)
	}
	return single(z)
}

func buildFusedMatMul(c *call) []*graph.Value {
	c.must(c.int("transBatchA", 0) == 0 && c.int("transBatchB", 0) == 0, "transposed batches are not imported")
	return single(c.b.FusedMatMul(c.x(0), c.x(1), c.int("transA", 0) == 1, c.int("transB", 0) == 1, c.float("alpha", 1)))
}

// Einsum of one or two operands without repeated letters in one of them, and
// without "...": letters are sorted into those of both operands and the result
// (batch), of the left and the result, of the right and the result, and of the
// operands alone, which are summed; the rest is a product of matrices.
func buildEinsum(c *call) []*graph.Value {
	b := c.b
	terms, result, explicit := strings.Cut(strings.ReplaceAll(c.string("equation", ""), " ", ""), "->")
	operands := strings.Split(terms, ",")
	c.must(len(operands) == len(c.in) && len(operands) <= 2 && !strings.Contains(terms, "."), "equation %q: one or two operands without \"...\" are imported", c.string("equation", ""))
	size := map[rune]int{}
	count := map[rune]int{}
	for i, term := range operands {
		x := c.x(i)
		c.must(len(term) == x.Rank(), "equation %q for an operand %v", c.string("equation", ""), x.Shape)
		for d, letter := range term {
			c.must(strings.Count(term, string(letter)) == 1, "equation %q: a letter stands twice in one operand", c.string("equation", ""))
			c.must(size[letter] == 0 || size[letter] == x.Dim(d), "equation %q: %q is %d and %d", c.string("equation", ""), letter, size[letter], x.Dim(d))
			size[letter] = x.Dim(d)
			count[letter]++
		}
	}
	if !explicit { // letters that stand once, in alphabetical order
		for letter, k := range count {
			if k == 1 {
				result += string(letter)
			}
		}
		letters := []rune(result)
		slices.Sort(letters)
		result = string(letters)
	}
	sizes := func(letters string) []int {
		var list []int
		for _, l := range letters {
			list = append(list, size[l])
		}
		return list
	}
	// ordered sums what only this operand has, and puts the rest in an order.
	ordered := func(i int, keep string) *graph.Value {
		x, term := c.x(i), operands[i]
		var gone []int
		left := ""
		for d, letter := range term {
			if strings.ContainsRune(keep, letter) {
				left += string(letter)
			} else {
				gone = append(gone, d)
			}
		}
		if len(gone) > 0 {
			x = b.ReduceSum(x, false, gone...)
		}
		perm := make([]int, len(keep))
		for d, letter := range keep {
			perm[d] = strings.IndexRune(left, letter)
		}
		return b.Transpose(x, perm...)
	}
	for _, letter := range result {
		c.must(size[letter] > 0 && strings.Count(result, string(letter)) == 1, "equation %q: its result", c.string("equation", ""))
	}
	if len(operands) == 1 {
		return single(ordered(0, result))
	}
	var batch, rows, cols, inner string
	for _, letter := range operands[0] {
		switch shared, kept := strings.ContainsRune(operands[1], letter), strings.ContainsRune(result, letter); {
		case shared && kept:
			batch += string(letter)
		case shared:
			inner += string(letter)
		case kept:
			rows += string(letter)
		}
	}
	for _, letter := range operands[1] {
		if !strings.ContainsRune(operands[0], letter) && strings.ContainsRune(result, letter) {
			cols += string(letter)
		}
	}
	x := b.Reshape(ordered(0, batch+rows+inner), append(sizes(batch), numel(sizes(rows)), numel(sizes(inner)))...)
	y := b.Reshape(ordered(1, batch+inner+cols), append(sizes(batch), numel(sizes(inner)), numel(sizes(cols)))...)
	made := batch + rows + cols
	z := b.Reshape(b.MatMul(x, y), sizes(made)...)
	perm := make([]int, len(result))
	for d, letter := range result {
		perm[d] = strings.IndexRune(made, letter)
	}
	return single(b.Transpose(z, perm...))
}
