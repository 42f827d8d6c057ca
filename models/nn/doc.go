// Package nn has the layers that several model families share. A layer is a
// function that takes a builder at the layer's scope and declares its
// parameters there, so that a parameter's name is its state-dict key; fresh
// parameters are drawn as torch.nn draws them.
//
// Shapes are written N (batch), C (channels), H, W (pixels), T (tokens) and
// D (features).
package nn
