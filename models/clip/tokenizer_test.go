package clip

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"immiscible/models/clip/cliptest"
)

// kinds are the tokenizer folders of tools/golden/clip_tokens.py.
var kinds = []string{"sd1", "sd2", "added"}

// folder makes a whole tokenizer folder of a kind.
func folder(t testing.TB, kind string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tokenizer")
	cliptest.Write(t, dir)
	small, err := filepath.Glob(filepath.Join("testdata", "tokenizers", kind, "*.json"))
	if err != nil || len(small) == 0 {
		t.Fatalf("no tokenizer %s in testdata (%v): run tools/golden/clip_tokens.py", kind, err)
	}
	for _, path := range small {
		text, err := os.ReadFile(path)
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, dir string) *Tokenizer {
	t.Helper()
	tok, err := LoadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// line is one of tokens.jsonl: the ids of a text by kind, from mark to mark.
type line struct {
	Text string  `json:"text"`
	SD1  []int64 `json:"sd1"`
	SD2  []int64 `json:"sd2"`   // nil: as sd1
	More []int64 `json:"added"` // nil: as sd1
}

func (l line) ids(kind string) []int64 {
	if ids := map[string][]int64{"sd2": l.SD2, "added": l.More}[kind]; ids != nil {
		return ids
	}
	return l.SD1
}

func goldenTokens(t testing.TB) []line {
	t.Helper()
	f, err := os.Open("testdata/tokens.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bufio.NewReader(r))
	var lines []line
	for d.More() {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) < 2000 {
		t.Fatalf("%d lines, want 2,000: run tools/golden/clip_tokens.py", len(lines))
	}
	return lines[1:] // the first says what made them
}

// Every id is transformers', padding and all.
func TestGoldenTokens(t *testing.T) {
	lines := goldenTokens(t)
	for _, kind := range kinds {
		tok := load(t, folder(t, kind))
		if tok.MaxLength != 77 {
			t.Fatalf("%s: MaxLength %d, want 77", kind, tok.MaxLength)
		}
		pad := map[string]int64{"sd1": 49407, "sd2": 0, "added": 0}[kind]
		wrong := 0
		for _, l := range lines {
			want := slices.Clone(l.ids(kind))
			tokens, more := tok.Tokens(l.Text)
			if !slices.Equal(tokens, want[1:len(want)-1]) || more && len(want) < 77 {
				t.Errorf("%s: %q: tokens %v, more %v, want %v", kind, l.Text, tokens, more, want[1:len(want)-1])
				wrong++
			}
			for len(want) < 77 {
				want = append(want, pad)
			}
			if got := tok.Encode(l.Text); !slices.Equal(got, want) {
				t.Errorf("%s: %q:\ngot  %v\nwant %v", kind, l.Text, got, want)
				wrong++
			}
			if wrong > 20 {
				t.Fatal("and more")
			}
		}
	}
}

// tokenizer.json, which transformers 5 writes in place of the other files, says
// the same.
func TestTokenizerJSON(t *testing.T) {
	ids := map[string]int{}
	for id, token := range cliptest.Vocabulary(t) {
		ids[token] = id
	}
	text := strings.Split(strings.TrimSpace(string(cliptest.Merges(t))), "\n")[1:]
	var pairs [][]string
	for _, l := range text {
		pairs = append(pairs, strings.Split(l, " "))
	}
	special := func(id int, content string, normalized bool) map[string]any {
		return map[string]any{"id": id, "content": content, "normalized": normalized, "special": true, "lstrip": false, "rstrip": false, "single_word": false}
	}
	for _, merges := range []any{text, pairs} { // as older and as newer versions write them
		dir := t.TempDir()
		data, err := json.Marshal(map[string]any{
			"version": "1.0", "normalizer": map[string]any{"type": "Sequence"},
			"added_tokens": []any{special(0, "!", false), special(49406, "<|startoftext|>", true), special(49407, "<|endoftext|>", true)},
			"model":        map[string]any{"type": "BPE", "unk_token": "<|endoftext|>", "end_of_word_suffix": "</w>", "vocab": ids, "merges": merges},
		})
		config := `{"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!", "model_max_length": 77}`
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "tokenizer.json"), data, 0o644),
			os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o644))
		if err != nil {
			t.Fatal(err)
		}
		got, want := load(t, dir), load(t, folder(t, "sd2"))
		if got.VocabSize != 49408 || got.BOS != 49406 || got.EOS != 49407 || got.Pad != 0 {
			t.Errorf("size %d, marks %d, %d, %d, want 49408, 49406, 49407, 0", got.VocabSize, got.BOS, got.EOS, got.Pad)
		}
		for _, l := range goldenTokens(t) {
			if g, w := got.Encode(l.Text), want.Encode(l.Text); !slices.Equal(g, w) {
				t.Fatalf("%q: %v, want %v", l.Text, g, w)
			}
		}
	}
}

// A folder that lacks the small files has CLIP's settings.
func TestTokenizerDefaults(t *testing.T) {
	dir := t.TempDir()
	cliptest.Write(t, dir)
	tok := load(t, dir)
	if tok.MaxLength != 77 || tok.Pad != 49407 || tok.VocabSize != 49408 {
		t.Errorf("MaxLength %d, Pad %d, VocabSize %d, want 77, 49407, 49408", tok.MaxLength, tok.Pad, tok.VocabSize)
	}
	want := []int64{49406, 320, 1125, 539, 320, 3240, 49407} // CrispStrobe/CrispEmbed, pull request 30
	if got := tok.Encode("a photo of a fox"); !slices.Equal(got[:7], want) {
		t.Errorf("got %v, want %v", got[:7], want)
	}
	// huggingface/transformers.js, issue 74
	want = []int64{49406, 589, 533, 320, 1628, 9696, 539, 4160, 49407}
	if got := tok.Encode("this is a test string of text"); !slices.Equal(got[:9], want) {
		t.Errorf("got %v, want %v", got[:9], want)
	}
}

// Every character is the kind of character that the expressions of transformers'
// pre-tokenizer see, and is normalised as there. What those do not know, a later
// Unicode's, may be anything.
func TestUnicode(t *testing.T) {
	f, err := os.Open("testdata/unicode.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Kinds      [][3]any          `json:"kinds"`
		Normalized map[string]string `json:"normalized"`
	}
	if err := json.NewDecoder(r).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	names := map[kind]string{letter: "L", number: "N", space: "S", sign: "P"}
	characters := 0
	for _, run := range golden.Kinds {
		for c := rune(run[0].(float64)); c <= rune(run[1].(float64)); c++ {
			characters++
			if run[2] == "U" {
				continue
			}
			if got := names[kindOf(c)]; got != run[2] {
				t.Errorf("%U is %s, want %s", c, got, run[2])
			}
			want, changed := golden.Normalized[strconv.FormatInt(int64(c), 16)]
			if !changed {
				want = string(c)
			}
			if got := clean(string(c)); got != want {
				t.Errorf("%U: normalised to %+q, want %+q", c, got, want)
			}
		}
	}
	if all := unicode.MaxRune + 1 - 0x800; characters != int(all) {
		t.Errorf("%d characters, want %d", characters, all)
	}
}

// A long line costs little more than reading it, whatever it is of; a single
// word is merged whole.
func TestLongTexts(t *testing.T) {
	tok := load(t, folder(t, "sd1"))
	for _, text := range []string{
		strings.Repeat("word ", 2<<20), strings.Repeat(" \t", 5<<20), strings.Repeat("1", 10<<20), strings.Repeat("猫 e\u0301", 1<<20),
		strings.Repeat("<|endoftext|>", 1<<20), strings.Repeat("\xff", 10<<20), strings.Repeat("x", 1<<19), strings.Repeat("abcdefgh", 1<<17),
	} {
		start := time.Now()
		ids := tok.Encode(text)
		if len(ids) != 77 || ids[0] != tok.BOS || slices.Max(ids) >= int64(tok.VocabSize) {
			t.Errorf("%.20q…: %v", text, ids)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%.20q…: %v, want a second or so", text, took)
		}
		// What was cut off does not change what was kept.
		if short := tok.Encode(text[:len(text)/1000]); !slices.Equal(ids, short) {
			t.Errorf("%.20q…: %v, want %v", text, ids, short)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	tok, lines := load(b, folder(b, "sd1")), goldenTokens(b)[3:1103]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tok.Encode(lines[i%len(lines)].Text)
	}
}
