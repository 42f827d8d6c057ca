package clip

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/normalizer"
)

// splitter cuts normalised text into words. CLIPTokenizer does it with two
// expressions, one after the other:
//
//	<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// What the second does to a match of the first is to cut the two names in three.
type splitter struct {
	limit int // words that are wanted; the rest of the text is left out
}

var _ tokenizer.PreTokenizer = splitter{}

// PreTokenize splits what has no tokens yet.
func (s splitter) PreTokenize(text *tokenizer.PreTokenizedString) (*tokenizer.PreTokenizedString, error) {
	return text.Split(func(_ int, n *normalizer.NormalizedString) []tokenizer.SplitIdx {
		var words []tokenizer.SplitIdx
		rest, at := n.GetNormalized(), n.Shift()
		take := func(size int) {
			if first, _ := utf8.DecodeRuneInString(rest); kindOf(first) != space {
				words = append(words, tokenizer.SplitIdx{Normalized: plain(rest[:size], at)})
			}
			rest, at = rest[size:], at+size
		}
		for rest != "" && len(words) < s.limit {
			if name, ok := special(rest); ok {
				take(len("<|"))
				take(len(name))
				take(len("|>"))
			} else {
				take(wordSize(rest))
			}
		}
		return words
	}), nil
}

// special is the name within the marks of start or end that text begins with.
func special(text string) (name string, ok bool) {
	for _, name := range []string{"startoftext", "endoftext"} {
		if strings.HasPrefix(text, "<|"+name+"|>") {
			return name, true
		}
	}
	return "", false
}

// wordSize is the length of the word or of the space that text begins with.
func wordSize(text string) int {
	if text[0] == '\'' {
		for _, suffix := range []string{"s", "t", "re", "ve", "m", "ll", "d"} {
			if strings.HasPrefix(text[1:], suffix) {
				return 1 + len(suffix)
			}
		}
	}
	first, size := utf8.DecodeRuneInString(text)
	kind := kindOf(first)
	for kind != number && size < len(text) {
		r, n := utf8.DecodeRuneInString(text[size:])
		if kindOf(r) != kind {
			break
		}
		size += n
	}
	return size
}

type kind int

const (
	letter kind = iota
	number
	space
	sign
)

func kindOf(r rune) kind {
	switch {
	case r < utf8.RuneSelf:
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			return letter
		case r >= '0' && r <= '9':
			return number
		case r == ' ' || r >= '\t' && r <= '\r':
			return space
		}
		return sign
	case unicode.IsLetter(r) || unicode.Is(newerLetters, r):
		return letter
	case unicode.IsNumber(r) || unicode.Is(newerNumbers, r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return sign
}
