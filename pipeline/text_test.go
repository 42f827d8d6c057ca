package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"immiscible/models"
	"immiscible/models/clip"
	"immiscible/models/engine"
	"immiscible/models/engine/enginetest"
	"immiscible/models/onnx"
	"immiscible/models/safetensors"
)

// textModel is a pipeline with the text encoder of models/clip/testdata/sd1 (11
// tokens, a vocabulary of 40) and a tokenizer of the letters a to e.
func textModel(t *testing.T, tokenizerConfig string) *models.Model {
	t.Helper()
	const dir = "../models/clip/testdata/sd1"
	c, err := clip.LoadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	weights, err := safetensors.OpenSharded(dir, "model")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { weights.Close() })
	m := &models.Model{Dir: "pipeline", Text: &c, TextWeights: weights, Tokenizer: t.TempDir()}
	for name, text := range map[string]string{
		"vocab.json": `{"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "a</w>": 5, "b</w>": 6, "c</w>": 7, "d</w>": 8, "e</w>": 9,
			"ab</w>": 10, "cd": 11, "<|startoftext|>": 38, "<|endoftext|>": 39}`,
		"merges.txt":            "a b</w>\nc d\n",
		"tokenizer_config.json": tokenizerConfig,
	} {
		if err := os.WriteFile(filepath.Join(m.Tokenizer, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const elevenTokens = `{"model_max_length": 11}`

func newText(t *testing.T, batch int) *TextEncoder {
	t.Helper()
	text, err := newTextEncoder(enginetest.Open(t), textModel(t, elevenTokens), batch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(text.Close)
	return text
}

func encode(t *testing.T, text *TextEncoder, captions ...string) []float32 {
	t.Helper()
	states, err := text.Encode(t.Context(), captions)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(captions) * text.Tokens * text.Config.HiddenSize; len(states) != want {
		t.Fatalf("%d numbers for %q, want %d", len(states), captions, want)
	}
	return states
}

// A caption's states are the text model's for its ids, to the bit whatever the
// batch, the other captions, and how often it stands there.
func TestTextEncoder(t *testing.T) {
	captions := []string{"a photo", "", "ab cde", "a photo", "e d c b a e d c b a e d c", "A  Photo"}
	text := newText(t, 4)
	all := encode(t, text, captions...)

	m := textModel(t, elevenTokens)
	g, err := TextEncoderGraph(*m.Text, len(captions), 11)
	if err != nil {
		t.Fatal(err)
	}
	model, err := g.Model()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := onnx.Marshal(model)
	if err != nil {
		t.Fatal(err)
	}
	e, inputs, ids := enginetest.Open(t), map[string]*engine.Tensor{}, []int64{}
	for _, c := range captions {
		ids = append(ids, text.tokenizer.Encode(c)...)
	}
	for _, v := range g.Inputs {
		x, err := newTensor(e, v)
		if err != nil {
			t.Fatal(err)
		}
		if inputs[v.Node.Name] = x; v.Node.Param {
			tensor, _ := m.TextWeights.Lookup("text_model." + v.Node.Name)
			values := make([]float32, x.Len())
			if err = m.TextWeights.Float32(tensor, values); err == nil {
				err = x.SetFloat32(values)
			}
		} else {
			err = x.SetInt64(ids)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	outputs, err := engine.RunOnce(e, raw, inputs)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "last_hidden_state", all, outputs["last_hidden_state"].GetFloat32(), 1e-6)

	one, each := newText(t, 1), 11*12
	for i, c := range captions {
		if !slices.Equal(encode(t, one, c), all[i*each:(i+1)*each]) || !slices.Equal(encode(t, text, c), all[i*each:(i+1)*each]) {
			t.Errorf("%q alone has other states than among others", c)
		}
	}
	if slices.Equal(all[:each], all[each:2*each]) || !slices.Equal(all[:each], all[5*each:]) {
		t.Error("captions of other tokens have equal states, or of equal tokens others")
	}
}

// What was encoded is kept: no run is needed, and none happens when the run is
// to stop. A caption that failed is not taken for encoded.
func TestTextEncoderCache(t *testing.T) {
	text := newText(t, 2)
	before := encode(t, text, "a", "", "b")
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	again, err := text.Encode(stopped, []string{"a", "", "b", "a"})
	if err != nil || !slices.Equal(again[:len(before)], before) {
		t.Errorf("known captions: %v", err)
	}
	if _, err := text.Encode(stopped, []string{"a", "c"}); err == nil {
		t.Error("an unknown caption and a stopped run: no error")
	}
	if c := encode(t, text, "c"); !slices.Equal(c, encode(t, newText(t, 2), "c")) {
		t.Error("a caption that failed has other states now")
	}
	before[0]++ // the result is the caller's
	if slices.Equal(before, encode(t, text, "a", "", "b")) {
		t.Error("writing to the result changed the cache")
	}
}

func TestTextEncoderErrors(t *testing.T) {
	e := enginetest.Open(t)
	open := func(m *models.Model) error {
		text, err := newTextEncoder(e, m, 1)
		if err != nil {
			return err
		}
		defer text.Close()
		_, err = text.Encode(t.Context(), []string{"a", "a<new>"})
		return err
	}
	none := textModel(t, elevenTokens)
	none.Tokenizer = ""
	short := textModel(t, elevenTokens)
	short.Text.HiddenSize, short.Text.NumAttentionHeads = 16, 4
	layers := textModel(t, elevenTokens)
	layers.Text.NumHiddenLayers = 2
	for _, test := range []struct {
		m    *models.Model
		want string
	}{
		{none, "pipeline has no text_encoder or no tokenizer folder"},
		{textModel(t, `{}`), "pads to 77 tokens (model_max_length), and text_encoder/config.json has max_position_embeddings 11"},
		{textModel(t, `{"model_max_length": 11, "added_tokens_decoder": {"14": {"content": "<new>"}}}`), ""},
		{textModel(t, `{"model_max_length": 11, "bos_token": "<bos>"}`), `the token "<bos>" is neither in vocab.json nor among the added tokens`},
		{short, `tensor "text_model.embeddings.token_embedding.weight" has shape [40 12], want [40 16]`},
		{layers, `tensor "text_model.encoder.layers.2.`},
	} {
		if err := open(test.m); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
	foreign := textModel(t, elevenTokens)
	vocab := `{"a": 0, "b</w>": 6, "ab</w>": 10, "c": 2, "d": 3, "cd": 11, "<|startoftext|>": 38, "<|endoftext|>": 40}`
	if err := os.WriteFile(filepath.Join(foreign.Tokenizer, "vocab.json"), []byte(vocab), 0o644); err != nil {
		t.Fatal(err)
	}
	want := `the tokenizer has token 40 (caption "a"), and text_encoder/config.json has vocab_size 40: they belong to different models`
	if err := open(foreign); err == nil || err.Error() != want {
		t.Errorf("another model's tokenizer: got %v, want %s", err, want)
	}
	small := textModel(t, elevenTokens)
	small.Text.VocabSize = 39
	if err := open(small); err == nil || !strings.Contains(err.Error(), "[40 12], want [39 12]") {
		t.Errorf("a vocabulary too small for the weights: %v", err)
	}
}
