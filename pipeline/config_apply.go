package pipeline

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// configApply lays parsed TOML over c. Keys that tree lacks stay as they are.
// source, the file's path or "-set", opens every error.
func configApply(c *Config, source string, tree map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		table, ok := configField(reflect.ValueOf(c).Elem(), name)
		keys, isTable := tree[name].(map[string]any)
		switch {
		case !ok && isTable:
			return fmt.Errorf("%s: unknown table [%s]: did you mean [%s]?", source, name, configNearest(name, configTables()))
		case !ok:
			return fmt.Errorf("%s: unknown key %s outside any table: did you mean %s?", source, name, configNearestKey("", name))
		case !isTable:
			return fmt.Errorf("%s: %s = %s: want a table [%s]", source, name, configValue(tree[name]), name)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if err := configApplyKey(c, table.value, name, key, keys[key]); err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
		}
	}
	return nil
}

// configApplyKey sets one key of a table, if the value is one that it may have.
func configApplyKey(c *Config, table reflect.Value, name, key string, value any) error {
	if name == "model" && key == "unet" {
		return configApplyUNet(c.Model.UNet, value)
	}
	if inner, ok := configField(reflect.ValueOf(c).Elem(), name+"."+key); ok {
		keys, isTable := value.(map[string]any)
		if !isTable {
			return fmt.Errorf("[%s] %s = %s: want a table [%s.%s]", name, key, configValue(value), name, key)
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if err := configApplyKey(c, inner.value, name+"."+key, k, keys[k]); err != nil {
				return err
			}
		}
		return nil
	}
	field, ok := configField(table, key)
	if !ok {
		return fmt.Errorf("[%s] unknown key %s: did you mean %s?", name, key, configNearestKey(name, key))
	}
	v := reflect.New(field.tags.Type).Elem()
	if !configConvert(v, value) || !configAllowed(field.tags, v) {
		return configRefuse(name, field.tags, value)
	}
	field.value.Set(v)
	return nil
}

// configApplyUNet sets keys of [model.unet]. It looks at names and kinds only:
// models/unet knows which values make a model.
func configApplyUNet(unet map[string]any, value any) error {
	tree, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("[model] unet = %s: want a table [model.unet]", configValue(value))
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		var names []string
		found := false
		for _, k := range configUNetKeys {
			names = append(names, k.name)
			if k.name != key {
				continue
			}
			found = true
			v := tree[key]
			if n, ok := v.(int64); ok && reflect.TypeOf(k.value).Kind() == reflect.Float64 {
				v = float64(n)
			}
			if v != "none" && k.value != "none" && reflect.TypeOf(v) != reflect.TypeOf(k.value) {
				return fmt.Errorf("[model.unet] %s = %s: want a value such as %s", key, configValue(v), configValue(k.value))
			}
			unet[key] = v
		}
		if !found {
			return fmt.Errorf("[model.unet] unknown key %s: did you mean %s?", key, configNearest(key, names))
		}
	}
	return nil
}

// configTagged is one field of a struct with its tags.
type configTagged struct {
	value reflect.Value
	tags  reflect.StructField
}

// configField finds the field of v whose toml tag is key.
func configField(v reflect.Value, key string) (configTagged, bool) {
	for i := range v.NumField() {
		if tags := v.Type().Field(i); tags.Tag.Get("toml") == key {
			return configTagged{v.Field(i), tags}, true
		}
	}
	return configTagged{}, false
}

// configConvert sets v to a value as TOML gives it, and reports whether it has
// the right kind: a whole number may stand for a real one, a string for a list.
func configConvert(v reflect.Value, value any) bool {
	switch v.Kind() {
	case reflect.String:
		s, ok := value.(string)
		v.SetString(s)
		return ok
	case reflect.Bool:
		b, ok := value.(bool)
		v.SetBool(b)
		return ok
	case reflect.Int, reflect.Int64:
		n, ok := value.(int64)
		v.SetInt(n)
		return ok
	case reflect.Float64:
		if n, ok := value.(int64); ok {
			value = float64(n)
		}
		x, ok := value.(float64)
		v.SetFloat(x)
		return ok
	}
	list := []string{}
	switch value := value.(type) {
	case string:
		list = append(list, value)
	case []any:
		for _, e := range value {
			s, ok := e.(string)
			if !ok {
				return false
			}
			list = append(list, s)
		}
	default:
		return false
	}
	v.Set(reflect.ValueOf(list))
	return true
}

// configAllowed reports whether v lies in what the tags "is" and "range" allow.
// A list has at least one entry, none of them empty, unless its tag "list" is
// "any"; no number is infinite.
func configAllowed(tags reflect.StructField, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		words := tags.Tag.Get("is")
		return words == "" || slices.Contains(strings.Split(words, "|"), v.String())
	case reflect.Slice:
		return tags.Tag.Get("list") == "any" || v.Len() > 0 && !slices.Contains(v.Interface().([]string), "")
	case reflect.Int, reflect.Int64:
		return configInside(tags.Tag.Get("range"), float64(v.Int()))
	case reflect.Float64:
		return configInside(tags.Tag.Get("range"), v.Float())
	}
	return true
}

// configInside reports whether x lies in an interval such as "[0,1)" or "[1,]".
func configInside(interval string, x float64) bool {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return false
	}
	low, high := configBounds(interval)
	if lo, err := strconv.ParseFloat(low, 64); err == nil && (x < lo || x == lo && interval[0] == '(') {
		return false
	}
	hi, err := strconv.ParseFloat(high, 64)
	return err != nil || x < hi || x == hi && strings.HasSuffix(interval, "]")
}

// configBounds cuts an interval into its two bounds.
func configBounds(interval string) (low, high string) {
	low, high, _ = strings.Cut(strings.Trim(interval, "[]()"), ",")
	return low, high
}

// configWant says in words what a key's value may be.
func configWant(tags reflect.StructField) string {
	switch tags.Type.Kind() {
	case reflect.String:
		if words := tags.Tag.Get("is"); words != "" {
			return "one of " + configQuoted(strings.Split(words, "|"))
		}
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a string or an array of strings"
	}
	kind := "a number"
	if tags.Type.Kind() != reflect.Float64 {
		kind = "an integer"
	}
	interval := tags.Tag.Get("range")
	low, high := configBounds(interval)
	if interval[0] == '(' {
		kind += " above " + low
	} else {
		kind += " from " + low
	}
	switch {
	case high == "" && interval[0] == '(':
		return kind
	case high == "":
		return kind + " up"
	case strings.HasSuffix(interval, ")"):
		return kind + " to below " + high
	}
	return kind + " to " + high
}

// configRefuse is the error for a value that a key cannot have.
func configRefuse(table string, tags reflect.StructField, value any) error {
	hint := ""
	if s, ok := value.(string); ok && tags.Tag.Get("is") != "" {
		hint = configDidYouMean(s, strings.Split(tags.Tag.Get("is"), "|"))
	}
	return fmt.Errorf("[%s] %s = %s: want %s%s", table, tags.Tag.Get("toml"), configValue(value), configWant(tags), hint)
}

// configTables lists the names of the tables, in order.
func configTables() (names []string) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("toml"))
	}
	return names
}

// configNearestKey names the key nearest to what was written in a table, "key"
// or "key in [other]". Another table's key must be nearer by one letter.
func configNearestKey(table, key string) string {
	best, distance := "", math.MaxInt
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("toml")
		for j := range t.Field(i).Type.NumField() {
			k := t.Field(i).Type.Field(j).Tag.Get("toml")
			d, text := 2*configGap(key, k), k
			if name != table {
				d, text = d+1, k+" in ["+name+"]"
			}
			if d < distance {
				best, distance = text, d
			}
		}
	}
	return best
}

// configQuoted joins words as "a", "b", "c".
func configQuoted(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ", ")
}

// configDidYouMean is a hint at the nearest word, or "" where none is near.
func configDidYouMean(got string, words []string) string {
	if near := configNearest(got, words); 2*configGap(got, near) <= len(near) {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// configNearest is the word at the smallest gap, the first of equals.
func configNearest(got string, words []string) string {
	return slices.MinFunc(words, func(a, b string) int { return configGap(got, a) - configGap(got, b) })
}

// configGap is the edit distance, but 1 from a word's beginning to the word:
// "every" means every_steps and not eta.
func configGap(got, word string) int {
	if got != "" && got != word && strings.HasPrefix(word, got) {
		return 1
	}
	return configDistance(got, word)
}

// configDistance is Levenshtein's: how many letters to insert, delete or change
// to make b of a.
func configDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
