// Package cliptest gives tests CLIP's real tokenizer. merges.txt.gz is OpenAI's
// list of merges (https://github.com/openai/CLIP, MIT licence, see LICENSE), cut
// to the 48,894 that CLIP uses; the vocabulary follows from it.
package cliptest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

//go:embed merges.txt.gz
var packed []byte

var merges = sync.OnceValues(func() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
})

// Merges is the content of merges.txt.
func Merges(t testing.TB) []byte {
	t.Helper()
	text, err := merges()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Vocabulary lists the 49,408 tokens by id: the characters that stand for bytes,
// those that end a word, what each merge makes, the marks of start and end.
func Vocabulary(t testing.TB) []string {
	t.Helper()
	var tokens []string
	next := rune(256)
	var others []string // of bytes that stand not for themselves
	for b := rune(0); b < 256; b++ {
		if b >= '!' && b <= '~' || b >= '¡' && b <= '¬' || b >= '®' {
			tokens = append(tokens, string(b))
		} else {
			others = append(others, string(next))
			next++
		}
	}
	tokens = append(tokens, others...)
	for _, token := range tokens {
		tokens = append(tokens, token+"</w>")
	}
	lines := strings.Split(strings.TrimSpace(string(Merges(t))), "\n")
	for _, line := range lines[1:] { // the first is #version
		tokens = append(tokens, strings.ReplaceAll(line, " ", ""))
	}
	return append(tokens, "<|startoftext|>", "<|endoftext|>")
}

// Write writes vocab.json and merges.txt to dir, which it makes. That is a
// tokenizer folder as Stable Diffusion 1.x has it, less the files that say what
// is so anyway.
func Write(t testing.TB, dir string) {
	t.Helper()
	ids := map[string]int{}
	for id, token := range Vocabulary(t) {
		ids[token] = id
	}
	vocab, err := json.Marshal(ids)
	err = errors.Join(err, os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "vocab.json"), vocab, 0o644),
		os.WriteFile(filepath.Join(dir, "merges.txt"), Merges(t), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}
