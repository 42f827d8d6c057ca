package datasets

import "immiscible/datasets/pixels"

// picture is a decoded image of 8 bits a channel, interleaved, or a part of one.
type picture struct {
	w, h, c int
	pix     []uint8 // [h, w, c]
	x, y    int     // of its first pixel in the image
	shrink  int     // by which the decoder has divided the image's sides, rounding up
	room    *room   // where the pixels lie, and those that are made of them
}

func newPicture(w, h, c int) *picture { return (*room)(nil).picture(w, h, c) }

// like makes a picture that is shrunk as p is, in the same room.
func (p *picture) like(w, h, c int) *picture {
	out := p.room.picture(w, h, c)
	out.shrink = p.shrink
	return out
}

// room is the memory for the pictures of one example, which the next one uses again:
// zeroing fresh memory, and collecting it, takes longer than some decoders do. nil is
// fresh memory for each picture.
type room struct {
	slab []uint8
	used int // of it, or what should have been there
}

// mostRoom bounds the memory that is kept, in bytes.
const mostRoom = 64 << 20

// bytes are n bytes of whatever content, of zeros if r is nil.
func (r *room) bytes(n int) []uint8 {
	size := (n + pixels.Slack + 63) &^ 63
	if r == nil {
		return make([]uint8, n, size)
	}
	r.used += size
	if r.used > len(r.slab) {
		return make([]uint8, n, size)
	}
	return r.slab[r.used-size : r.used-size+n : r.used]
}

// clear takes all memory back.
func (r *room) clear() {
	if want := min(r.used+r.used/4, mostRoom); r.used > len(r.slab) && want > len(r.slab) {
		r.slab = make([]uint8, want)
	}
	r.used = 0
}

func (r *room) picture(w, h, c int) *picture {
	return &picture{w: w, h: h, c: c, pix: r.bytes(w * h * c), shrink: 1, room: r}
}
