package clip

import (
	"strings"
	"unicode/utf8"

	"github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/normalizer"
)

// Tokenizer turns captions into the ids that a text model reads. Its ids are
// those of transformers 5's CLIPTokenizer, which diffusers loads. Safe for
// concurrent use.
type Tokenizer struct {
	// MaxLength is the number of ids of a caption, model_max_length: 77.
	MaxLength int
	// BOS and EOS stand around a caption's ids, Pad fills up behind them.
	BOS, EOS, Pad int64
	// VocabSize is one more than the highest id.
	VocabSize int

	splitter        tokenizer.PreTokenizer
	model           tokenizer.Model
	raw, normalized finder // added tokens, by the text they are looked for in
}

// Encode gives a caption's ids: BOS, at most MaxLength−2 tokens, EOS, and Pad
// until there are MaxLength. Bytes that are no UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string) []int64 {
	tokens, _ := t.Tokens(text)
	ids := append(make([]int64, 0, t.MaxLength), t.BOS)
	ids = append(append(ids, tokens...), t.EOS)
	for len(ids) < t.MaxLength {
		ids = append(ids, t.Pad)
	}
	return ids
}

// Tokens gives the ids of the text alone, at most MaxLength−2 of them. more says
// that the text has more, which Encode leaves out.
func (t *Tokenizer) Tokens(text string) (ids []int64, more bool) {
	limit := t.MaxLength - 2
	t.raw.cut(strings.ToValidUTF8(text, string(utf8.RuneError)), func(part string, id int) bool {
		if id >= 0 {
			ids = append(ids, int64(id))
			return len(ids) <= limit
		}
		t.normalized.cut(clean(part), func(part string, id int) bool {
			if id >= 0 {
				ids = append(ids, int64(id))
				return len(ids) <= limit
			}
			ids = t.words(ids, part)
			return len(ids) <= limit
		})
		return len(ids) <= limit
	})
	if len(ids) > limit {
		return ids[:limit], true
	}
	return ids, false
}

// words appends the ids of normalised text that holds no added token, at least
// as many as there are or MaxLength−1. None of the steps returns an error: they are this package's, behind interfaces.
func (t *Tokenizer) words(ids []int64, text string) []int64 {
	split, _ := t.splitter.PreTokenize(tokenizer.NewPreTokenizedStringFromNS(plain(text, 0)))
	split, _ = split.Tokenize(func(word *normalizer.NormalizedString) ([]tokenizer.Token, error) {
		return t.model.Tokenize(word.GetNormalized())
	})
	encoding, _ := split.IntoEncoding(0, -1, tokenizer.Byte)
	for _, id := range encoding.Ids {
		ids = append(ids, int64(id))
	}
	return ids
}
