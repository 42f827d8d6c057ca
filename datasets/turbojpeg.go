//go:build turbojpeg

package datasets

// #cgo LDFLAGS: -ljpeg
// #include <stdio.h>
// #include <stdlib.h>
// #include <setjmp.h>
// #include <jpeglib.h>
// #include <jerror.h>
//
// struct part {
// 	JDIMENSION wide, high; // of the image
// 	int shrink;
// 	JDIMENSION x, y, w, h; // in: what is wanted; out: what is there
// 	int channels;   // out; 0: not for this decoder
// };
//
// // failure takes libjpeg's errors and the first warning.
// struct failure {
// 	struct jpeg_error_mgr base;
// 	jmp_buf back;
// 	char *text;
// };
//
// static void stop(j_common_ptr c) {
// 	struct failure *f = (struct failure *)c->err;
// 	(*c->err->format_message)(c, f->text);
// 	longjmp(f->back, 1);
// }
//
// static void warn(j_common_ptr c, int level) {
// 	struct failure *f = (struct failure *)c->err;
// 	// Bytes between segments, which cameras leave, harm nothing.
// 	if (level < 0 && c->err->msg_code != JWRN_EXTRANEOUS_DATA && !f->text[0])
// 		(*c->err->format_message)(c, f->text);
// }
//
// // decode reads the part of a JPEG into out, which has room for the whole of it, and all
// // other rows to nowhere, so that damage is found wherever it is. text, of
// // JMSG_LENGTH_MAX bytes and empty, becomes the first error or warning.
// static void decode(const unsigned char *data, unsigned long size, struct part *p, unsigned char *out, char *text) {
// 	struct jpeg_decompress_struct c;
// 	struct failure f;
// 	c.err = jpeg_std_error(&f.base);
// 	f.base.error_exit = stop;
// 	f.base.emit_message = warn;
// 	f.text = text;
// 	p->channels = 0;
// 	if (setjmp(f.back)) {
// 		jpeg_destroy_decompress(&c);
// 		return;
// 	}
// 	jpeg_create_decompress(&c);
// 	jpeg_mem_src(&c, data, size);
// 	jpeg_read_header(&c, TRUE);
// 	text[0] = 0; // what is unknown in a header harms nothing
// 	jpeg_component_info *all = c.comp_info;
// 	int gray = c.jpeg_color_space == JCS_GRAYSCALE;
// 	int colours = c.jpeg_color_space == JCS_YCbCr || c.jpeg_color_space == JCS_RGB;
// 	// What is said to be no JPEG without this library is none with it.
// 	if (c.image_width != p->wide || c.image_height != p->high || !gray && !colours || c.arith_code ||
// 	    colours && (all[1].h_samp_factor != all[2].h_samp_factor || all[1].v_samp_factor != all[2].v_samp_factor)) {
// 		jpeg_destroy_decompress(&c);
// 		return;
// 	}
// 	c.out_color_space = gray ? JCS_GRAYSCALE : JCS_RGB;
// 	c.dct_method = JDCT_ISLOW;
// 	c.scale_num = 1;
// 	c.scale_denom = p->shrink;
// 	jpeg_start_decompress(&c);
// 	// What is next to an edge of the crop is not interpolated as inside of the image, and
// 	// chroma at a quarter of the image's size is not cropped rightly at all.
// 	JDIMENSION first = p->x > 1 ? p->x - 2 : 0, last = p->x + p->w + 2;
// 	if (c.max_h_samp_factor > 2)
// 		first = 0, last = c.output_width;
// 	if (last > c.output_width)
// 		last = c.output_width;
// 	JDIMENSION width = last - first;
// 	if (width < c.output_width)
// 		jpeg_crop_scanline(&c, &first, &width);
// 	p->x = first;
// 	p->w = c.output_width;
// 	p->channels = c.output_components;
// 	if (p->y > 0)
// 		jpeg_skip_scanlines(&c, p->y);
// 	while (c.output_scanline < p->y + p->h) {
// 		JSAMPROW rows[4];
// 		size_t row = c.output_scanline - p->y;
// 		for (int i = 0; i < 4; i++)
// 			rows[i] = out + (row + i) * p->w * p->channels;
// 		jpeg_read_scanlines(&c, rows, p->h - row < 4 ? p->h - row : 4);
// 	}
// 	if (c.output_scanline < c.output_height)
// 		jpeg_skip_scanlines(&c, c.output_height - c.output_scanline);
// 	jpeg_finish_decompress(&c);
// 	jpeg_destroy_decompress(&c);
// }
import "C"

import (
	"fmt"
	"unsafe"
)

// JPEGDecoder names the library that reads JPEGs.
const JPEGDecoder = "libjpeg-turbo"

// mostShrink is how much smaller than it is decodeJPEG can read an image.
const mostShrink = 8

// decodeJPEG reads a part of a JPEG of wide×high pixels with libjpeg-turbo (Debian's
// libjpeg62-turbo-dev), which is what Pillow uses: at full size the pixels are Pillow's
// to the bit. At a half, a quarter or an eighth of the size it drops frequencies before
// the inverse DCT.
func decodeJPEG(data []byte, wide, high, shrink int, part window, r *room) (*picture, error) {
	p := r.picture((wide+shrink-1)/shrink, part.h, 3)
	c := C.struct_part{
		wide: C.JDIMENSION(wide), high: C.JDIMENSION(high), shrink: C.int(shrink),
		x: C.JDIMENSION(part.x), y: C.JDIMENSION(part.y), w: C.JDIMENSION(part.w), h: C.JDIMENSION(part.h),
	}
	var text [C.JMSG_LENGTH_MAX]C.char
	C.decode((*C.uchar)(unsafe.Pointer(unsafe.SliceData(data))), C.ulong(len(data)), &c, (*C.uchar)(unsafe.Pointer(unsafe.SliceData(p.pix))), &text[0])
	if c.channels == 0 {
		return decodeInGo(data, window{0, 0, wide, high}, r) // other colours, a sampling that libjpeg does not know, or no JPEG
	}
	if text[0] != 0 {
		return nil, fmt.Errorf("libjpeg-turbo: %s", C.GoString(&text[0]))
	}
	p.w, p.c, p.x, p.y, p.shrink = int(c.w), int(c.channels), int(c.x), part.y, shrink
	p.pix = p.pix[:p.w*p.h*p.c]
	return p, nil
}
