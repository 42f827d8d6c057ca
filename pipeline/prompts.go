package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// ReadPrompts reads a file of prompts, a line each. An empty line is the empty
// prompt, blanks stay, and lines may end in CR LF; a UTF-8 byte order mark is
// dropped, and the end of the last line may be missing. Lines have no limit; a
// text encoder reads the beginning of a long one.
func ReadPrompts(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prompts: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if len(text) == 0 {
		return nil, fmt.Errorf("prompts %s: the file is empty, want a prompt a line; an empty line is the empty prompt", path)
	}
	prompts := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range prompts {
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("prompts %s: line %d is not UTF-8: save the file as UTF-8", path, i+1)
		}
		prompts[i] = strings.TrimSuffix(line, "\r")
	}
	return prompts, nil
}
