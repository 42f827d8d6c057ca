package pipeline

import (
	"context"
	"fmt"

	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/models/onnx"
)

// deviceProduct makes the pairing's inner products on the device that trains:
// its multiply is an assign.Product. The session is its own, and on a GPU so are
// its stream and its copies' (see cudaDevice in models/engine), so that it runs
// beside the training step. One goroutine may use it.
type deviceProduct struct {
	session       *engine.Session
	x, noise, out *engine.Arena
	dim           int
	rows, cols    int       // of the largest block of x and of noise
	held          []float32 // what is in the noise arena
}

// productBytes bounds each of a product's three arenas. A pool of 1,024 latents
// of 4×32×32 is 16 MiB of images, 16 of noise and 4 of products: one block.
const productBytes = 256 << 20

// productBlock is the largest part of pools of n images of dim numbers that is
// multiplied at once.
func productBlock(n, dim int) (rows, cols int) {
	cols = min(n, max(1, productBytes/4/dim))
	return min(cols, max(1, productBytes/4/cols)), cols
}

// productOnDevice is the rule for where the products are made. On the processor
// their bits are the same everywhere; where a GPU trains, they are made there,
// unless results are asked for to the bit: cuBLAS repeats itself only where no
// other stream computes beside it.
// https://docs.nvidia.com/cuda/cublas/#results-reproducibility
func (c Config) productOnDevice(provider string) bool {
	return provider != "cpu" && c.Noise.Pairing == "linear" && c.Noise.Cost != "l1" && !c.Runtime.Deterministic
}

// newDeviceProduct makes room for pools of n images of dim numbers.
func newDeviceProduct(e *engine.Engine, n, dim int) (*deviceProduct, error) {
	rows, cols := productBlock(n, dim)
	return newBlockProduct(e, rows, cols, dim)
}

func newBlockProduct(e *engine.Engine, rows, cols, dim int) (_ *deviceProduct, err error) {
	p := &deviceProduct{dim: dim, rows: rows, cols: cols}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	m, err := productModel(rows, cols, dim)
	if err != nil {
		return nil, err
	}
	model, err := onnx.Marshal(m)
	if err != nil {
		return nil, err
	}
	// A cost's digits decide which of two near ones is the smaller: no TF32.
	if p.session, err = e.NewSession(model, onDevice(e, engine.SessionOptions{Name: "pairing", ExactFloat32: true})); err != nil {
		return nil, err
	}
	for _, a := range []struct {
		to       **engine.Arena
		elements int
	}{{&p.x, rows * dim}, {&p.noise, cols * dim}, {&p.out, rows * cols}} {
		if *a.to, err = e.NewArena(4 * int64(a.elements)); err != nil {
			return nil, fmt.Errorf("the pairing's product of %d × %d by %d × %d: %w: or a smaller noise.pool_size", rows, dim, cols, dim, err)
		}
	}
	return p, nil
}

// productModel is out = x·noiseᵀ, of any number of rows of either.
func productModel(rows, cols, dim int) (*onnx.ModelProto, error) {
	g, err := graph.Build("pairing", func(b *graph.Builder) {
		b.Output("products", b.Gemm(b.Input("x", graph.Float32, rows, dim), b.Input("noise", graph.Float32, cols, dim), nil))
	})
	if err != nil {
		return nil, err
	}
	m, err := g.Model()
	if err != nil {
		return nil, err
	}
	in, out := m.Graph.Input, m.Graph.Output
	for v, names := range map[*onnx.ValueInfoProto][]string{in[0]: {"rows"}, in[1]: {"cols"}, out[0]: {"rows", "cols"}} {
		for i, name := range names {
			v.GetType().GetTensorType().GetShape().GetDim()[i].Value = &onnx.TensorShapeProto_Dimension_DimParam{DimParam: name}
		}
	}
	return m, nil
}

// multiply is an assign.Product. Images and noise cross the bus once, products
// come back through pinned memory. A pool that is asked for in parts, with the
// same slice of noise each time, leaves its noise on the device: see forget.
func (p *deviceProduct) multiply(x, noise []float32, rows, cols, dim int, out []float32) error {
	if dim != p.dim || len(x) != rows*dim || len(noise) != cols*dim || len(out) != rows*cols {
		return fmt.Errorf("got %d, %d and %d numbers for %d × %d by %d × %d, want them to fit, and vectors of %d", len(x), len(noise), len(out), rows, dim, cols, dim, p.dim)
	}
	for j := 0; j < cols; j += p.cols {
		m := min(p.cols, cols-j)
		part := noise[j*dim : (j+m)*dim]
		there, err := p.bind("noise", p.noise, m, dim)
		if err != nil {
			return err
		}
		if len(p.held) != len(part) || &p.held[0] != &part[0] {
			p.held = nil
			if err := there.SetFloat32(part); err != nil {
				return err
			}
			p.held = part
		}
		for i := 0; i < rows; i += p.rows {
			n := min(p.rows, rows-i)
			images, err := p.bind("x", p.x, n, dim)
			if err != nil {
				return err
			}
			if err := images.SetFloat32(x[i*dim : (i+n)*dim]); err != nil {
				return err
			}
			products, err := p.bind("products", p.out, n, m)
			if err != nil {
				return err
			}
			if err := p.session.Run(context.Background()); err != nil {
				return err
			}
			if m == cols {
				err = products.ReadFloat32(out[i*cols : (i+n)*cols])
			} else {
				block := products.GetFloat32()
				for r := range n {
					copy(out[(i+r)*cols+j:], block[r*m:(r+1)*m])
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// bind gives an input or output the first rows of its arena.
func (p *deviceProduct) bind(name string, a *engine.Arena, rows, cols int) (*engine.Tensor, error) {
	t, err := a.View(0, engine.Float32, int64(rows), int64(cols))
	if err != nil {
		return nil, err
	}
	return t, p.session.Bind(name, t)
}

// forget says that noise which was multiplied may be changed or let go.
func (p *deviceProduct) forget() { p.held = nil }

func (p *deviceProduct) close() {
	if p.session != nil {
		p.session.Close()
	}
	for _, a := range []*engine.Arena{p.x, p.noise, p.out} {
		if a != nil {
			a.Close()
		}
	}
}
