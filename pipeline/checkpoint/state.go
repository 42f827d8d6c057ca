package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// StateFile is the name of a checkpoint's witness.
const StateFile = "trainer_state.json"

// State is trainer_state.json: where the run stands, and what the checkpoint
// consists of. Write fills in Files; the rest is the caller's.
type State struct {
	Step         int     `json:"step"`                        // finished steps
	Position     int64   `json:"position"`                    // examples consumed
	Updates      int     `json:"updates"`                     // finished steps less the skipped ones: what AdamW, the LR schedule and the EMA ramp count
	BadSteps     int     `json:"bad_steps"`                   // skipped steps in a row, the last step included
	LossScale    float64 `json:"loss_scale,omitempty"`        // fp16: what the next step's loss is multiplied by
	LossGrowth   int     `json:"loss_scale_growth,omitempty"` // fp16: finite steps since it changed
	Records      int     `json:"records"`                     // of the data: with another number the order is another
	ConfigDigest string  `json:"config_digest"`               // SHA-256 of the run's resolved config.toml
	Files        []File  `json:"files"`                       // every file but this one, by path
}

// File is one file of a checkpoint.
type File struct {
	Path   string `json:"path"` // relative to the checkpoint, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Read returns the state of the checkpoint at path, after a look that all its
// files are there in full length. It does not read them: Verify does.
func Read(path string) (State, error) {
	var s State
	text, err := os.ReadFile(filepath.Join(path, StateFile))
	if err != nil {
		return s, fmt.Errorf("%s is no whole checkpoint: %w", path, err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s is no whole checkpoint: %s: %w", path, StateFile, err)
	}
	for _, f := range s.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return s, fmt.Errorf("%s is no whole checkpoint: %s names %q, which lies outside it", path, StateFile, f.Path)
		}
		info, err := os.Stat(filepath.Join(path, filepath.FromSlash(f.Path)))
		if err != nil {
			return s, fmt.Errorf("%s is no whole checkpoint: %w", path, err)
		}
		if info.Size() != f.Bytes {
			return s, fmt.Errorf("%s is no whole checkpoint: %s has %d bytes, and %s says %d", path, f.Path, info.Size(), StateFile, f.Bytes)
		}
	}
	return s, nil
}

// Verify reads every file of the checkpoint at path and compares it with the
// digest that was taken when it was written.
func Verify(path string) error {
	s, err := Read(path)
	if err != nil {
		return err
	}
	for _, want := range s.Files {
		got, err := digest(path, want.Path)
		if err != nil {
			return fmt.Errorf("%s is no whole checkpoint: %w", path, err)
		}
		if got != want {
			return fmt.Errorf("%s is no whole checkpoint: %s has SHA-256 %.12s…, and %s says %.12s…", path, want.Path, got.SHA256, StateFile, want.SHA256)
		}
	}
	return nil
}

// list digests every file below dir, by path.
func list(dir string) (files []File, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a folder, so that it cannot be flushed", name)
		}
		f, err := digest(dir, filepath.ToSlash(name))
		files = append(files, f)
		return err
	})
	return files, err
}

// digest reads one file below dir.
func digest(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{name, n, hex.EncodeToString(h.Sum(nil))}, err
}

// writeState writes the witness into dir.
func writeState(dir string, s State) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, StateFile), []byte(b.String()), 0o644)
}
