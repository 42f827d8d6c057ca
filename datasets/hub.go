package datasets

import (
	"cmp"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// hubToken is the user's token for Hugging Face's server, which sets such as
// imagenet-1k ask for: HF_TOKEN, or what `hf auth login` left in a file. "" where there
// is none, and for any other server. (huggingface_hub/constants.py says where.)
func hubToken(u *url.URL) string {
	server, err := url.Parse(cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co"))
	if err != nil || u.Scheme != server.Scheme || u.Host != server.Host || u.User != nil {
		return ""
	}
	token := os.Getenv("HF_TOKEN")
	if token == "" {
		home, _ := os.UserHomeDir() // without one, there is no such file
		home = cmp.Or(os.Getenv("HF_HOME"), filepath.Join(cmp.Or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(home, ".cache")), "huggingface"))
		text, err := os.ReadFile(cmp.Or(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
		if err != nil {
			return ""
		}
		token = string(text)
	}
	return strings.TrimSpace(token)
}

// hubFeature is a column's type in the metadata that Hugging Face's datasets adds.
type hubFeature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// hubFeatures reads that metadata; what is not understood is left out.
func hubFeatures(text string) map[string]hubFeature {
	var about struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	features := map[string]hubFeature{}
	if json.Unmarshal([]byte(text), &about) != nil {
		return features
	}
	for name, value := range about.Info.Features {
		var feature hubFeature
		if json.Unmarshal(value, &feature) == nil {
			features[name] = feature
		}
	}
	return features
}
