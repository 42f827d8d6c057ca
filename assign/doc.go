// Package assign decides which noise each image is trained with: images × noises → pairing.
// It is pure Go and knows no model and no file.
//
// Immiscible Diffusion (arXiv 2406.12303) draws a pool of images and an equal pool of Gaussian noises and
// permutes the noises so that the summed distance between partners is smallest. [Pair] does that, for the whole
// pool or within each class; the multiset of noises, hence their law, stays what was drawn. Improved Immiscible
// Diffusion (arXiv 2505.18521) picks the nearest of k noises for each image; [KNN] draws from exactly that law
// without drawing the candidates. Independent pairing is the identity permutation and needs no function.
//
// Drawn along the image itself, noise betrays what images have in common and which class they are of, and is stretched
// where images vary most; sampling starts from noise that has none of this. [Directions] takes these parts off the
// image first, and [Measure] tells what is left of them in the noise of any pairing.
//
// Orientation: row i of a cost matrix is image i, column j is noise j, and perm[i] = j says that image i takes
// noise j. Matrices are row-major float32; sums, norms and certificates are float64.
//
// Squared L2 needs only −x·n: |x|² is a constant of the row and |n|² of the column, and neither moves the
// optimum. So one matrix product makes the cost, on whatever device the caller has ([Product]). Pools of any size work:
// from 4,096 images on, [Linear] and [Pair] solve among the best candidates of each image and each noise and prove by
// one pass over all entries that nothing better exists; [Large] says how close that proof came.
//
// Results depend on the arguments alone, not on the number of cores; permutations and products have the same bits
// on every architecture.
package assign
