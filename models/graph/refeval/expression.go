package refeval

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"immiscible/models/graph"
)

// elementwiseNode runs the C statements of an Elementwise node for each element,
// in float64.
func elementwiseNode(n *graph.Node, in []array) []array {
	text := ""
	for _, a := range n.Attrs {
		if a.Name == "expression" {
			text = a.Value.(string)
		}
	}
	var shape []int
	for _, x := range in {
		shape = broadcast(shape, x.shape)
	}
	out := make([]array, len(n.Outputs))
	for i := range out {
		out[i].shape = shape
	}
	each(shape, func(index []int) {
		variables := map[string]float64{}
		for i, x := range in {
			variables[fmt.Sprint("x", i)] = *x.at(index...)
		}
		for statement := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
			name, value, ok := strings.Cut(statement, " = ")
			if !ok {
				panic(fmt.Sprintf("refeval: statement %q: want name = value", statement))
			}
			name = strings.TrimPrefix(strings.TrimSpace(name), "float ")
			p := &parser{text: value, variables: variables}
			variables[name] = p.choice()
			if p.next() != "" {
				panic(fmt.Sprintf("refeval: %q is left of %q", p.text, statement))
			}
		}
		for i := range out {
			out[i].data = append(out[i].data, variables[fmt.Sprint("y", i)])
		}
	})
	return out
}

// parser computes an expression as it reads it, both branches of a choice
// included.
type parser struct {
	text      string
	variables map[string]float64
}

// next is the next token: a name, a number, or an operator; "" at the end.
func (p *parser) next() string {
	p.text = strings.TrimLeft(p.text, " ")
	end := 0
	switch {
	case p.text == "":
	case unicode.IsLetter(rune(p.text[0])):
		for end < len(p.text) && (unicode.IsLetter(rune(p.text[end])) || unicode.IsDigit(rune(p.text[end]))) {
			end++
		}
	case unicode.IsDigit(rune(p.text[0])):
		for end < len(p.text) && (strings.ContainsRune("0123456789.ef", rune(p.text[end])) || strings.ContainsRune("+-", rune(p.text[end])) && p.text[end-1] == 'e') {
			end++
		}
	case len(p.text) > 1 && p.text[1] == '=':
		end = 2
	default:
		end = 1
	}
	return p.text[:end]
}

// take reads the next token if it is one of these.
func (p *parser) take(tokens ...string) string {
	got := p.next()
	for _, t := range tokens {
		if got == t {
			p.text = p.text[len(t):]
			return t
		}
	}
	return ""
}

func (p *parser) must(token string) {
	if p.take(token) == "" {
		panic(fmt.Sprintf("refeval: got %q, want %s", p.text, token))
	}
}

func (p *parser) choice() float64 {
	condition := p.comparison()
	if p.take("?") == "" {
		return condition
	}
	x := p.choice()
	p.must(":")
	y := p.choice()
	if condition != 0 {
		return x
	}
	return y
}

func (p *parser) comparison() float64 {
	x := p.sum()
	switch p.take("<", ">", "<=", ">=", "==", "!=") {
	case "<":
		return truth(x < p.sum())
	case ">":
		return truth(x > p.sum())
	case "<=":
		return truth(x <= p.sum())
	case ">=":
		return truth(x >= p.sum())
	case "==":
		return truth(x == p.sum())
	case "!=":
		return truth(x != p.sum())
	}
	return x
}

func (p *parser) sum() float64 {
	x := p.product()
	for {
		switch p.take("+", "-") {
		case "+":
			x += p.product()
		case "-":
			x -= p.product()
		default:
			return x
		}
	}
}

func (p *parser) product() float64 {
	x := p.factor()
	for {
		switch p.take("*", "/") {
		case "*":
			x *= p.factor()
		case "/":
			x /= p.factor()
		default:
			return x
		}
	}
}

var functions = map[string]func(x float64) float64{
	"expf": math.Exp, "logf": math.Log, "sqrtf": math.Sqrt, "tanhf": math.Tanh, "erff": math.Erf, "fabsf": math.Abs, "sinf": math.Sin, "cosf": math.Cos,
}

func (p *parser) factor() float64 {
	if p.take("-") != "" {
		return -p.factor()
	}
	if p.take("(") != "" {
		x := p.choice()
		p.must(")")
		return x
	}
	token := p.next()
	p.text = p.text[len(token):]
	if x, ok := p.variables[token]; ok {
		return x
	}
	if x, err := strconv.ParseFloat(strings.TrimSuffix(token, "f"), 64); err == nil && strings.HasSuffix(token, "f") {
		return x
	}
	p.must("(")
	x := p.choice()
	if token == "powf" {
		p.must(",")
		x = math.Pow(x, p.choice())
	} else if f := functions[token]; f != nil {
		x = f(x)
	} else {
		panic(fmt.Sprintf("refeval: unknown name %q", token))
	}
	p.must(")")
	return x
}
