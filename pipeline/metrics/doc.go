// Package metrics measures how near two sets of images are, from the features
// that a network gives them. It knows no network and no file: rows of numbers
// go in, numbers come out, computed in float64.
//
//	gaussian.go    streaming mean and covariance, which can be merged
//	frechet.go     FID, sFID: the distance of two Gaussians
//	mmd.go         KID, CMMD: maximum mean discrepancies
//	neighbours.go  precision, recall, density, coverage
//	clipscore.go   CLIPScore
//	product.go     the inner products that all of them need
//
// Where a published Python implementation exists, the tests compare with it
// (tools/golden/metrics.py): pytorch-fid, clean-fid, torch-fidelity and prdc.
package metrics
