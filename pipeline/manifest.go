package pipeline

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"immiscible/datasets/rng"
	"immiscible/pipeline/whole"
)

// ImageRecord is one line of manifest.jsonl.
type ImageRecord struct {
	File       string  `json:"file"`
	Index      int     `json:"index"` // among the images of its class or prompt
	Seed       uint64  `json:"seed"`
	Class      *int    `json:"class,omitempty"`
	Prompt     *string `json:"prompt,omitempty"`          // with a class: its caption
	Negative   string  `json:"negative_prompt,omitempty"` // where guidance reads it
	Sampler    string  `json:"sampler"`
	Steps      int     `json:"steps"`
	Guidance   float64 `json:"guidance"`
	Eta        float64 `json:"eta,omitempty"`
	Resolution string  `json:"resolution,omitempty"` // HxW in pixels, where it is not the model's own
	Weights    string  `json:"weights"`
	Model      string  `json:"model"`             // base name of the folder
	Latents    string  `json:"latents,omitempty"` // base name of the file

	group  string // of the file's name: all that stands before the index
	stream string // which of the seed's streams its noise is
}

// draw is the image's own noise for a purpose: a function of the seed, the
// class, or the prompt and how often it stood before, and the index.
func (r ImageRecord) draw(purpose string) *rng.Stream {
	return rng.New(r.Seed, purpose+r.stream, uint64(r.Index))
}

// promptStream names the noise of a prompt that stood again times before.
func promptStream(prompt string, again int) string {
	return fmt.Sprintf("/prompt-%x-%d", sha256.Sum256([]byte(prompt)), again)
}

// line is the record as its line of the manifest.
func (r ImageRecord) line() string {
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error() // a guidance that is no number, which sampling refuses
	}
	return string(text)
}

// fileGroup is what stands before the index in the name of a file.
func fileGroup(file string) string { return file[:strings.LastIndexByte(file, '-')+1] }

// maxPromptInPicture bounds, in bytes, what of a prompt goes into a picture; the
// manifest has all of it.
const maxPromptInPicture = 4096

// parameters is the text chunk of that name, in the form that Stable Diffusion's
// user interfaces write and read.
func (r ImageRecord) parameters(height, width int) string {
	var b strings.Builder
	if r.Prompt != nil {
		fmt.Fprintln(&b, cut(*r.Prompt))
	}
	if r.Negative != "" {
		fmt.Fprintln(&b, "Negative prompt:", cut(r.Negative))
	}
	fmt.Fprintf(&b, "Steps: %d, Sampler: %s, CFG scale: %g, Seed: %d, Index: %d", r.Steps, r.Sampler, r.Guidance, r.Seed, r.Index)
	if r.Class != nil {
		fmt.Fprintf(&b, ", Class: %d", *r.Class)
	}
	if r.Eta != 0 {
		fmt.Fprintf(&b, ", Eta: %g", r.Eta)
	}
	fmt.Fprintf(&b, ", Size: %dx%d, Model: %s, Weights: %s", width, height, r.Model, r.Weights)
	return b.String()
}

// short is the record with no more of its prompts than a picture holds.
func (r ImageRecord) short() ImageRecord {
	if r.Prompt != nil {
		prompt := cut(*r.Prompt)
		r.Prompt = &prompt
	}
	r.Negative = cut(r.Negative)
	return r
}

func cut(prompt string) string {
	if len(prompt) > maxPromptInPicture {
		return strings.ToValidUTF8(prompt[:maxPromptInPicture], "") + "…"
	}
	return prompt
}

// readManifest reads the records of a folder, by file, and the order in which
// the manifest first names them. A folder without one has none.
func readManifest(out string) (have map[string]ImageRecord, order []string, err error) {
	path := filepath.Join(out, "manifest.jsonl")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("-out %s: %w", out, err)
	}
	defer f.Close()
	have = map[string]ImageRecord{}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return have, order, nil // without what a kill left of a last line: its image is made again
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		var r ImageRecord
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		if _, twice := have[r.File]; !twice {
			order = append(order, r.File)
		}
		have[r.File] = r
	}
}

// missingImages returns the places in all that the folder lacks, and what the
// manifest says of other images, which other calls made: of other classes and
// prompts or, where only some indices are wanted, of other indices. What is
// there of all must have been made with the same settings.
func missingImages(out string, all []ImageRecord, some bool) (missing []int, others []ImageRecord, err error) {
	path := filepath.Join(out, "manifest.jsonl")
	have, order, err := readManifest(out)
	if err != nil {
		return nil, nil, err
	}
	ours := map[string]bool{}
	for i, r := range all {
		there, listed := have[r.File]
		if was, now := r.line(), there.line(); listed && was != now {
			return nil, nil, fmt.Errorf("%s: %s was made with other settings (%s, now %s): name another -out, or remove the folder", path, r.File, cut(now), cut(was))
		}
		delete(have, r.File)
		ours[r.group] = true
		if info, err := os.Stat(filepath.Join(out, r.File)); !listed || err != nil || info.Size() == 0 { // a power cut may have emptied it
			missing = append(missing, i)
		}
	}
	for _, file := range order {
		r, left := have[file]
		if left && ours[fileGroup(file)] && !some {
			return nil, nil, fmt.Errorf("%s lists %s, and fewer images a class are wanted now: name another -out, or remove the folder", path, file)
		}
		if left {
			others = append(others, r)
		}
	}
	return missing, others, nil
}

// writeManifest puts the manifest in the job's order, whole or not at all.
func writeManifest(out string, all []ImageRecord) error {
	return whole.Stream(filepath.Join(out, "manifest.jsonl"), func(w io.Writer) error {
		buffer := bufio.NewWriter(w)
		for _, r := range all {
			fmt.Fprintln(buffer, r.line()) // an error stays, and Flush returns it
		}
		return buffer.Flush()
	})
}
