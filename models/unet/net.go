package unet

import (
	"encoding/json"
	"fmt"
	"os"

	"immiscible/models/graph"
)

// Net is a denoiser's configuration, the content of its config.json: Config
// (UNet2DModel) or ConditionConfig (UNet2DConditionModel).
type Net interface {
	// Forward is the model's forward pass, to [N, out_channels, H, W]. Dropout is
	// applied where training is true.
	Forward(b *graph.Builder, in Inputs, training bool) *graph.Value
	// Class is diffusers' name of the model, config.json's _class_name.
	Class() string
	// Channels are in_channels and out_channels.
	Channels() (in, out int)
	// Sample is sample_size, in pixels or latents; zeros where it is left open.
	Sample() Size
	// Conditioning says what class_labels are: "" (none), "embedding" and
	// "timestep" (int64 [N]), "identity", "projection" or "simple_projection"
	// (float32 [N, LabelDim]).
	Conditioning() string
	// LabelDim is the width of class_labels that are vectors; 0 for numbers.
	LabelDim() int
	// ClassEmbeds is num_class_embeds; 0 where there are none.
	ClassEmbeds() int
	// CrossAttentionDim is the width D of encoder_hidden_states [N, T, D]; 0: the
	// model takes none.
	CrossAttentionDim() int
	// Trained reports whether diffusers trains the parameter of that key.
	Trained(key string) bool
	// DropoutRate is the probability of the model's dropout.
	DropoutRate() float64
	// JSON is the content of a config.json that diffusers reads.
	JSON() ([]byte, error)
}

// Inputs are the values that a model takes.
type Inputs struct {
	Sample              *graph.Value // [N, C, H, W], noisy
	Timesteps           *graph.Value // int64 [N]
	ClassLabels         *graph.Value // as Net.Conditioning says; nil where it is ""
	EncoderHiddenStates *graph.Value // [N, T, CrossAttentionDim]; nil where that is 0
}

// Parse reads the content of a config.json of either class; name stands in
// messages. Without a _class_name it is UNet2DModel's.
func Parse(name string, data []byte) (Net, error) {
	var head struct {
		Class string `json:"_class_name"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	if head.Class == "UNet2DConditionModel" {
		return ParseConditionConfig(name, data)
	}
	return ParseConfig(name, data)
}

// Load reads and checks a config.json of either class.
func Load(path string) (Net, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the model's configuration: %w", err)
	}
	return Parse(path, data)
}
