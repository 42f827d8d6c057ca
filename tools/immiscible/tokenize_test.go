package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"immiscible/models/clip"
	"immiscible/models/clip/cliptest"
)

// The program reads captions from standard input: the last line needs no end, a
// byte order mark is none of the first, and a folder above the tokenizer's does
// as well.
func TestTokenize(t *testing.T) {
	dir := t.TempDir()
	cliptest.Write(t, filepath.Join(dir, "tokenizer"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{ // the beginnings of the lines; then padding
		{"49406", "320", "1125", "539", "320", "3240", "49407"}, {"49406", "49407"}, {"49406", "1929", "49407"}, {"49406", "2368", "49407"},
	}
	for _, model := range []string{dir, filepath.Join(dir, "tokenizer")} {
		cmd := exec.Command(exe, "tokenize", "-model", model)
		cmd.Env = append(os.Environ(), "IMMISCIBLE_TEST_MAIN=1")
		cmd.Stdin = strings.NewReader("\ufeffa photo of a fox\r\n\ndog\ncat")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d: %s", len(lines), len(want), out)
		}
		for i, line := range lines {
			ids := strings.Split(line, " ")
			for len(want[i]) < 77 {
				want[i] = append(want[i], "49407")
			}
			if !slices.Equal(ids, want[i]) {
				t.Errorf("line %d: %v, want %v", i+1, ids, want[i])
			}
		}
	}
}

func loadTokenizer(t *testing.T) *clip.Tokenizer {
	dir := t.TempDir()
	cliptest.Write(t, dir)
	tok, err := clip.LoadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenizeJSON(t *testing.T) {
	tok := loadTokenizer(t)
	long := strings.Repeat("word ", 2<<20) // 10 MB
	texts := []string{"a <b> & \"c\"", "", " \t", "\r", "日本語", long, "x\xffy", "last"}
	var out bytes.Buffer
	if err := tokenizeLines(tok, strings.NewReader(strings.Join(texts, "\n")), &out, true); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(&out)
	for i, text := range texts {
		line, err := lines.ReadBytes('\n')
		var got struct {
			Text      string
			IDs       []int64
			Length    int
			Truncated bool
		}
		if err = errors.Join(err, json.Unmarshal(line, &got)); err != nil {
			t.Fatal(err)
		}
		text = strings.TrimSuffix(strings.ToValidUTF8(text, "\ufffd"), "\r")
		tokens, more := tok.Tokens(text)
		if got.Text != text || !slices.Equal(got.IDs, tok.Encode(text)) || got.Length != len(tokens)+2 || got.Truncated != more || more != (text == long) {
			t.Errorf("line %d: %.300s", i+1, line)
		}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%d bytes behind the last line (%v)", len(rest), err)
	}
}

func TestTokenizeErrors(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args   string
		status int
		stderr string
	}{
		{"tokenize", 2, "immiscible tokenize: no -model, want a pipeline folder, or a folder with vocab.json and merges.txt\n"},
		{"tokenize -model x words", 2, "immiscible tokenize: argument \"words\", want none: captions are read from standard input\n"},
		{"tokenize -model " + dir, 1, dir + ": no tokenizer: want vocab.json and merges.txt, or tokenizer.json\n"},
	} {
		status, stdout, stderr := call(t.Context(), strings.Fields(test.args)...)
		if status != test.status || stdout != "" || !strings.HasPrefix(stderr, test.stderr) {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want %d, %q", test.args, status, stdout, stderr, test.status, test.stderr)
		}
	}
	tok := loadTokenizer(t)
	var out strings.Builder
	broken := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("disk on fire")))
	if err := tokenizeLines(tok, broken, &out, false); err == nil || err.Error() != "standard input, line 2: disk on fire" || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("a broken input: %v after %q", err, &out)
	}
	endless := io.MultiReader(strings.NewReader("a\n"), bytes.NewReader(make([]byte, maxLine+1)))
	if err := tokenizeLines(tok, endless, io.Discard, false); err == nil || err.Error() != fmt.Sprintf("standard input, line 2: more than %d MiB, want a line break", maxLine>>20) {
		t.Errorf("an endless line: %v", err)
	}
}
