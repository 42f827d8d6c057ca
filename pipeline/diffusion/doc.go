// Package diffusion is the arithmetic of noising and its inverse: tables of
// betas, the coefficients that mix image and noise, targets by prediction
// type, and loss weights. It draws nothing and knows no model.
//
// Legend, as in Ho et al. 2020 (arXiv 2006.11239), with timesteps counted
// from 0 as diffusers counts them:
//
//	T   num_train_timesteps          x0   an image (or latents), the sample
//	β   betas                        n    standard normal noise
//	α   1 − β                        x_t  √ᾱ·x0 + √(1−ᾱ)·n, the noisy image
//	ᾱ   alphas_cumprod (abar)        SNR  ᾱ / (1−ᾱ)
//
// Every prediction type is linear in x0 and n, so everything a training graph
// or a sampler needs is a pair of numbers a timestep.
package diffusion
