package clip

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// small is a tokenizer folder of a few tokens; files replace or add to its
// files, and "" removes one.
func small(t testing.TB, files map[string]string) string {
	t.Helper()
	all := map[string]string{
		"vocab.json": `{"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab": 4, "ab</w>": 5, "<|startoftext|>": 6, "<|endoftext|>": 7}`,
		"merges.txt": "#version: 0.2\na b\r\na b</w>\n\n",
	}
	for name, text := range files {
		all[name] = text
	}
	dir := t.TempDir()
	for name, text := range all {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSmallTokenizer(t *testing.T) {
	tok := load(t, small(t, map[string]string{
		"tokenizer_config.json": `{"model_max_length": 8, "pad_token": null, "tokenizer_class": "CLIPTokenizer", "added_tokens_decoder":
			{"8": {"content": "<x>", "normalized": false}, "7": {"content": "<|endoftext|>", "special": true}, "9": {"content": "<Y>"}}}`,
	}))
	if tok.VocabSize != 10 || tok.MaxLength != 8 {
		t.Errorf("VocabSize %d, MaxLength %d, want 10, 8", tok.VocabSize, tok.MaxLength)
	}
	for text, want := range map[string][]int64{
		"":                {6, 7, 7, 7, 7, 7, 7, 7},
		"ab":              {6, 5, 7, 7, 7, 7, 7, 7},
		"AB ab":           {6, 5, 5, 7, 7, 7, 7, 7},
		"abab<x>a":        {6, 4, 5, 8, 2, 7, 7, 7},
		"<X><y>":          {6, 7, 7, 7, 9, 7, 7, 7}, // <, x and > are unknown
		"a a a a a a":     {6, 2, 2, 2, 2, 2, 2, 7},
		"a a a a a a b":   {6, 2, 2, 2, 2, 2, 2, 7},
		"<x><x><x> <x>ab": {6, 8, 8, 8, 8, 5, 7, 7},
	} {
		if got := tok.Encode(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"": false, "a a a a a a": false, "a a a a a a a": true, "a a a a a a<x>": true, "bbbbbbb": true, "a a a a a a ": false} {
		if tokens, more := tok.Tokens(text); more != want || len(tokens) > 6 {
			t.Errorf("%q: tokens %v, more %v, want %v", text, tokens, more, want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	const vocab = `"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab": 4, "ab</w>": 5, "<|startoftext|>": 6, "<|endoftext|>": 7`
	long := strings.Repeat("x", 1000)
	tests := []struct{ name, text, want string }{ // what a file is, and the error behind the folder's path
		{"merges.txt", "", `: merges.txt is missing, and vocab.json is here: copy it from the same tokenizer`},
		{"vocab.json", "", `: vocab.json is missing, and merges.txt is here: copy it from the same tokenizer`},
		{"merges.txt", "#version: 0.2\n", `/merges.txt: no merges, want two tokens a line`},
		{"merges.txt", "#version: 0.2\na b\n\nab\n", `/merges.txt:4: got "ab", want two tokens with a space between`},
		{"merges.txt", "a b\na b c\n", `/merges.txt:2: got "a b c", want two tokens with a space between`},
		{"merges.txt", "a  b\n", `/merges.txt:1: got "a  b", want two tokens with a space between`},
		{"merges.txt", "a \n", `/merges.txt:1: got "a ", want two tokens with a space between`},
		{"merges.txt", long, `/merges.txt:1: got "` + long[:60] + `", want two tokens with a space between`},
		{"merges.txt", "#version: 0.2\r\n\r\nb a\r\n", `/merges.txt:3: the vocabulary lacks the token "ba" of the merge "b" + "a": the two files are not of one tokenizer`},
		{"merges.txt", "a c\n", `/merges.txt:1: the vocabulary lacks the token "c" of the merge "a" + "c": the two files are not of one tokenizer`},
		{"vocab.json", "[]", `/vocab.json: got a JSON array, want an object`},
		{"vocab.json", `{"a": 1.5}`, `/vocab.json: got a JSON number 1.5, want a number (int)`},
		{"vocab.json", `{"a": 0`, `/vocab.json: not JSON: unexpected end of JSON input`},
		{"vocab.json", "{" + vocab + `, "c": 7}`, `/vocab.json: "<|endoftext|>" and "c" have one id, 7`},
		{"vocab.json", "{" + vocab + `, "c": -1}`, `/vocab.json: "c" has the id -1, want 0…2147483646`},
		{"vocab.json", strings.Replace("{"+vocab+"}", "<|start", "<|begin", 1), `: the token "<|startoftext|>" is neither in vocab.json nor among the added tokens`},
		{"tokenizer_config.json", `{"pad_token": "<pad>"}`, `: the token "<pad>" is neither in vocab.json nor among the added tokens`},
		{"tokenizer_config.json", `{"tokenizer_class": "T5Tokenizer"}`, `/tokenizer_config.json: tokenizer_class is "T5Tokenizer", want "CLIPTokenizer": no other is supported`},
		{"tokenizer_config.json", `{"padding_side": "left"}`, `/tokenizer_config.json: padding_side is "left", truncation_side is "right", want "right"`},
		{"tokenizer_config.json", `{"model_max_length": 2}`, `/tokenizer_config.json: model_max_length is 2, want at least 3: a token between start and end`},
		{"tokenizer_config.json", `{"model_max_length": "77"}`, `/tokenizer_config.json: model_max_length is a JSON string, want a number (float64)`},
		{"tokenizer_config.json", `{"added_tokens_decoder": {"x": {"content": "y"}}}`, `/tokenizer_config.json: added_tokens_decoder has the key "x", want an id`},
		{"tokenizer_config.json", `{"added_tokens_decoder": {"9": {"content": "y"}}}`, `: the added token "y" has the id 9, want 8: its place in the vocabulary, or the next one`},
		{"tokenizer_config.json", `{"added_tokens_decoder": {"8": {"content": ""}}}`, `: an added token has no content, want a string`},
		{"added_tokens.json", `{"y": 8, "z": 8}`, `: the added token "z" has the id 8, want 9: its place in the vocabulary, or the next one`},
		{"tokenizer_config.json", `{"bos_token": {"content": "<|startoftext|>", "single_word": true}}`, `: the added token "<|startoftext|>" has single_word = true, which is not supported: want false`},
		{"special_tokens_map.json", `{"eos_token": 3}`, `/special_tokens_map.json: eos_token is a JSON number, want an object`},
		{"tokenizer.json", `{"model": {"type": "WordPiece", "vocab": {"a": 0}}}`, `/tokenizer.json: model.type is "WordPiece" with end_of_word_suffix "", want "BPE" with "</w>": this is no CLIP tokenizer`},
		{"tokenizer.json", `{"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0}, "merges": []}}`, `/tokenizer.json: 1 tokens in model.vocab and 0 in model.merges, want both`},
		{"tokenizer.json", `{"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0}, "merges": ["a a", ["a"]]}}`, `/tokenizer.json: model.merges[1]: got ["a"], want two tokens`},
		{"tokenizer.json", `{"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {` + vocab + `}, "merges": ["a b", ["b", "a"]]}}`,
			`/tokenizer.json: model.merges[1]: the vocabulary lacks the token "ba" of the merge "b" + "a": the two files are not of one tokenizer`},
		{"tokenizer.json", `{"added_tokens": [{"content": "x"}], "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {` + vocab + `}, "merges": ["a b"]}}`,
			`/tokenizer.json: the added token "x" has no id`},
	}
	for _, test := range tests {
		dir := small(t, map[string]string{test.name: test.text})
		if _, err := LoadTokenizer(dir); err == nil || err.Error() != dir+test.want {
			t.Errorf("%s %.200q:\ngot  %v\nwant DIR%s", test.name, test.text, err, test.want)
		}
	}
	empty := t.TempDir()
	if _, err := LoadTokenizer(empty); err == nil || err.Error() != empty+": no tokenizer: want vocab.json and merges.txt, or tokenizer.json" {
		t.Errorf("an empty folder: %v", err)
	}
}

// Whatever the text, an encoding is whole and its ids are the vocabulary's;
// whatever the files, loading ends in a tokenizer or an error.
func FuzzEncode(f *testing.F) {
	for _, l := range goldenTokens(f)[1000:1300] {
		f.Add(l.Text)
	}
	f.Add("\xff\xfe\xed\xa0\x80<|endoftext|>")
	var toks []*Tokenizer
	for _, kind := range kinds {
		toks = append(toks, load(f, folder(f, kind)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			ids := tok.Encode(text)
			if len(ids) != 77 || ids[0] != tok.BOS || slices.Min(ids) < 0 || slices.Max(ids) >= int64(tok.VocabSize) || !slices.Contains(ids, tok.EOS) {
				t.Errorf("%q: %v", text, ids)
			}
			tokens, more := tok.Tokens(text)
			if len(tokens) > 75 || more && len(tokens) < 75 || !slices.Equal(tokens, ids[1:1+len(tokens)]) {
				t.Errorf("%q: tokens %v, more %v, encoding %v", text, tokens, more, ids)
			}
			if again := tok.Encode(clean(strings.ToValidUTF8(text, "\ufffd"))); tok == toks[0] && !strings.Contains(text, "<|") && !slices.Equal(again, ids) {
				t.Errorf("%q: normalised text gives %v, want %v", text, again, ids)
			}
		}
	})
}

func FuzzLoad(f *testing.F) {
	dir := small(f, nil)
	vocab, err1 := os.ReadFile(filepath.Join(dir, "vocab.json"))
	merges, err2 := os.ReadFile(filepath.Join(dir, "merges.txt"))
	if err := errors.Join(err1, err2); err != nil {
		f.Fatal(err)
	}
	f.Add(string(vocab), string(merges), `{"model_max_length": 5, "added_tokens_decoder": {"8": {"content": "<x>"}}}`, "")
	f.Add(string(vocab), string(merges), `{"bos_token": null, "model_max_length": 1e30}`, `{"pad_token": "a"}`)
	f.Fuzz(func(t *testing.T, vocab, merges, config, special string) {
		tok, err := LoadTokenizer(small(t, map[string]string{"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": config, "special_tokens_map.json": special}))
		if err != nil {
			return
		}
		for _, text := range []string{"ab a b <x>", config} {
			if ids := tok.Encode(text); len(ids) != tok.MaxLength || slices.Min(ids) < 0 || slices.Max(ids) >= int64(tok.VocabSize) {
				t.Errorf("%q: %v of %d", text, ids, tok.VocabSize)
			}
		}
	})
}
