package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"immiscible/datasets/rng"
	"immiscible/pipeline/runlog"
)

// The size and quality of ImageNet's usual photograph: 500×375 and some 110 KB.
const (
	photoWidth, photoHeight = 500, 375
	photoQuality            = 94
	photosPerShard          = 128
)

// writePhotoShards makes n JPEGs in tar shards in dir. Their content is noise whose
// strength falls with frequency as that of photographs does, with edges: what a
// decoder's time depends on.
func writePhotoShards(ctx context.Context, dir string, n int, stderr io.Writer) error {
	bar := runlog.NewBar(stderr, "image", n)
	defer bar.Close()
	for shard := 0; shard*photosPerShard < n; shard++ {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("photos-%03d.tar", shard)))
		if err != nil {
			return err
		}
		defer file.Close()
		w := tar.NewWriter(file)
		for i := shard * photosPerShard; i < min(n, (shard+1)*photosPerShard); i++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var picture bytes.Buffer
			if err := jpeg.Encode(&picture, photo(uint64(i)), &jpeg.Options{Quality: photoQuality}); err != nil {
				return err
			}
			for name, data := range map[string][]byte{"jpg": picture.Bytes(), "cls": []byte(strconv.Itoa(i % 1000))} {
				head := &tar.Header{Name: fmt.Sprintf("%06d.%s", i, name), Size: int64(len(data)), Mode: 0o644, Typeflag: tar.TypeReg}
				if err := w.WriteHeader(head); err != nil {
					return err
				}
				if _, err := w.Write(data); err != nil {
					return err
				}
			}
			bar.Set(i+1, "")
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// photo is one such picture: octaves of noise on ever finer grids, between whose
// nodes is interpolated, each half as strong, and a bright and a dark region.
func photo(number uint64) image.Image {
	m := image.NewYCbCr(image.Rect(0, 0, photoWidth, photoHeight), image.YCbCrSubsampleRatio420)
	fill := func(pix []uint8, stride, w, h int, name string, strength float64) {
		draw := rng.New(1, "photo "+name, number)
		sums := make([]float64, w*h)
		for cell := 128; cell >= 1; cell /= 2 {
			columns := w/cell + 2
			grid := make([]float32, columns*(h/cell+2))
			draw.FillNormal(grid)
			for y := range h {
				v := float64(y%cell) / float64(cell)
				for x := range w {
					u, at := float64(x%cell)/float64(cell), y/cell*columns+x/cell
					top := float64(grid[at])*(1-u) + float64(grid[at+1])*u
					low := float64(grid[at+columns])*(1-u) + float64(grid[at+columns+1])*u
					sums[y*w+x] += strength * (top*(1-v) + low*v)
				}
			}
			strength /= 1.47
		}
		for y := range h {
			for x := range w {
				level := sums[y*w+x]
				if sums[(h-1-y)*w+x] > 40 { // an edge along another field's level
					level += strength * 40
				}
				pix[y*stride+x] = uint8(min(max(128+level, 0), 255))
			}
		}
	}
	fill(m.Y, m.YStride, photoWidth, photoHeight, "y", 60)
	fill(m.Cb, m.CStride, (photoWidth+1)/2, (photoHeight+1)/2, "cb", 20)
	fill(m.Cr, m.CStride, (photoWidth+1)/2, (photoHeight+1)/2, "cr", 20)
	return m
}
