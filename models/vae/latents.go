package vae

import (
	"fmt"
	"math"
)

// Sample draws latents from n images' posteriors:
//
//	latents = mean + exp(logvar/2)·draw,   logvar clamped to [−30, 20]
//
// for moments [n, 2·L, h, w] and a standard normal draw [n, L, h, w], which may
// be the same slice as latents; a nil draw gives the means. As diffusers'
// DiagonalGaussianDistribution:
// https://github.com/huggingface/diffusers/blob/v0.42.1/src/diffusers/models/autoencoders/vae.py#L690
func Sample(latents, moments, draw []float32, n int) error {
	if n < 1 || len(moments)%(2*n) != 0 || len(latents) != len(moments)/2 || (draw != nil && len(draw) != len(latents)) {
		return fmt.Errorf("sampling latents: %d moments, %d latents and a draw of %d for %d images: want twice as many moments as latents",
			len(moments), len(latents), len(draw), n)
	}
	each := len(latents) / n
	for i := range n {
		mean, logvar := moments[2*i*each:(2*i+1)*each], moments[(2*i+1)*each:(2*i+2)*each]
		out := latents[i*each : (i+1)*each]
		if draw == nil {
			copy(out, mean)
			continue
		}
		for k, x := range draw[i*each : (i+1)*each] {
			out[k] = mean[k] + float32(math.Exp(0.5*min(max(float64(logvar[k]), -30), 20)))*x
		}
	}
	return nil
}

// Scale turns n images' latents as the encoder means them, [n, L, h, w], into
// those that a denoiser takes, in place:
//
//	(z − shift_factor)·scaling_factor,   or
//	(z − latents_mean)·scaling_factor/latents_std   by channel, where the configuration has these
//
// (Rombach et al. 2022, §4.3.2 and D.1, give the scaling; the rest is what
// diffusers' pipelines do.)
func (c Config) Scale(latents []float32, n int) { c.affine(latents, n, false) }

// Unscale undoes Scale, in place: it gives what Decoder takes.
func (c Config) Unscale(latents []float32, n int) { c.affine(latents, n, true) }

func (c Config) affine(latents []float32, n int, inverse bool) {
	area := len(latents) / (n * c.LatentChannels)
	for plane := range n * c.LatentChannels {
		shift, factor := 0.0, c.ScalingFactor
		switch k := plane % c.LatentChannels; {
		case c.LatentsMean != nil:
			shift, factor = c.LatentsMean[k], c.ScalingFactor/c.LatentsStd[k]
		case c.ShiftFactor != nil:
			shift = *c.ShiftFactor
		}
		z := latents[plane*area : (plane+1)*area]
		for i, x := range z {
			if inverse {
				z[i] = x/float32(factor) + float32(shift)
			} else {
				z[i] = (x - float32(shift)) * float32(factor)
			}
		}
	}
}
