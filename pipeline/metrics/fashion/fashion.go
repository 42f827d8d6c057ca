// Package fashion holds the classifier whose penultimate layer gives the
// features of Fashion-FID: FID for images like Fashion-MNIST's, where Inception's
// features of photographs say little. It was trained by this program on 8,000 of
// the embedded images (tools/fashionfid makes the file again), and its accuracy
// on the other 2,000 stands in its metadata.
//
// Figures in these features compare runs with each other. They are no FID that a
// paper gives.
package fashion

import _ "embed"

// Model is the classifier as ONNX: sample [N, 1, 32, 32] in [−1, 1], which is
// the image of 28 pixels with 2 of black around it, to features [N, 64] and
// logits [N, 10].
//
//go:embed classifier.onnx
var Model []byte

// Name is how commands ask for it.
const Name = "fashion-mnist"

// Side is the height and width of the input, Pad the black on each side of it.
const (
	Side = 32
	Pad  = 2
)

// Logits is the output that tells the classes apart.
const Logits = "logits"
