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

// view says how a picture is made of an image: each pixel is a weighted sum of the
// image's, as Pillow resizes. It is known before the image is decoded, so that a decoder
// may leave out what it does not show.
type view struct {
	shrink       int         // the image's sides are first divided by it, rounded up
	source       window      // the pixels that are needed, at that scale
	across, down pixels.Taps // over source; Count 0: a side that keeps its length is not resampled
	tall         bool        // down, then across
}

// newView shows a part of what an image of w×h pixels becomes at width×height. Where the
// height loses more than twice the pixels that the width loses, columns are resampled
// before rows, as Pillow does from 13.0 on; since each pass rounds, earlier ones differ
// there, by ten levels at the most of 1,000 photographs.
func newView(w, h, shrink, width, height int, part window, filter string) view {
	v := view{shrink: shrink, tall: h > height && h-height > 2*(w-width)}
	v.across, v.source.x, v.source.w = along(filter, w, shrink, width, part.x, part.w)
	v.down, v.source.y, v.source.h = along(filter, h, shrink, height, part.y, part.h)
	return v
}

// along lays a filter along a side of n pixels that becomes out long, for size pixels of
// these from one on: the weights, and which of the n they are for.
func along(filter string, n, shrink, out, from, size int) (t pixels.Taps, first, length int) {
	in := (n + shrink - 1) / shrink
	if in == out {
		return t, from, size
	}
	t = pixels.NewTaps(filter, in, float64(n)/float64(shrink), out, from, from+size)
	first, end := t.Span()
	for i := range t.First {
		t.First[i] -= int32(first)
	}
	return t, first, end - first
}

// of makes the view of an image, of which p is a part with all that the view needs.
func (v view) of(p *picture) *picture {
	part := window{v.source.x - p.x, v.source.y - p.y, v.source.w, v.source.h}
	if v.tall {
		p = v.columns(p, part.y)
		part.y, part.h = 0, p.h
		return v.rows(p, part)
	}
	return v.columns(v.rows(p, part), 0)
}

// rows resamples the rows of a part.
func (v view) rows(p *picture, part window) *picture {
	if v.across.Count == 0 {
		return cut(p, part, 0)
	}
	out := p.like(len(v.across.First), part.h, p.c)
	pixels.Rows(out.pix, p.pix[(part.y*p.w+part.x)*p.c:], p.w*p.c, p.c, part.h, v.across)
	return out
}

// columns resamples the columns from row y on.
func (v view) columns(p *picture, y int) *picture {
	if v.down.Count == 0 {
		return cut(p, window{0, y, p.w, v.source.h}, 0)
	}
	out := p.like(p.w, len(v.down.First), p.c)
	pixels.Columns(out.pix, p.pix[y*p.w*p.c:], p.w*p.c, v.down)
	return out
}
