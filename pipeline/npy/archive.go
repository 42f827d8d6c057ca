package npy

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"immiscible/pipeline/whole"
)

// Archive is an open .npz file: a zip whose members are .npy files, stored
// (numpy.savez) or deflated (numpy.savez_compressed). Close it after use.
type Archive struct {
	Names []string // of the arrays, without ".npy", in the file's order

	path string
	zip  *zip.ReadCloser
}

// OpenArchive opens a .npz file; no array is read. Errors begin with the path.
func OpenArchive(path string) (*Archive, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		if errors.Is(err, zip.ErrFormat) {
			err = errors.New("is no .npz file: it is not a zip, or it is truncated")
		}
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	a := &Archive{path: path, zip: z}
	for _, f := range z.File {
		if name, ok := strings.CutSuffix(f.Name, ".npy"); ok {
			a.Names = append(a.Names, name)
		}
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.zip.Close() }

// Has tells whether the archive holds an array of that name.
func (a *Archive) Has(name string) bool { return slices.Contains(a.Names, name) }

// Read reads one array.
func (a *Archive) Read(name string) (*Array, error) {
	r, err := a.member(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	array, err := Decode(bufio.NewReaderSize(r, block))
	if err == nil {
		_, err = io.Copy(io.Discard, r) // the zip's checksum is verified at its end
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", a.path, name, err)
	}
	return array, nil
}

// Rows starts reading one array row by row. Close ends it; the archive stays
// open.
func (a *Archive) Rows(name string) (*Rows, error) {
	member, err := a.member(name)
	if err != nil {
		return nil, err
	}
	r, err := newRows(a.path+": "+name, member)
	if err != nil {
		member.Close()
		return nil, err
	}
	return r, nil
}

func (a *Archive) member(name string) (io.ReadCloser, error) {
	for _, f := range a.zip.File {
		if f.Name == name+".npy" {
			r, err := f.Open()
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", a.path, name, err)
			}
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s: no array %q: it holds %s", a.path, name, strings.Join(a.Names, ", "))
}

// Named is an array to be written into an archive.
type Named struct {
	Name  string
	Array Array
}

// WriteArchive writes arrays to a .npz file as numpy.savez_compressed does
// (deflated) or numpy.savez (stored), whole or not at all. Equal arrays give
// equal bytes: members carry no time.
func WriteArchive(path string, arrays []Named, deflate bool) error {
	return whole.Stream(path, func(f io.Writer) error {
		z := zip.NewWriter(f)
		// Statistics hardly compress: the fastest level saves as much as the best.
		z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
		method := zip.Store
		if deflate {
			method = zip.Deflate
		}
		for _, a := range arrays {
			w, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: method})
			if err == nil {
				err = a.Array.encode(w)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", a.Name, err)
			}
		}
		return z.Close()
	})
}

// encode writes an array of any element type.
func (a Array) encode(w io.Writer) error {
	switch data := a.Data.(type) {
	case []float32:
		return Encode(w, a.Shape, data)
	case []float64:
		return Encode(w, a.Shape, data)
	case []int64:
		return Encode(w, a.Shape, data)
	}
	return fmt.Errorf("holds %s, want float32, float64 or int64", a.DType())
}
