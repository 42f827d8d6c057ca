package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"immiscible/models/clip"
)

// maxLine bounds a line of tokenize's input, in bytes.
const maxLine = 64 << 20

func tokenize() Command {
	var model string
	var asJSON bool
	return Command{
		Name:  "tokenize",
		Usage: "-model DIR [-json] < LINES",
		Short: "the token ids of each line",
		Long: `Reads captions from standard input, one a line, and prints the ids that the text encoder reads, a
line each: start, the text's tokens, end, and padding up to model_max_length (77). Tokens that
do not fit are left out. They are the ids of transformers' CLIPTokenizer.

An empty line is an empty caption. A carriage return at a line's end is dropped, and so is a byte order
mark before the first. A line may have 64 MiB; bytes that are no UTF-8 count as U+FFFD.

With -json: {"text", "ids", "length" (ids before padding), "truncated"} a line.`,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&model, "model", "", "pipeline folder in diffusers' layout, or its tokenizer folder: `DIR`")
			jsonFlag(flags, &asJSON)
		},
		Run: func(ctx context.Context, args []string, stdout, _ io.Writer) error {
			if len(args) > 0 {
				return usagef("argument %q, want none: captions are read from standard input", args[0])
			}
			if model == "" {
				return usagef("no -model, want a pipeline folder, or a folder with vocab.json and merges.txt")
			}
			dir := model
			if info, err := os.Stat(filepath.Join(model, "tokenizer")); err == nil && info.IsDir() {
				dir = filepath.Join(model, "tokenizer")
			}
			t, err := clip.LoadTokenizer(dir)
			if err != nil {
				return err
			}
			done := make(chan error, 1) // a signal does not wait for the next line
			go func() { done <- tokenizeLines(t, os.Stdin, stdout, asJSON) }()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}

// tokenizeLines prints a line for each line of in. What is there is printed
// before more is waited for.
func tokenizeLines(t *clip.Tokenizer, in io.Reader, stdout io.Writer, asJSON bool) error {
	lines, out := bufio.NewReaderSize(in, 1<<16), bufio.NewWriter(stdout)
	for number := 1; ; number++ {
		line, more, err := readLine(lines)
		if err != nil {
			return errors.Join(out.Flush(), fmt.Errorf("standard input, line %d: %w", number, err))
		}
		if !more {
			return out.Flush()
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // which some editors put before a file
		}
		text := string(line)
		ids := t.Encode(text)
		if asJSON {
			tokens, truncated := t.Tokens(text)
			err = printJSON(out, struct {
				Text      string  `json:"text"`
				IDs       []int64 `json:"ids"`
				Length    int     `json:"length"`
				Truncated bool    `json:"truncated"`
			}{text, ids, len(tokens) + 2, truncated})
		} else {
			var row []byte
			for i, id := range ids {
				if i > 0 {
					row = append(row, ' ')
				}
				row = strconv.AppendInt(row, id, 10)
			}
			_, err = out.Write(append(row, '\n'))
		}
		if err == nil && lines.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads a line without its end; more is false behind the last.
func readLine(r *bufio.Reader) (line []byte, more bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, false, fmt.Errorf("more than %d MiB, want a line break", maxLine>>20)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) == 0:
			return nil, false, nil
		case err != nil && err != io.EOF:
			return nil, false, err
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), true, nil
	}
}
