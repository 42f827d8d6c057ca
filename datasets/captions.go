package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"immiscible/datasets/rng"
)

// Values of Options.Captions: where an example's text comes from.
const (
	CaptionsNone   = "none"   // every text is empty: unconditional, or conditioned by labels alone
	CaptionsStored = "stored" // the record's own caption
	CaptionsClass  = "class"  // the name of its class, in Options.CaptionTemplate
)

// Placeholders of a caption template. A line of class names may hold synonyms,
// separated by commas, as ImageNet's does ("tench, Tinca tinca").
const (
	placeClass   = "{class}"   // the whole line: the captions of Immiscible Diffusion's official code
	placeFirst   = "{first}"   // its first synonym
	placeSynonym = "{synonym}" // one of its synonyms, drawn by position
)

// maxClassNames bounds a file of class names, in bytes.
const maxClassNames = 64 << 20

// ReadClassNames reads a file of class names: line i, from 0, names label i. want
// is the number of lines that there must be; 0: any. Blanks around a name and a
// last line without an end are accepted; an empty line is not, since every class
// after it would be off by one.
func ReadClassNames(path string, want int) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("class names: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxClassNames {
		return nil, fmt.Errorf("class names %s: want a regular file of at most %d bytes, a class a line", path, maxClassNames)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("class names: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("class names %s: not UTF-8", path)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		if lines[i] = strings.TrimSpace(line); lines[i] == "" {
			return nil, fmt.Errorf("class names %s: line %d is empty, want the name of class %d", path, i+1, i)
		}
	}
	if want > 0 && len(lines) != want {
		return nil, fmt.Errorf("class names %s: %d lines, want %d, a class a line, as the data has classes", path, len(lines), want)
	}
	return lines, nil
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// checkTemplate refuses a template that names no class, or something unknown.
func checkTemplate(template string) error {
	found := placeholder.FindAllString(template, -1)
	for _, name := range found {
		if name != placeClass && name != placeFirst && name != placeSynonym {
			return fmt.Errorf("data.caption_template = %q: %s is unknown, want %s, %s or %s", template, name, placeClass, placeFirst, placeSynonym)
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("data.caption_template = %q names no class: want %s, %s or %s in it; captions = %q gives every image the same, empty text",
			template, placeClass, placeFirst, placeSynonym, CaptionsNone)
	}
	return nil
}

// ClassCaption puts the name of a class into a template: {class} is the whole
// name, {first} its first synonym, {synonym} one drawn by (seed, position).
func ClassCaption(template, name string, seed uint64, position int64) string {
	return placeholder.ReplaceAllStringFunc(template, func(place string) string {
		switch place {
		case placeClass:
			return name
		case placeFirst:
			return synonyms(name)[0]
		case placeSynonym:
			names := synonyms(name)
			return names[rng.New(seed, "synonym", uint64(position)).Intn(len(names))]
		}
		return place
	})
}

// synonyms splits a class name at its commas; there is at least one.
func synonyms(name string) []string {
	var names []string
	for part := range strings.SplitSeq(name, ",") {
		if part = strings.TrimSpace(part); part != "" {
			names = append(names, part)
		}
	}
	if len(names) == 0 {
		return []string{name}
	}
	return names
}

// caption is the text of a record at a position. One of several stored captions
// is drawn by position.
func (d *Dataset) caption(record raw, position int64) (string, error) {
	switch d.options.Captions {
	case CaptionsStored:
		if len(record.texts) == 0 && d.options.CaptionKey != "" {
			return "", fmt.Errorf("no caption: want a string %q in its .json or in the table, as caption_key says", d.options.CaptionKey)
		}
		if len(record.texts) == 0 {
			return "", errors.New("no caption: want a .txt member or file, or one in .json or in the table")
		}
		if len(record.texts) == 1 {
			return record.texts[0], nil
		}
		return record.texts[rng.New(d.options.Seed, "caption", uint64(position)).Intn(len(record.texts))], nil
	case CaptionsClass:
		return ClassCaption(d.options.CaptionTemplate, d.names[record.label], d.options.Seed, position), nil
	}
	return "", nil
}

// nameClasses finds the names of the classes: those of Options.ClassNames, else
// those that the shards store, where they agree. Captions of classes need them.
func (d *Dataset) nameClasses() error {
	o := d.options
	if o.ClassNames != "" {
		want := o.NumClasses
		if want == 0 {
			want = len(d.storedNames())
		}
		names, err := ReadClassNames(o.ClassNames, want)
		d.names = names
		return err
	}
	d.names = d.storedNames()
	switch {
	case o.Captions != CaptionsClass:
	case len(d.names) == 0:
		return fmt.Errorf("data.captions = %q, but the data has no names for its classes: want a file of them, a class a line, as data.class_names", CaptionsClass)
	case o.NumClasses > 0 && len(d.names) != o.NumClasses:
		return fmt.Errorf("data.num_classes = %d, but the data names %d classes: want as many", o.NumClasses, len(d.names))
	}
	return nil
}

// storedNames are the names of the classes that the shards store, nil where they
// disagree or there are none.
func (d *Dataset) storedNames() []string {
	var names []string
	for i, s := range d.shards {
		if i == 0 {
			names = s.classNames()
		} else if strings.Join(names, "\x00") != strings.Join(s.classNames(), "\x00") {
			return nil
		}
	}
	return names
}

// Warnings returns what is odd about the data set but stops nothing, a line each.
func (d *Dataset) Warnings() []string {
	var lines []string
	for _, s := range d.shards {
		if f, ok := s.closer.(*remoteFile); ok && f.disk != nil {
			if err := f.disk.usable(); err != nil {
				lines = append(lines, fmt.Sprintf("data.cache_dir: %v; what is read from servers is kept in memory alone, and the next run reads it again", err))
			}
			break // they share one
		}
	}
	first := map[string]int{}
	for label, line := range d.names {
		for _, name := range d.captionNames(line) {
			if other, ok := first[name]; ok && other != label {
				lines = append(lines, fmt.Sprintf("class names: %d and %d are both %q, so that captions do not tell them apart", other, label, name))
			} else if !ok {
				first[name] = label
			}
		}
	}
	return lines
}

// captionNames are what a caption may say of a class, in the words of its line of names.
func (d *Dataset) captionNames(line string) []string {
	template := d.options.CaptionTemplate
	switch {
	case d.options.Captions != CaptionsClass || strings.Contains(template, placeClass):
		return []string{line}
	case strings.Contains(template, placeSynonym):
		return synonyms(line)
	}
	return synonyms(line)[:1]
}
