package whole

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// folderPrefix begins the names of Folder's temporary folders, which stand in a
// folder that may be anyone's: only what has this name is swept there.
const folderPrefix = Temporary + "export-"

// Vacant reports why Folder cannot make the folder out: it is a file, holds
// something, or is the working directory.
func Vacant(out string) error {
	if info, err := os.Stat(out); err == nil && !info.IsDir() {
		return fmt.Errorf("-out %s is a file, want a folder: name another", out)
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("-out %s is not empty: name another folder", out)
	}
	if filepath.Clean(out) == "." { // the folder is replaced, and that would take this one from under the shell
		return fmt.Errorf("-out %s is the working directory: name a folder in it", out)
	}
	return nil
}

// Folder makes the folder out, which must be Vacant, of what fill writes into
// dir. It also removes what killed calls have left beside out. Errors name the
// folder as the flag -out, which every command calls it.
func Folder(out string, fill func(dir string) error) error {
	if err := Vacant(out); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(out); err == nil {
		out = real // a link to a folder stays one: it may lead to another disk
	}
	parent := filepath.Dir(filepath.Clean(out))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	sweepFolders(parent)
	temp, lock, err := makeFolder(parent)
	if err != nil {
		return fmt.Errorf("-out %s: %w: name a folder that can be written", out, err)
	}
	defer lock.Close()
	defer os.RemoveAll(temp)
	if err := fill(temp); err != nil {
		return err
	}
	err = os.Chmod(temp, 0o755) // MkdirTemp's 0700 is for secrets
	if err == nil {
		err = Flush(temp)
	}
	if err == nil {
		err = os.Remove(out)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(temp, out)
	}
	if err == nil {
		err = FlushOne(parent)
	}
	if err != nil {
		return fmt.Errorf("-out %s: %w", out, err)
	}
	return nil
}

// makeFolder makes a temporary folder, whose lock says that its process lives.
func makeFolder(parent string) (temp string, lock *os.File, err error) {
	for {
		if temp, err = os.MkdirTemp(parent, folderPrefix+"*"); err != nil {
			return "", nil, err
		}
		lock, err = lockFolder(temp)
		_, gone := os.Stat(temp)
		if gone == nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return temp, lock, nil // without a lock where the file system has none: no sweep touches it then
		}
		lock.Close() // another call's sweep came before the lock: once more
	}
}

// sweepFolders removes Folder's temporary folders of processes that are gone. It
// is no reason to fail.
func sweepFolders(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), folderPrefix) {
			continue
		}
		path := filepath.Join(parent, entry.Name())
		lock, err := lockFolder(path)
		if err == nil {
			os.RemoveAll(path)
		}
		lock.Close()
	}
}

// lockFolder opens a folder and locks it until it is closed or the process ends.
func lockFolder(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// Sweep removes what a process that was killed has left half-written in dir:
// everything there whose name begins with Temporary. No other process may be
// writing there.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), Temporary) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return nil
}

// Flush forces dir, and every file and folder below it, to the disk.
func Flush(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return FlushOne(path)
	})
}

// FlushOne forces one file, or one folder's list of names, to the disk.
func FlushOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
