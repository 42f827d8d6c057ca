package unet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// config is a configuration as this file reads and writes it.
type config interface {
	Validate() error
	Class() string
}

// parse reads a config.json's content over c's defaults; name stands in
// messages. fixed are further keys, each with the only value that it may have.
func parse[C config](name string, data []byte, c C, fixed map[string]string) (C, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, fmt.Errorf("%s: not a JSON object: %w", name, err)
	}
	if class, ok := keys["_class_name"]; ok && string(class) != fmt.Sprintf("%q", c.Class()) {
		return c, fmt.Errorf("%s: _class_name is %s, want %q", name, class, c.Class())
	}
	known, err := fields(c)
	if err != nil {
		return c, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value := keys[key]
		if want, ok := fixed[key]; ok {
			if err := checkFixed(name, key, value, want); err != nil {
				return c, err
			}
			continue
		}
		// What begins with _ are diffusers' own notes, such as _diffusers_version.
		if strings.HasPrefix(key, "_") {
			continue
		}
		if _, ok := known[key]; !ok {
			return c, fmt.Errorf("%s: unknown key %q: %s has none of that name", name, key, c.Class())
		}
		if err := parseKey(name, key, value, &c); err != nil {
			return c, err
		}
	}
	read, err := fields(c)
	if err != nil {
		return c, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if value, ok := read[key]; ok && string(keys[key]) == "null" && string(value) != "null" {
			return c, fmt.Errorf("%s: %s is null, want a value: the default is %s", name, key, known[key])
		}
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseKey sets one key of a configuration.
func parseKey(name, key string, value json.RawMessage, c any) error {
	one, err := json.Marshal(map[string]json.RawMessage{key: value})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, key, err)
	}
	if err := json.Unmarshal(one, c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("%s: %s is a JSON %s, want %s", name, wrong.Field, wrong.Value, strings.TrimPrefix(wrong.Type.String(), "*"))
		}
		return fmt.Errorf("%s: %s: %w", name, key, err)
	}
	return nil
}

// checkFixed refuses a value that is not the only one that is built.
func checkFixed(name, key string, value json.RawMessage, want string) error {
	var a, b any
	if json.Unmarshal(value, &a) == nil && json.Unmarshal([]byte(want), &b) == nil && reflect.DeepEqual(a, b) {
		return nil
	}
	if strings.HasPrefix(key, "addition_") {
		return fmt.Errorf("%s: %s is %s, want %s: SDXL is not supported yet", name, key, value, want)
	}
	return fmt.Errorf("%s: %s is %s, which is not supported: want %s", name, key, value, want)
}

// write is the content of a config.json that diffusers reads.
func write(c config, fixed map[string]string) ([]byte, error) {
	keys, err := fields(c)
	if err != nil {
		return nil, err
	}
	for key, value := range fixed {
		keys[key] = json.RawMessage(value)
	}
	keys["_class_name"] = json.RawMessage(fmt.Sprintf("%q", c.Class()))
	keys["_diffusers_version"] = json.RawMessage(`"0.42.1"`)
	text, err := json.MarshalIndent(keys, "", "  ")
	return append(text, '\n'), err
}

// fields are the keys with their JSON values.
func fields(c config) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	keys := map[string]json.RawMessage{}
	return keys, json.Unmarshal(text, &keys)
}

// Size is an image size in pixels: one number in JSON where it is square, null
// (zeros here) where the configuration leaves it open.
type Size struct{ H, W int }

// UnmarshalJSON reads n, [h, w] or null.
func (s *Size) UnmarshalJSON(data []byte) error {
	var side *int
	if json.Unmarshal(data, &side) == nil {
		*s = Size{}
		if side != nil {
			*s = Size{*side, *side}
		}
		return nil
	}
	var both []int
	if err := json.Unmarshal(data, &both); err != nil || len(both) != 2 {
		return fmt.Errorf("got %s, want a number or [height, width]", data)
	}
	*s = Size{both[0], both[1]}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s Size) MarshalJSON() ([]byte, error) {
	switch {
	case s == Size{}:
		return []byte("null"), nil
	case s.H == s.W:
		return json.Marshal(s.H)
	}
	return json.Marshal([]int{s.H, s.W})
}

// PerBlock is a setting of all blocks, or a list with one for each.
type PerBlock[T int | bool] struct {
	All  T
	List []T // nil: All
}

// At is the setting of block i of the way down.
func (p PerBlock[T]) At(i int) T {
	if p.List == nil {
		return p.All
	}
	return p.List[i]
}

// UnmarshalJSON reads x or [x, y, ...].
func (p *PerBlock[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as encoding/json has it: whoever reads a configuration refuses it
	}
	var all T
	if json.Unmarshal(data, &all) == nil {
		*p = PerBlock[T]{All: all}
		return nil
	}
	var list []T
	if json.Unmarshal(data, &list) != nil || len(list) == 0 || bytes.Contains(data, []byte("null")) {
		return fmt.Errorf("got %s, want %T or a list of them, one a block", data, all)
	}
	*p = PerBlock[T]{List: list}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (p PerBlock[T]) MarshalJSON() ([]byte, error) {
	if p.List == nil {
		return json.Marshal(p.All)
	}
	return json.Marshal(p.List)
}

// conditioning is what class_embed_type and num_class_embeds say together.
func conditioning(embedType *string, embeds *int) string {
	if embedType == nil && embeds != nil {
		return "embedding"
	}
	return deref(embedType)
}

// timeEmbedDim is time_embedding_dim, or its default.
func timeEmbedDim(dim *int, channels []int) int {
	if dim == nil {
		return 4 * channels[0]
	}
	return *dim
}

func ptr[T any](x T) *T { return &x }

// deref is the zero value for nil.
func deref[T any](p *T) (x T) {
	if p != nil {
		x = *p
	}
	return x
}
