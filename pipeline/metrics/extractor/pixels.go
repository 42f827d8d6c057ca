package extractor

import "sync"

// resizer brings images to a network's size and range.
type resizer struct {
	x             *Extractor
	columns, rows []taps // nil: the size is right
}

func newResizer(x *Extractor) resizer {
	r := resizer{x: x}
	if x.height == x.side && x.width == x.side {
		return r
	}
	kind := cleanTaps
	if x.options.Resize == ResizePyTorch {
		kind = pytorchTaps
	}
	r.columns, r.rows = kind(x.side, x.width), kind(x.side, x.height)
	return r
}

// fill writes n images [C, side, side] in [−1, 1] into a network's input.
func (r resizer) fill(input, images []float32, n int) {
	x := r.x
	norm := ranges[x.options.InputRange]
	from, to := x.side*x.side, x.height*x.width
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			for c := range x.Channels {
				plane := make([]float32, from)
				for k, v := range images[(i*x.Channels+c)*from : (i*x.Channels+c+1)*from] {
					plane[k] = (v + 1) * 127.5
				}
				if r.columns != nil {
					plane = resize(plane, x.side, x.side, r.columns, r.rows)
				}
				for k, v := range plane {
					byteValue := min(255, max(0, float64(v))) // bicubic overshoots
					input[(i*x.Channels+c)*to+k] = float32((byteValue/255 - norm.mean[c]) / norm.std[c])
				}
			}
		})
	}
	wait.Wait()
}
