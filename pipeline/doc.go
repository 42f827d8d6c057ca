// Package pipeline is the story of training and generation, the only place
// where datasets, assign and models meet. One training step, in ten lines:
//
//	pool   ← positions k … k+pool_size from the loader, images in [−1, 1]   noise.go
//	noise  ← draws keyed by (seed, "noise", position), paired over the pool  noise.go
//	batch  ← the next batch_size positions of the pool, cut to micro-batches batch.go
//	t      ← draws keyed by (seed, "timesteps", position)                    batch.go
//	grads  ← one run a micro-batch: noise → model → loss → gradients         objective.go
//	norm   ← one run a chunk of the gradient arena; not finite: skip         step.go
//	lr     ← the schedule's value for this update                            optim/lr.go
//	params ← one run a chunk: clip, AdamW, EMA, in place                     optim/adamw.go
//	log    ← one line                                                        runlog
//	files  ← every so often a checkpoint and a grid of samples               save.go
//
// train.go is that loop, top to bottom. Everything random is a function of the
// seed and a position, so that a run that is stopped and started again is the
// run that was never stopped.
package pipeline
