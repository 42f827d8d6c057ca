package clip

import (
	"errors"
	"fmt"
	"maps"

	"github.com/sugarme/tokenizer"
)

// endOfWord marks the last symbol of a word.
const endOfWord = "</w>"

// bpe is byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) of words
// as bytes, as Hugging Face's tokenizers does it: of all neighbours that merge,
// the pair of lowest rank goes first, and of equal ones the leftmost.
type bpe struct {
	ids    map[string]int
	tokens map[int]string
	merges map[pair]merged
	limit  int        // tokens of a word that are wanted
	inside [256]int32 // the symbol of a byte, and of one that ends a word
	last   [256]int32
}

type pair struct{ left, right int32 }

// merged is what a pair becomes; pairs of lower rank merge first.
type merged struct{ rank, id int32 }

var _ tokenizer.Model = (*bpe)(nil)

// newBPE checks that every token of a merge and what it makes is in the
// vocabulary. A byte without a symbol stands for unknown.
func newBPE(v *vocabulary, unknown, limit int) (*bpe, error) {
	m := &bpe{ids: v.ids, tokens: make(map[int]string, len(v.ids)), merges: make(map[pair]merged, len(v.merges)), limit: limit}
	for token, id := range v.ids {
		m.tokens[id] = token
	}
	for i, p := range v.merges {
		var ids [3]int32
		for k, token := range []string{p[0], p[1], p[0] + p[1]} {
			id, ok := v.ids[token]
			if !ok {
				return nil, fmt.Errorf("%s: the vocabulary lacks the token %.60q of the merge %.60q + %.60q: the two files are not of one tokenizer", v.mergeAt(i), token, p[0], p[1])
			}
			ids[k] = int32(id)
		}
		m.merges[pair{ids[0], ids[1]}] = merged{int32(i), ids[2]}
	}
	for b, symbol := range byteSymbols() {
		m.inside[b], m.last[b] = int32(unknown), int32(unknown)
		if id, ok := v.ids[string(symbol)]; ok {
			m.inside[b] = int32(id)
		}
		if id, ok := v.ids[string(symbol)+endOfWord]; ok {
			m.last[b] = int32(id)
		}
	}
	return m, nil
}

// byteSymbols gives each byte the character that stands for it in vocab.json:
// itself where it is printable in Latin-1, else one from U+0100 on. Source:
// https://github.com/openai/CLIP/blob/d05afc436d78f1c48dc0dbf8e5980a9d471f35f6/clip/simple_tokenizer.py#L16
func byteSymbols() [256]rune {
	var symbols [256]rune
	next := rune(256)
	for b := range symbols {
		if r := rune(b); r >= '!' && r <= '~' || r >= '¡' && r <= '¬' || r >= '®' {
			symbols[b] = r
		} else {
			symbols[b] = next
			next++
		}
	}
	return symbols
}

// symbol is a part of a word: the bytes from its place on that merged so far.
type symbol struct {
	id, bytes  int32 // bytes is 0 in what the symbol before has taken over
	prev, next int32 // neighbours, −1 where there is none
}

// Tokenize encodes one word and returns at most limit tokens; offsets are in its
// bytes.
func (m *bpe) Tokenize(word string) ([]tokenizer.Token, error) {
	if word == "" {
		return nil, nil
	}
	symbols := make([]symbol, len(word))
	for i := range symbols {
		symbols[i] = symbol{id: m.inside[word[i]], bytes: 1, prev: int32(i - 1), next: int32(i + 1)}
	}
	end := len(symbols) - 1
	symbols[end].id, symbols[end].next = m.last[word[end]], -1
	m.merge(symbols)

	var tokens []tokenizer.Token
	for at := int32(0); at >= 0 && len(tokens) < m.limit; at = symbols[at].next {
		s := symbols[at]
		tokens = append(tokens, tokenizer.Token{Id: int(s.id), Value: m.tokens[int(s.id)], Offsets: []int{int(at), int(at + s.bytes)}})
	}
	return tokens, nil
}

// merge joins neighbours until none merge.
func (m *bpe) merge(symbols []symbol) {
	var queue mergeQueue
	offer := func(at int32) {
		if next := symbols[at].next; next >= 0 {
			if to, ok := m.merges[pair{symbols[at].id, symbols[next].id}]; ok {
				queue.push(candidate{int64(to.rank)<<32 | int64(at), to.id})
			}
		}
	}
	for at := range symbols {
		offer(int32(at))
	}
	for len(queue) > 0 {
		top := queue.pop()
		left := &symbols[int32(top.order)]
		if left.bytes == 0 || left.next < 0 {
			continue
		}
		right := &symbols[left.next]
		if to, ok := m.merges[pair{left.id, right.id}]; !ok || to.id != top.id {
			continue // one of the two has merged with another since
		}
		left.id, left.bytes, left.next = top.id, left.bytes+right.bytes, right.next
		right.bytes = 0
		if left.next >= 0 {
			symbols[left.next].prev = int32(top.order)
		}
		if left.prev >= 0 {
			offer(left.prev)
		}
		offer(int32(top.order))
	}
}

// candidate is a pair that may merge: its rank and, below, the place of its left
// symbol, in one number; and what it would become.
type candidate struct {
	order int64
	id    int32
}

// mergeQueue is a binary heap with the lowest order at index 0.
type mergeQueue []candidate

func (q *mergeQueue) push(c candidate) {
	h := append(*q, c)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].order <= h[i].order {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	*q = h
}

func (q *mergeQueue) pop() candidate {
	h := *q
	top, n := h[0], len(h)-1
	h[0] = h[n]
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < n && h[down+1].order < h[down].order {
			down++
		}
		if down >= n || h[i].order <= h[down].order {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*q = h[:n]
	return top
}

// TokenToId is the id of a token of the vocabulary.
//
//lint:ignore ST1003 tokenizer.Model has this name
func (m *bpe) TokenToId(token string) (id int, ok bool) {
	id, ok = m.ids[token]
	return id, ok
}

// IdToToken is the vocabulary's token of that id.
//
//lint:ignore ST1003 tokenizer.Model has this name
func (m *bpe) IdToToken(id int) (token string, ok bool) {
	token, ok = m.tokens[id]
	return token, ok
}

// GetVocab is a copy of the vocabulary.
func (m *bpe) GetVocab() map[string]int { return maps.Clone(m.ids) }

// GetVocabSize is the number of tokens.
func (m *bpe) GetVocabSize() int { return len(m.ids) }

// Save is refused: a tokenizer's folder is copied, not written again.
func (m *bpe) Save(string, ...string) error {
	return errors.New("saving a CLIP tokenizer is not supported: copy the files of its folder")
}
