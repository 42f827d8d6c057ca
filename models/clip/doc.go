// Package clip has the text half of Stable Diffusion: the tokenizer that turns
// captions into ids, and CLIP's text model as a graph, which turns ids into the
// states that a U-Net attends to.
//
//   - config.go: a text_encoder/config.json; text.go: the model;
//   - tokenizer.go: Tokenizer, the ids of a caption; load.go and added.go: the
//     files of a tokenizer folder; normalize.go, split.go, bpe.go: its steps,
//     behind the interfaces of github.com/sugarme/tokenizer; unicode.go: letters
//     that Go's tables lack.
//
// Of sugarme/tokenizer v0.3.0 the interfaces, the strings and the encodings are
// used. Its BPE never applies end_of_word_suffix, its RoBERTa post-processor
// fails with CLIP's trim_offsets, and PreTokenizedString.Normalize drops what
// has tokens already, so that these steps are our own.
package clip
