package clip

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sugarme/tokenizer/normalizer"
	"golang.org/x/text/unicode/norm"
)

// cleaner normalises text as CLIPTokenizer does: canonical composition, one
// space for each run of whitespace, lower case letter by letter. Offsets into
// the result are offsets into the normalised text.
type cleaner struct{}

var _ normalizer.Normalizer = cleaner{}

// Normalize never fails.
func (cleaner) Normalize(n *normalizer.NormalizedString) (*normalizer.NormalizedString, error) {
	return plain(clean(n.GetNormalized()), 0), nil
}

// plain is text that begins at an offset of a longer one, without the two
// slices a character that NewNormalizedFrom would make to map it to another.
func plain(text string, at int) *normalizer.NormalizedString {
	return normalizer.NewNormalizedString(text, text, nil, nil, at)
}

func clean(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range nfc(text) {
		if was := space; unicode.IsSpace(r) {
			if space = true; !was {
				b.WriteByte(' ')
			}
			continue
		}
		space = false
		if r == 'İ' { // the one letter whose lower case is two characters
			b.WriteString("i\u0307")
		} else {
			b.WriteRune(toLower(r))
		}
	}
	return b.String()
}

// nfc is Normalization Form C (Unicode Standard Annex 15, §1.3). Package norm
// breaks a run of more than 30 marks with joiners, and orders newerMarks; where
// it did, marks are ordered and composed here.
func nfc(text string) string {
	const joiner = "\u034f"
	isNewer := func(r rune) bool { return r > 0x7f && unicode.Is(newerMarks, r) }
	whole := norm.NFC.String(text)
	if strings.Count(whole, joiner) == strings.Count(text, joiner) && !strings.ContainsFunc(text, isNewer) {
		return whole
	}
	type char struct {
		r     rune
		class uint8 // canonical combining class, 0 of letters
	}
	var chars []char
	for _, r := range text {
		for _, part := range norm.NFD.String(string(r)) {
			c := char{r: part}
			if !isNewer(part) {
				c.class = norm.NFD.PropertiesString(string(part)).CCC()
			}
			chars = append(chars, c)
		}
	}
	for from := 0; from < len(chars); from++ {
		to := from
		for to < len(chars) && chars[to].class != 0 {
			to++
		}
		slices.SortStableFunc(chars[from:to], func(a, b char) int { return int(a.class) - int(b.class) })
		from = to
	}
	out, letter := chars[:0], -1 // letter: the place in out that marks join
	for _, c := range chars {
		if end := len(out) - 1; letter >= 0 && (letter == end || out[end].class != 0 && out[end].class < c.class) {
			joined := norm.NFC.String(string([]rune{out[letter].r, c.r}))
			if r, size := utf8.DecodeRuneInString(joined); size == len(joined) {
				out[letter].r = r
				continue
			}
		}
		if c.class == 0 {
			letter = len(out)
		}
		out = append(out, c)
	}
	var b strings.Builder
	for _, c := range out {
		b.WriteRune(c.r)
	}
	return b.String()
}
