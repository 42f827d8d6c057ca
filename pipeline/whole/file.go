package whole

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Temporary begins the name of everything that is not finished.
const Temporary = ".tmp-"

// File makes the file at path, or replaces it. Its bytes are on the disk when
// File returns. On an error the file is as it was.
func File(path string, data []byte) error { return Stream(path, bytesOf(data)) }

// Stream is File for what write writes.
func Stream(path string, write func(w io.Writer) error) error { return file(path, true, write) }

// FileInCache is File without the wait for the disk: the file is whole after a
// kill, but after a power cut it may be empty. It is for what can be made again,
// such as pictures by the thousand.
func FileInCache(path string, data []byte) error { return file(path, false, bytesOf(data)) }

func bytesOf(data []byte) func(w io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func file(path string, sync bool, write func(w io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), Temporary+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if it was renamed
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644) // CreateTemp's 0600 is for secrets
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
