package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"immiscible/datasets"
	"immiscible/models/engine"
	"immiscible/pipeline/runlog"
)

// CacheOptions are what CacheLatents needs besides a run's configuration.
type CacheOptions struct {
	Out      string    // folder of the cache
	DType    string    // datasets.DTypeFloat32 or DTypeFloat16
	Messages io.Writer // progress
}

// CacheLatents encodes the configured data with the configured model's VAE and leaves
// a latent cache in o.Out, which then stands in [data] source: the run is the same up
// to the rounding of what is stored. A cancelled or killed call is finished by the next.
func CacheLatents(ctx context.Context, c Config, o CacheOptions) error {
	s, err := openSubject(c)
	if err != nil {
		return err
	}
	defer s.close()
	if !s.latent() {
		return errors.New("the model sees pixels, so that there is no latent to be kept: want [model] path with a vae folder")
	}
	options := c.dataOptions()
	// What depends on classes is settled when the cache is read.
	options.NumClasses, options.ClassNames = 0, ""
	if options.Captions == datasets.CaptionsClass {
		options.Captions = datasets.CaptionsNone
	}
	data, err := datasets.Open(ctx, options)
	if err != nil {
		return err
	}
	defer data.Close()
	e, err := engine.Open(ctx, engine.Options{Library: c.Runtime.Library, Provider: c.Runtime.Provider, DeviceID: c.Runtime.DeviceID,
		Threads: c.Runtime.Threads, Log: func(line string) { fmt.Fprintln(o.Messages, line) }})
	if err != nil {
		return err
	}
	defer e.Close()
	a, err := newAutoencoder(e, s.source, c.Train.MicroBatch, c.Data.Resolution, c.Data.Resolution)
	if err != nil {
		return err
	}
	defer a.Close()
	about := datasets.LatentInfo{DType: o.DType}
	if about.VAE, err = a.encoderDigest(); err != nil {
		return err
	}
	about.Channels, about.Height, about.Width = a.LatentShape()
	about.Channels *= 2 // means, then logarithms of variances
	bar := runlog.NewBar(o.Messages, "record", data.Len())
	defer bar.Close()
	err = data.WriteLatents(ctx, o.Out, about, c.Train.MicroBatch, a.Encode, func(done, all int64) { bar.Set(int(done), "") })
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%s holds a part, and the same command goes on: %w", o.Out, context.Cause(ctx))
	}
	return err
}

// checkLatents holds a latent cache to the run's VAE.
func checkLatents(l *datasets.LatentInfo, a *Autoencoder) error {
	switch {
	case l == nil:
		return nil
	case a == nil:
		return errors.New("[data] source is a latent cache, but the model sees pixels: want images, or a [model] path with a vae folder")
	}
	digest, err := a.encoderDigest()
	if err != nil {
		return err
	}
	channels, h, w := a.LatentShape()
	if l.VAE != digest || l.Channels != 2*channels || l.Height != h || l.Width != w {
		return fmt.Errorf("[data] source is a latent cache of another VAE: %d×%d×%d moments by %.12s…, and the model's makes %d×%d×%d by %.12s…; make a cache of this model with `data cache`",
			l.Channels, l.Height, l.Width, l.VAE, 2*channels, h, w, digest)
	}
	return nil
}

// encoderDigest is the SHA-256 of all that decides what becomes of an image: the
// config, and the encoder's parameters. Two models that differ in their decoder alone
// share a cache.
func (a *Autoencoder) encoderDigest() (string, error) {
	g, err := VAEEncoderGraph(a.Config, GraphOptions{Batch: 1, Height: a.Config.Factor(), Width: a.Config.Factor()})
	if err != nil {
		return "", err
	}
	encoder := map[string]bool{}
	for _, p := range g.Params() {
		encoder[p.Node.Name] = true
	}
	sum := sha256.New()
	text, err := json.Marshal(a.Config)
	if err != nil {
		return "", err
	}
	sum.Write(text)
	for _, p := range a.state.Layout.Params {
		if !encoder[p.Key] {
			continue
		}
		values, err := p.Read(a.state.Params)
		if err != nil {
			return "", err
		}
		raw := append([]byte(p.Key), 0)
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		sum.Write(raw)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}
