package pipeline

import (
	"context"
	"fmt"
	"sync"

	"immiscible/models"
	"immiscible/models/clip"
	"immiscible/models/engine"
)

// textCacheBytes bounds the encodings that a TextEncoder keeps: all of
// ImageNet's thousand classes at Stable Diffusion's width take half of it.
const textCacheBytes = 512 << 20

// TextEncoder turns captions into encoder_hidden_states with a pipeline's
// tokenizer and text encoder, whose weights it keeps in an arena of its own. A
// caption is encoded once while the cache holds it. Several goroutines may use
// it, one after another.
type TextEncoder struct {
	Config clip.Config
	Tokens int // T: what a caption is padded or cut to
	Batch  int

	mu        sync.Mutex // of Encode: a sample grid may be made while the next batch is filled
	tokenizer *clip.Tokenizer
	params    *engine.Arena
	session   *engine.Session
	ids, out  *engine.Tensor
	cache     map[string][]float32 // caption → [T, D]
}

// newTextEncoder loads the text encoder and the tokenizer of a pipeline folder.
func newTextEncoder(e *engine.Engine, m *models.Model, batch int) (*TextEncoder, error) {
	if m.Text == nil || m.Tokenizer == "" {
		return nil, fmt.Errorf("%s has no text_encoder or no tokenizer folder, and captions must be encoded: copy the pipeline's there, and name them in model_index.json", m.Dir)
	}
	t := &TextEncoder{Config: *m.Text, Tokens: m.Text.MaxPositionEmbeddings, Batch: batch, cache: map[string][]float32{}}
	if err := t.open(e, m); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *TextEncoder) open(e *engine.Engine, m *models.Model) (err error) {
	if t.tokenizer, err = clip.LoadTokenizer(m.Tokenizer); err != nil {
		return err
	}
	if n := len(t.tokenizer.Encode("")); n != t.Tokens {
		return fmt.Errorf("%s pads to %d tokens (model_max_length), and text_encoder/config.json has max_position_embeddings %d: want the same", m.Tokenizer, n, t.Tokens)
	}
	g, err := TextEncoderGraph(t.Config, t.Batch, t.Tokens)
	if err != nil {
		return err
	}
	layout := NewLayout(g.Params(), func(string) bool { return false })
	if t.params, err = e.NewArena(4 * int64(layout.Total)); err != nil {
		return fmt.Errorf("allocating the text encoder's parameters: %w", err)
	}
	if err := layout.load(m.TextWeights, t.params, clip.Key, nil); err != nil {
		return err
	}
	if t.session, err = newSession(e, g, engine.SessionOptions{Name: g.Name}); err != nil {
		return err
	}
	for _, p := range layout.Params {
		if err := bindView(t.session, p.Key, p, t.params); err != nil {
			return err
		}
	}
	if t.ids, err = newTensor(e, g.Inputs[0]); err != nil {
		return err
	}
	if err := t.session.Bind("input_ids", t.ids); err != nil {
		return err
	}
	if t.out, err = newTensor(e, g.Outputs[0].Value); err != nil {
		return err
	}
	return t.session.Bind("last_hidden_state", t.out)
}

// Close frees the session and the parameters.
func (t *TextEncoder) Close() {
	if t.session != nil {
		t.session.Close()
	}
	if t.params != nil {
		t.params.Close()
	}
}

// Encode gives encoder_hidden_states [len(captions), T, D].
func (t *TextEncoder) Encode(ctx context.Context, captions []string) ([]float32, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	each := t.Tokens * t.Config.HiddenSize
	if (len(t.cache)+len(captions))*each*4 > textCacheBytes {
		clear(t.cache)
	}
	var missing []string
	for _, c := range captions {
		if _, ok := t.cache[c]; !ok {
			t.cache[c] = nil
			missing = append(missing, c)
		}
	}
	for at := 0; at < len(missing); at += t.Batch {
		if err := t.run(ctx, missing[at:min(at+t.Batch, len(missing))]); err != nil {
			for _, c := range missing[at:] {
				delete(t.cache, c)
			}
			return nil, err
		}
	}
	states := make([]float32, len(captions)*each)
	for i, c := range captions {
		copy(states[i*each:(i+1)*each], t.cache[c])
	}
	return states, nil
}

// run encodes at most a batch of captions into the cache.
func (t *TextEncoder) run(ctx context.Context, captions []string) error {
	ids := make([]int64, 0, t.Batch*t.Tokens)
	for i := range t.Batch {
		ids = append(ids, t.tokenizer.Encode(captions[min(i, len(captions)-1)])...)
	}
	for i, id := range ids {
		if id < 0 || id >= int64(t.Config.VocabSize) {
			return fmt.Errorf("the tokenizer has token %d (caption %.60q), and text_encoder/config.json has vocab_size %d: they belong to different models", id, captions[min(i/t.Tokens, len(captions)-1)], t.Config.VocabSize)
		}
	}
	if err := t.ids.SetInt64(ids); err != nil {
		return err
	}
	if err := t.session.Run(ctx); err != nil {
		return err
	}
	all := make([]float32, t.out.Len())
	if err := t.out.ReadFloat32(all); err != nil {
		return err
	}
	each := t.Tokens * t.Config.HiddenSize
	for i, c := range captions {
		t.cache[c] = all[i*each : (i+1)*each : (i+1)*each]
	}
	return nil
}
