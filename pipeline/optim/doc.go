// Package optim is what follows the gradients: clipping by global norm, AdamW,
// the exponential moving average, learning rate schedules. Every scalar here
// is a pure function of the step, so that resuming needs no state of it.
package optim
