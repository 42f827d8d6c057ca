package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tokenizerConfig is what tokenizer_config.json says. special_tokens_map.json
// has the four tokens again.
type tokenizerConfig struct {
	BOS                addedToken            `json:"bos_token"`
	EOS                addedToken            `json:"eos_token"`
	Unknown            addedToken            `json:"unk_token"`
	Pad                addedToken            `json:"pad_token"`
	ModelMaxLength     *float64              `json:"model_max_length"` // null and "very large" (1e30): CLIP's 77
	TokenizerClass     string                `json:"tokenizer_class"`
	PaddingSide        string                `json:"padding_side"`
	TruncationSide     string                `json:"truncation_side"`
	AddedTokensDecoder map[string]addedToken `json:"added_tokens_decoder"` // by id; null: the older files have them
}

// readTokenizerConfig reads tokenizer_config.json over CLIPTokenizer's defaults.
func readTokenizerConfig(dir string) (tokenizerConfig, error) {
	start, end := addedToken{Content: "<|startoftext|>", Special: true}, addedToken{Content: "<|endoftext|>", Special: true}
	c := tokenizerConfig{BOS: start, EOS: end, Unknown: end, Pad: end, PaddingSide: "right", TruncationSide: "right"}
	path := filepath.Join(dir, "tokenizer_config.json")
	if _, err := readJSON(path, &c); err != nil {
		return c, err
	}
	switch {
	case c.TokenizerClass != "" && c.TokenizerClass != "CLIPTokenizer" && c.TokenizerClass != "CLIPTokenizerFast":
		return c, fmt.Errorf("%s: tokenizer_class is %q, want \"CLIPTokenizer\": no other is supported", path, c.TokenizerClass)
	case c.PaddingSide != "right" || c.TruncationSide != "right":
		return c, fmt.Errorf("%s: padding_side is %q, truncation_side is %q, want \"right\"", path, c.PaddingSide, c.TruncationSide)
	case c.maxLength() < 3:
		return c, fmt.Errorf("%s: model_max_length is %g, want at least 3: a token between start and end", path, *c.ModelMaxLength)
	}
	return c, nil
}

func (c tokenizerConfig) maxLength() int {
	if c.ModelMaxLength == nil || *c.ModelMaxLength > 1e6 {
		return 77
	}
	return int(*c.ModelMaxLength)
}

// addedTokens lists the tokens to be looked for in texts, as transformers 5
// gathers them; where two have one content, the later one's flags count. Newer
// folders have all in added_tokens_decoder. Older ones have the four in
// special_tokens_map.json and others in added_tokens.json or tokenizer.json.
// Source:
// https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/tokenization_utils_base.py
func (c *tokenizerConfig) addedTokens(dir string, v *vocabulary) ([]addedToken, error) {
	var list []addedToken
	if c.AddedTokensDecoder != nil {
		for key, a := range c.AddedTokensDecoder {
			id, err := strconv.Atoi(key)
			if err != nil {
				return nil, fmt.Errorf("%s: added_tokens_decoder has the key %.60q, want an id", filepath.Join(dir, "tokenizer_config.json"), key)
			}
			a.ID = &id
			list = append(list, a)
		}
	} else {
		if _, err := readJSON(filepath.Join(dir, "special_tokens_map.json"), c); err != nil {
			return nil, err
		}
		var older map[string]int
		if _, err := readJSON(filepath.Join(dir, "added_tokens.json"), &older); err != nil {
			return nil, err
		}
		for _, content := range slices.Sorted(maps.Keys(older)) {
			id := older[content]
			special := slices.ContainsFunc(c.named(), func(a addedToken) bool { return a.Content == content })
			list = append(list, addedToken{Content: content, Special: special, ID: &id})
		}
		for _, a := range v.added {
			if a.ID == nil {
				return nil, fmt.Errorf("%s: the added token %.60q has no id", v.path, a.Content)
			}
			list = append(list, a)
		}
	}
	for _, a := range append(c.named(), list...) {
		if a.Content == "" {
			return nil, fmt.Errorf("%s: an added token has no content, want a string", dir)
		}
	}
	slices.SortStableFunc(list, func(a, b addedToken) int { return *a.ID - *b.ID })
	listed := map[string]bool{}
	for _, a := range list {
		listed[a.Content] = true
	}
	for _, a := range c.named() {
		if !listed[a.Content] {
			list = append(list, a)
		}
	}
	return list, nil
}

// named are the tokens that have a part of their own.
func (c tokenizerConfig) named() []addedToken {
	return []addedToken{c.BOS, c.EOS, c.Unknown, c.Pad}
}

// addedToken is a token that is looked for in the text before it is cut into
// words: a mark of start, end or padding, or a word that somebody added. In JSON
// it is a string or an object. lstrip and rstrip are not read: the whitespace
// that they take in makes no token.
type addedToken struct {
	Content    string `json:"content"`
	Normalized *bool  `json:"normalized"` // looked for in normalised text; null: unless it is special
	Special    bool   `json:"special"`
	SingleWord bool   `json:"single_word"`
	ID         *int   `json:"id"` // nil where none is listed
}

// UnmarshalJSON reads both forms. A string is a special token, null changes
// nothing.
func (a *addedToken) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		return nil
	case data[0] == '"':
		*a = addedToken{Special: true}
		return json.Unmarshal(data, &a.Content)
	}
	type plain addedToken
	*a = addedToken{}
	return json.Unmarshal(data, (*plain)(a))
}

func (a addedToken) normalized() bool {
	if a.Normalized == nil {
		return !a.Special
	}
	return *a.Normalized
}

// finder finds added tokens in a text.
type finder struct {
	starts [256][]found // by first byte, the longest first
}

type found struct {
	content string
	id      int
}

// set makes content stand for id, whatever it stood for.
func (f *finder) set(content string, id int) {
	f.remove(content)
	if content == "" {
		return
	}
	list := append(f.starts[content[0]], found{content, id})
	slices.SortStableFunc(list, func(a, b found) int { return len(b.content) - len(a.content) })
	f.starts[content[0]] = list
}

func (f *finder) remove(content string) {
	if content != "" {
		list := &f.starts[content[0]]
		*list = slices.DeleteFunc(*list, func(t found) bool { return t.content == content })
	}
}

// next is where the first of the tokens stands in text, the longest of those
// that stand there, and its id. at is −1 where there is none.
func (f *finder) next(text string) (at, size, id int) {
	for at := range len(text) {
		for _, t := range f.starts[text[at]] {
			if strings.HasPrefix(text[at:], t.content) {
				return at, len(t.content), t.id
			}
		}
	}
	return -1, 0, 0
}

// cut gives part the parts of text in order: the ids of the tokens found, and
// with id −1 what stands between them. It stops when part returns false.
func (f *finder) cut(text string, part func(text string, id int) bool) {
	for text != "" {
		at, size, id := f.next(text)
		if at < 0 {
			part(text, -1)
			return
		}
		if at > 0 && !part(text[:at], -1) || !part("", id) {
			return
		}
		text = text[at+size:]
	}
}
