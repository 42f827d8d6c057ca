package diffusion

import "fmt"

// SNR is the signal-to-noise ratio ᾱ/(1−ᾱ) of timestep t; 0 where ᾱ is 0.
func (s *Schedule) SNR(t int) float64 {
	abar := s.AlphasCumprod[t]
	return abar / (1 - abar)
}

// LossWeights returns the [T] weights of the mean squared error by timestep.
// snrGamma 0 weighs all alike; a positive one is γ of Min-SNR-γ (Hang et al.
// 2023, arXiv 2303.09556), which weighs the error of the *image* estimate by
// min(SNR, γ). Said of what the model predicts, that is
//
//	epsilon       min(SNR, γ) / SNR
//	v_prediction  min(SNR, γ) / (SNR + 1)
//	sample        min(SNR, γ)
//
// The first two are diffusers' training scripts':
// https://github.com/huggingface/diffusers/blob/v0.42.1/examples/text_to_image/train_text_to_image.py
// At SNR 0, where they divide 0 by 0 for epsilon, the limit 1 is returned.
func (s *Schedule) LossWeights(snrGamma float64) ([]float64, error) {
	if !finite(snrGamma) || snrGamma < 0 {
		return nil, fmt.Errorf("snr_gamma is %v, want 0 (off) or a positive number; the paper uses 5", snrGamma)
	}
	weights := make([]float64, len(s.AlphasCumprod))
	for t := range weights {
		snr := s.SNR(t)
		switch {
		case snrGamma == 0:
			weights[t] = 1
		case s.PredictionType == PredictV:
			weights[t] = min(snr, snrGamma) / (snr + 1)
		case s.PredictionType == PredictSample:
			weights[t] = min(snr, snrGamma)
		default:
			weights[t] = min(1, snrGamma/snr)
		}
	}
	return weights, nil
}
