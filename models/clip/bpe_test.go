package clip

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"immiscible/models/clip/cliptest"
)

// Byte symbols are those of the vocabulary: its first 256 tokens, each once, by
// their bytes.
func TestByteSymbols(t *testing.T) {
	ids := map[string]int{}
	for id, token := range cliptest.Vocabulary(t) {
		ids[token] = id
	}
	seen := map[int]bool{}
	for b, symbol := range byteSymbols() {
		id, ok := ids[string(symbol)]
		if !ok || id >= 256 || seen[id] || ids[string(symbol)+"</w>"] != id+256 {
			t.Errorf("byte %d: %q has id %d (known %v, seen %v)", b, symbol, id, ok, seen[id])
		}
		seen[id] = true
	}
}

// alphabet makes a vocabulary of the letters a, b, c and n merges at random, of
// which a later one may build on an earlier one or make what another makes.
func alphabet(r *rand.Rand, n int) *vocabulary {
	v := &vocabulary{path: "vocab.json", ids: map[string]int{}, mergeAt: func(i int) string { return fmt.Sprintf("merges.txt:%d", i+1) }}
	var inside, ends []string
	add := func(token string) {
		if _, ok := v.ids[token]; ok {
			return
		}
		v.ids[token] = len(v.ids)
		if strings.HasSuffix(token, endOfWord) {
			ends = append(ends, token)
		} else {
			inside = append(inside, token)
		}
	}
	for _, letter := range []string{"a", "b", "c"} {
		add(letter)
		add(letter + endOfWord)
	}
	for range n {
		left, right := inside[r.IntN(len(inside))], ends[r.IntN(len(ends))]
		if r.IntN(4) > 0 {
			right = inside[r.IntN(len(inside))]
		}
		add(left + right)
		v.merges = append(v.merges, [2]string{left, right})
	}
	return v
}

// slowTokens merges the leftmost pair of lowest rank until none is left.
func slowTokens(v *vocabulary, word string) []string {
	rank := map[[2]string]int{}
	for i, m := range v.merges {
		rank[m] = i // of two equal ones, the later
	}
	var tokens []string
	for i := range word {
		tokens = append(tokens, word[i:i+1])
	}
	tokens[len(tokens)-1] += endOfWord
	for {
		best, at := len(v.merges), -1
		for i := range len(tokens) - 1 {
			if r, ok := rank[[2]string{tokens[i], tokens[i+1]}]; ok && r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			return tokens
		}
		tokens = append(append(append([]string{}, tokens[:at]...), tokens[at]+tokens[at+1]), tokens[at+2:]...)
	}
}

func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		v := alphabet(r, 1+r.IntN(30))
		m, err := newBPE(v, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			word := make([]byte, 1+r.IntN(40))
			for i := range word {
				word[i] = "abc"[r.IntN(3)]
			}
			tokens, err := m.Tokenize(string(word))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			at := 0
			for _, token := range tokens {
				got = append(got, token.Value)
				if id, ok := m.TokenToId(token.Value); !ok || id != token.Id || token.Offsets[0] != at {
					t.Fatalf("%s: token %+v, want id %d at %d", word, token, id, at)
				}
				at = token.Offsets[1]
			}
			if want := slowTokens(v, string(word)); strings.Join(got, " ") != strings.Join(want, " ") || at != len(word) {
				t.Fatalf("%v\n%s: %v to %d, want %v", v.merges, word, got, at, want)
			}
		}
	}
}

func TestModelInterface(t *testing.T) {
	m, err := newBPE(alphabet(rand.New(rand.NewPCG(3, 4)), 5), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if token, ok := m.IdToToken(1); token != "a</w>" || !ok || m.GetVocabSize() != len(m.GetVocab()) {
		t.Errorf("token 1 is %q (%v), size %d of %d", token, ok, m.GetVocabSize(), len(m.GetVocab()))
	}
	if _, ok := m.IdToToken(-1); ok {
		t.Error("token -1 is known")
	}
	if err := m.Save("x"); err == nil {
		t.Error("Save gave no error")
	}
}
