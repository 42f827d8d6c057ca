//go:build turbojpeg

package datasets

// #cgo LDFLAGS: -lturbojpeg
// #include <turbojpeg.h>
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// JPEGDecoder names the library that reads JPEGs.
const JPEGDecoder = "libjpeg-turbo"

// decodeJPEG reads a JPEG with libjpeg-turbo (Debian's libturbojpeg0-dev), which is
// what Pillow uses: at full size the pixels are Pillow's to the bit. An image whose
// shorter side would stay enough·least pixels is read at a half, a quarter or an eighth of
// its size, by dropping frequencies before the inverse DCT.
func decodeJPEG(data []byte, least int) (*picture, error) {
	handle := C.tjInitDecompress()
	if handle == nil {
		return nil, errors.New("libjpeg-turbo cannot be set up")
	}
	defer C.tjDestroy(handle)
	source, size := (*C.uchar)(unsafe.Pointer(unsafe.SliceData(data))), C.ulong(len(data))
	var w, h, subsampling, colors C.int
	if C.tjDecompressHeader3(handle, source, size, &w, &h, &subsampling, &colors) != 0 && turboError(handle) != nil {
		return decodeInGo(data) // a sampling that it does not know, or no JPEG
	}
	channels, format := 3, C.int(C.TJPF_RGB)
	switch colors {
	case C.TJCS_GRAY:
		channels, format = 1, C.TJPF_GRAY
	case C.TJCS_CMYK, C.TJCS_YCCK:
		return decodeInGo(data)
	}
	shrink := 8
	for shrink > 1 && min(int(w), int(h))/shrink/enough < least {
		shrink /= 2
	}
	p := newPicture((int(w)+shrink-1)/shrink, (int(h)+shrink-1)/shrink, channels)
	if shrink > 1 {
		p.shrink, p.fullW, p.fullH = shrink, int(w), int(h)
	}
	if C.tjDecompress2(handle, source, size, (*C.uchar)(unsafe.Pointer(unsafe.SliceData(p.pix))),
		C.int(p.w), C.int(p.w*p.c), C.int(p.h), format, C.TJFLAG_ACCURATEDCT) != 0 {
		return p, turboError(handle)
	}
	return p, nil
}

// enough is how many times larger than the example an image read at a part of its
// size must still be.
const enough = 2

// turboError is the last error. Bytes between segments, which cameras leave and
// which harm nothing, are none.
func turboError(handle C.tjhandle) error {
	text := C.GoString(C.tjGetErrorStr2(handle))
	if C.tjGetErrorCode(handle) == C.TJERR_WARNING && strings.Contains(text, "extraneous bytes") {
		return nil
	}
	return fmt.Errorf("libjpeg-turbo: %s", text)
}
