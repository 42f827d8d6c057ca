package pipeline

import (
	"context"
	"fmt"
	"slices"

	"immiscible/models"
	"immiscible/models/engine"
	"immiscible/models/graph"
	"immiscible/models/vae"
)

// Autoencoder turns images into latents and back with a model's VAE, whose
// weights it keeps in an arena of its own. Its sessions are made when they are
// first needed, so that a run that never decodes pays for encoding alone.
//
// A batch may have any number of images: they run Batch at a time, the last run
// filled up with copies. What comes of an image does not depend on the others.
type Autoencoder struct {
	Config        vae.Config
	Batch         int
	Height, Width int // of the images, in pixels: multiples of Config.Factor
	// Tiled cuts what is larger than Config.EncodeTiles into overlapping tiles, as
	// diffusers' enable_tiling does: memory stays that of one tile, and the result
	// is a slightly different one.
	Tiled bool

	engine   *engine.Engine
	state    State // Layout and Params only
	sessions map[vaeShape]*vaeSession
}

// vaeShape is what a session is made for: the size of the images, or of the
// latents, that go in.
type vaeShape struct {
	decode bool
	h, w   int
}

type vaeSession struct {
	*engine.Session
	in, out  *engine.Tensor
	channels int // of the output
	h, w     int // of the output
}

// VAEEncoderGraph is the contract of vae_encoder.onnx: sample [N, C, H, W] in
// [−1, 1] and the encoder's parameters to latent_parameters [N, 2·L, H/f, W/f],
// means and then logarithms of variances. o gives N, H and W.
func VAEEncoderGraph(c vae.Config, o GraphOptions) (*graph.Graph, error) {
	return graph.Build("vae_encoder", func(b *graph.Builder) {
		b.Output("latent_parameters", vae.Encoder(b, c, b.Input("sample", graph.Float32, o.Batch, c.InChannels, o.Height, o.Width)))
	})
}

// VAEDecoderGraph is the contract of vae_decoder.onnx: latent_sample [N, L, h, w]
// as the encoder means it (unscaled) and the decoder's parameters to sample [N,
// C, f·h, f·w]. o gives N, and h and w in latents.
func VAEDecoderGraph(c vae.Config, o GraphOptions) (*graph.Graph, error) {
	return graph.Build("vae_decoder", func(b *graph.Builder) {
		b.Output("sample", vae.Decoder(b, c, b.Input("latent_sample", graph.Float32, o.Batch, c.LatentChannels, o.Height, o.Width)))
	})
}

// newAutoencoder loads the VAE of a pipeline folder, for height×width pixels.
func newAutoencoder(e *engine.Engine, m *models.Model, batch, height, width int) (*Autoencoder, error) {
	if m.VAE == nil {
		return nil, fmt.Errorf("%s has no vae folder, and images must become latents: copy the pipeline's vae there, and name it in model_index.json", m.Dir)
	}
	c := *m.VAE
	if f := c.Factor(); height < 1 || width < 1 || height%f != 0 || width%f != 0 {
		return nil, fmt.Errorf("%d×%d pixels: want multiples of %d, for each latent of the VAE stands for as many", height, width, f)
	}
	layout, err := vaeLayout(c)
	if err != nil {
		return nil, err
	}
	params, err := e.NewArena(4 * int64(layout.Total))
	if err != nil {
		return nil, fmt.Errorf("allocating the VAE's parameters: %w", err)
	}
	a := &Autoencoder{Config: c, Batch: batch, Height: height, Width: width, engine: e,
		state: State{Layout: layout, Params: params}, sessions: map[vaeShape]*vaeSession{}}
	if err := a.state.LoadParams(m.VAEWeights, params, nil); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// vaeLayout places the parameters of both graphs, whose weights are one file.
func vaeLayout(c vae.Config) (Layout, error) {
	encoder, err := VAEEncoderGraph(c, GraphOptions{Batch: 1, Height: c.Factor(), Width: c.Factor()})
	if err != nil {
		return Layout{}, err
	}
	decoder, err := VAEDecoderGraph(c, GraphOptions{Batch: 1, Height: 1, Width: 1})
	if err != nil {
		return Layout{}, err
	}
	return NewLayout(append(encoder.Params(), decoder.Params()...), func(string) bool { return false }), nil
}

// Close frees the sessions and the parameters.
func (a *Autoencoder) Close() {
	for _, s := range a.sessions {
		s.Close()
	}
	a.state.Close()
}

// LatentShape is the shape of one image's latents, [L, Height/f, Width/f].
func (a *Autoencoder) LatentShape() (channels, height, width int) {
	f := a.Config.Factor()
	return a.Config.LatentChannels, a.Height / f, a.Width / f
}

// Encode turns images [n, C, H, W] in [−1, 1] into moments [n, 2·L, H/f, W/f].
func (a *Autoencoder) Encode(ctx context.Context, pixels []float32) (moments []float32, err error) {
	return a.all(ctx, false, pixels, vae.Image{N: a.Batch, C: a.Config.InChannels, H: a.Height, W: a.Width})
}

// Latents draws latents for a denoiser from n images' moments: the posterior's
// sample with that standard normal draw [n, L, h, w], shifted and scaled. A nil
// draw takes the means. The result is a new slice.
func (a *Autoencoder) Latents(moments, draw []float32) ([]float32, error) {
	channels, h, w := a.LatentShape()
	n, latents := len(moments)/(2*channels*h*w), make([]float32, len(moments)/2)
	if err := vae.Sample(latents, moments, draw, n); err != nil {
		return nil, err
	}
	a.Config.Scale(latents, n)
	return latents, nil
}

// Decode turns a denoiser's latents [n, L, H/f, W/f] into images [n, C, H, W] in
// [−1, 1], beyond which they are cut off. The latents stay as they are.
func (a *Autoencoder) Decode(ctx context.Context, latents []float32) (pixels []float32, err error) {
	channels, h, w := a.LatentShape()
	z := slices.Clone(latents)
	if n := len(z) / (channels * h * w); n > 0 {
		a.Config.Unscale(z, n)
	}
	pixels, err = a.all(ctx, true, z, vae.Image{N: a.Batch, C: channels, H: h, W: w})
	for i, x := range pixels {
		pixels[i] = min(max(x, -1), 1)
	}
	return pixels, err
}

// all runs images of the given shape through a session, a batch at a time.
func (a *Autoencoder) all(ctx context.Context, decode bool, data []float32, batch vae.Image) ([]float32, error) {
	each := batch.C * batch.H * batch.W
	n := len(data) / each
	if len(data) != n*each || n == 0 {
		return nil, fmt.Errorf("%d numbers for the VAE, want images of %d×%d×%d", len(data), batch.C, batch.H, batch.W)
	}
	run := func(tile vae.Image) (vae.Image, error) { return a.run(ctx, decode, tile) }
	tiles := a.Config.EncodeTiles()
	if decode {
		tiles = a.Config.DecodeTiles()
	}
	var all []float32
	for at := 0; at < n; at += a.Batch {
		count := min(a.Batch, n-at)
		batch.Data = make([]float32, a.Batch*each)
		for i := range a.Batch {
			copy(batch.Data[i*each:(i+1)*each], data[(at+min(i, count-1))*each:])
		}
		out, err := vae.Image{}, error(nil)
		if a.Tiled && !tiles.Fits(batch.H, batch.W) {
			out, err = tiles.Run(batch, run)
		} else {
			out, err = run(batch)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, out.Data[:count*len(out.Data)/a.Batch]...)
	}
	return all, nil
}

// run computes one batch, or one tile of it.
func (a *Autoencoder) run(ctx context.Context, decode bool, x vae.Image) (vae.Image, error) {
	s, err := a.session(vaeShape{decode, x.H, x.W})
	if err == nil {
		err = s.in.SetFloat32(x.Data)
	}
	if err == nil {
		err = s.Run(ctx)
	}
	if err != nil {
		return vae.Image{}, err
	}
	out := vae.Image{Data: make([]float32, s.out.Len()), N: x.N, C: s.channels, H: s.h, W: s.w}
	return out, s.out.ReadFloat32(out.Data)
}

// session is the one for a shape, made at its first use.
func (a *Autoencoder) session(shape vaeShape) (*vaeSession, error) {
	if s, ok := a.sessions[shape]; ok {
		return s, nil
	}
	build := VAEEncoderGraph
	if shape.decode {
		build = VAEDecoderGraph
	}
	g, err := build(a.Config, GraphOptions{Batch: a.Batch, Height: shape.h, Width: shape.w})
	if err != nil {
		return nil, err
	}
	session, err := newSession(a.engine, g, engine.SessionOptions{Name: g.Name})
	if err != nil {
		return nil, err
	}
	result := g.Outputs[0]
	s := &vaeSession{Session: session, channels: result.Value.Dim(1), h: result.Value.Dim(2), w: result.Value.Dim(3)}
	if err := a.bind(s, g); err != nil {
		s.Close()
		return nil, err
	}
	a.sessions[shape] = s
	return s, nil
}

func (a *Autoencoder) bind(s *vaeSession, g *graph.Graph) (err error) {
	mine := map[string]bool{}
	for _, v := range g.Inputs {
		mine[v.Node.Name] = true
		if v.Node.Param {
			continue
		}
		if s.in, err = newTensor(a.engine, v); err != nil {
			return err
		}
		if err := s.Bind(v.Node.Name, s.in); err != nil {
			return err
		}
	}
	for _, p := range a.state.Layout.Params {
		if !mine[p.Key] {
			continue
		}
		if err := bindView(s.Session, p.Key, p, a.state.Params); err != nil {
			return err
		}
	}
	if s.out, err = newTensor(a.engine, g.Outputs[0].Value); err != nil {
		return err
	}
	return s.Bind(g.Outputs[0].Name, s.out)
}
