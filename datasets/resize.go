package datasets

import "immiscible/datasets/pixels"

// Values of Options.Filter, in Pillow's words.
const (
	FilterBilinear = pixels.Bilinear
	FilterBicubic  = pixels.Bicubic
	FilterLanczos  = pixels.Lanczos
)

// window is the part of a picture from (x, y) on, w×h pixels large.
type window struct{ x, y, w, h int }

// resize resamples to w×h as Pillow does; a side that keeps its length is not
// resampled.
func resize(p *picture, w, h int, filter string) *picture {
	return resizeWindow(p, w, h, window{0, 0, w, h}, filter)
}

// resizeWindow is the window of resize(p, w, h, filter), at the cost of the
// window alone.
func resizeWindow(p *picture, w, h int, part window, filter string) *picture {
	wide, high := p.size()
	across, down := float64(wide)/float64(max(p.shrink, 1)), float64(high)/float64(max(p.shrink, 1))
	var columns []pixels.Taps
	if h != p.h {
		columns = pixels.NewTaps(filter, p.h, down, h)[part.y : part.y+part.h]
		first, last := columns[0].First, columns[len(columns)-1]
		p = p.rows(first, last.First+len(last.Weights))
		for i := range columns {
			columns[i].First -= first
		}
	} else {
		p = p.rows(part.y, part.y+part.h)
	}
	if w != p.w {
		out := newPicture(part.w, p.h, p.c)
		pixels.Rows(out.pix, p.pix, p.w, p.c, pixels.NewTaps(filter, p.w, across, w)[part.x:part.x+part.w])
		p = out
	} else if part.w != p.w {
		p = cut(p, window{part.x, 0, part.w, p.h}, 0)
	}
	if columns != nil {
		out := newPicture(p.w, part.h, p.c)
		pixels.Columns(out.pix, p.pix, p.w*p.c, columns)
		p = out
	}
	return p
}

// rows is the part of a picture from row a to before row b; pixels are shared.
func (p *picture) rows(a, b int) *picture {
	return &picture{w: p.w, h: b - a, c: p.c, pix: p.pix[a*p.w*p.c : b*p.w*p.c]}
}
