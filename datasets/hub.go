package datasets

import "encoding/json"

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
