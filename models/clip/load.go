package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// LoadTokenizer reads a tokenizer folder as diffusers and transformers write it:
// vocab.json and merges.txt, or tokenizer.json, which goes first where both are;
// and, where they are there, tokenizer_config.json, special_tokens_map.json and
// added_tokens.json.
func LoadTokenizer(dir string) (*Tokenizer, error) {
	config, err := readTokenizerConfig(dir)
	if err != nil {
		return nil, err
	}
	v, err := readTokenizerJSON(dir)
	if err == nil && v == nil {
		v, err = readVocabulary(dir)
	}
	if err != nil {
		return nil, err
	}
	tokens, err := config.addedTokens(dir, v)
	if err != nil {
		return nil, err
	}
	return newTokenizer(dir, config, v, tokens)
}

// vocabulary is what tokenizer.json, or vocab.json and merges.txt, hold.
type vocabulary struct {
	path    string // of the file with the ids
	ids     map[string]int
	merges  [][2]string
	mergeAt func(i int) string // where the i-th merge stands
	added   []addedToken       // of tokenizer.json
}

// readVocabulary reads vocab.json and merges.txt.
func readVocabulary(dir string) (*vocabulary, error) {
	v := &vocabulary{path: filepath.Join(dir, "vocab.json")}
	mergesPath := filepath.Join(dir, "merges.txt")
	hasVocab, err := readJSON(v.path, &v.ids)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(mergesPath)
	hasMerges := !errors.Is(err, fs.ErrNotExist)
	switch {
	case !hasVocab && !hasMerges:
		return nil, fmt.Errorf("%s: no tokenizer: want vocab.json and merges.txt, or tokenizer.json", dir)
	case !hasVocab:
		return nil, fmt.Errorf("%s: vocab.json is missing, and merges.txt is here: copy it from the same tokenizer", dir)
	case !hasMerges:
		return nil, fmt.Errorf("%s: merges.txt is missing, and vocab.json is here: copy it from the same tokenizer", dir)
	case err != nil:
		return nil, fmt.Errorf("reading a tokenizer: %w", err)
	}
	var lines []int
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line := strings.TrimRight(string(line), "\r\n")
		if line == "" || strings.HasPrefix(line, "#version") {
			continue
		}
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return nil, fmt.Errorf("%s:%d: got %.60q, want two tokens with a space between", mergesPath, number, line)
		}
		v.merges, lines = append(v.merges, [2]string{left, right}), append(lines, number)
	}
	if len(v.merges) == 0 {
		return nil, fmt.Errorf("%s: no merges, want two tokens a line", mergesPath)
	}
	v.mergeAt = func(i int) string { return fmt.Sprintf("%s:%d", mergesPath, lines[i]) }
	return v, nil
}

// readTokenizerJSON reads tokenizer.json; nil where there is none. Of its steps
// only the model is read: transformers' CLIPTokenizer brings the others itself.
func readTokenizerJSON(dir string) (*vocabulary, error) {
	var whole struct {
		AddedTokens []addedToken `json:"added_tokens"`
		Model       struct {
			Type   string            `json:"type"`
			Suffix string            `json:"end_of_word_suffix"`
			Vocab  map[string]int    `json:"vocab"`
			Merges []json.RawMessage `json:"merges"` // "a b" or ["a", "b"]
		} `json:"model"`
	}
	path := filepath.Join(dir, "tokenizer.json")
	ok, err := readJSON(path, &whole)
	if err != nil || !ok {
		return nil, err
	}
	m := whole.Model
	v := &vocabulary{path: path, ids: m.Vocab, added: whole.AddedTokens,
		mergeAt: func(i int) string { return fmt.Sprintf("%s: model.merges[%d]", path, i) }}
	switch {
	case m.Type != "BPE" && m.Type != "" || m.Suffix != endOfWord:
		return nil, fmt.Errorf("%s: model.type is %q with end_of_word_suffix %q, want \"BPE\" with %q: this is no CLIP tokenizer", path, m.Type, m.Suffix, endOfWord)
	case len(m.Vocab) == 0 || len(m.Merges) == 0:
		return nil, fmt.Errorf("%s: %d tokens in model.vocab and %d in model.merges, want both", path, len(m.Vocab), len(m.Merges))
	}
	for i, raw := range m.Merges {
		var p []string
		var line string
		if json.Unmarshal(raw, &p) != nil && json.Unmarshal(raw, &line) == nil {
			p = strings.Split(line, " ")
		}
		if len(p) != 2 || p[0] == "" || p[1] == "" {
			return nil, fmt.Errorf("%s: got %.60s, want two tokens", v.mergeAt(i), raw)
		}
		v.merges = append(v.merges, [2]string(p))
	}
	return v, nil
}

// newTokenizer puts the parts together.
func newTokenizer(dir string, c tokenizerConfig, v *vocabulary, tokens []addedToken) (*Tokenizer, error) {
	limit := c.maxLength() - 1 // with the marks one more than are kept
	t := &Tokenizer{MaxLength: c.maxLength(), splitter: splitter{limit}}
	byID := make(map[int]string, len(v.ids))
	for _, token := range slices.Sorted(maps.Keys(v.ids)) {
		id := v.ids[token]
		if other, twice := byID[id]; twice {
			return nil, fmt.Errorf("%s: %.60q and %.60q have one id, %d", v.path, other, token, id)
		}
		if id < 0 || id > math.MaxInt32-1 {
			return nil, fmt.Errorf("%s: %.60q has the id %d, want 0…%d", v.path, token, id, math.MaxInt32-1)
		}
		byID[id] = token
		t.VocabSize = max(t.VocabSize, id+1)
	}
	ids := maps.Clone(v.ids)
	for _, a := range tokens {
		id, ok := ids[a.Content]
		if !ok {
			id = len(ids) // transformers numbers them on
			if a.ID == nil {
				return nil, fmt.Errorf("%s: the token %.60q is neither in %s nor among the added tokens", dir, a.Content, filepath.Base(v.path))
			}
			ids[a.Content] = id
			t.VocabSize = max(t.VocabSize, id+1)
		}
		if a.ID != nil && *a.ID != id {
			return nil, fmt.Errorf("%s: the added token %.60q has the id %d, want %d: its place in the vocabulary, or the next one", dir, a.Content, *a.ID, id)
		}
		if a.SingleWord {
			return nil, fmt.Errorf("%s: the added token %.60q has single_word = true, which is not supported: want false", dir, a.Content)
		}
		if a.normalized() {
			t.normalized.set(clean(a.Content), id)
			t.raw.remove(a.Content)
		} else {
			t.raw.set(a.Content, id)
			t.normalized.remove(clean(a.Content))
		}
	}
	t.BOS, t.EOS, t.Pad = int64(ids[c.BOS.Content]), int64(ids[c.EOS.Content]), int64(ids[c.Pad.Content])
	model, err := newBPE(v, ids[c.Unknown.Content], limit)
	if err != nil {
		return nil, err
	}
	t.model = model
	return t, nil
}

// readJSON reads a file into v; ok is false where there is no such file.
func readJSON(path string, v any) (ok bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading a tokenizer: %w", err)
	}
	err = json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return false, fmt.Errorf("%s: got a JSON %s, want %s", path, wrong.Value, jsonKind(wrong.Type))
	case errors.As(err, &wrong):
		return false, fmt.Errorf("%s: %s is a JSON %s, want %s", path, wrong.Field, wrong.Value, jsonKind(wrong.Type))
	case err != nil:
		return false, fmt.Errorf("%s: not JSON: %w", path, err)
	}
	return true, nil
}

// jsonKind is what JSON calls values of a type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	}
	return "a number (" + t.String() + ")"
}
