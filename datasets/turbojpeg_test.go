//go:build turbojpeg

package datasets

const jpegShrinks = true // whether decodeJPEG may read at a part of the size
