package metrics

import (
	"fmt"
	"math"
)

// CLIPScore is 100 × the mean cosine of image i's and text i's embedding, at
// least 0 (J. Hessel et al., arXiv 2104.08718, Eq. 1, with the factor 100 of
// torchmetrics and of the papers on diffusion in place of 2.5).
func CLIPScore(images, texts *Features) (float64, error) {
	if err := samePair("clipscore", images, texts, 1); err != nil {
		return 0, err
	}
	if images.N != texts.N {
		return 0, fmt.Errorf("clipscore: %d images and %d texts: want a text for each image, in the same order", images.N, texts.N)
	}
	total := 0.0
	x, y := make([]float64, images.D), make([]float64, images.D)
	for i := range images.N {
		images.Row(i, x)
		texts.Row(i, y)
		lengths := math.Sqrt(dot(x, x) * dot(y, y))
		if lengths == 0 {
			return 0, fmt.Errorf("clipscore: row %d is zero and has no direction", i)
		}
		total += dot(x, y) / lengths
	}
	return max(0, 100*total/float64(images.N)), nil
}
