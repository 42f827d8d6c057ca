//go:build !turbojpeg

package datasets

const jpegShrinks = false // whether decodeJPEG may read at a part of the size
