package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"immiscible/datasets"
	"immiscible/models"
	"immiscible/pipeline/npy"
)

// list lists every image of the job in order, class by class or prompt by prompt.
func (j *imageJob) list() error {
	u := j.model.UNet
	conditioned := u.Conditioning() == "embedding"
	count, null := classCount(j.model)
	switch {
	case j.text() && u.Conditioning() != "":
		return fmt.Errorf("%s takes text and class_labels at once: export the model and run eval_model.onnx", j.Model)
	case j.Prompts != nil && !j.text():
		return fmt.Errorf("%s takes no text: leave prompts out", j.Model)
	case j.Negative != "" && (!j.text() || j.Guidance == 1):
		return fmt.Errorf("a negative prompt needs a model that takes text, and guidance other than 1")
	case j.text():
	case conditioned && j.Guidance != 1 && !null:
		return fmt.Errorf("guidance %g needs a model that was trained with conditioning_dropout, and %s says of none: want 1", j.Guidance, j.Model)
	case conditioned:
	case u.Conditioning() != "":
		return fmt.Errorf("%s: class_embed_type %q cannot be named by a class number: export the model and run eval_model.onnx", j.Model, u.Conditioning())
	case j.Classes != nil:
		return fmt.Errorf("%s is not conditioned on classes: leave -classes out", j.Model)
	case j.Guidance != 1:
		return fmt.Errorf("%s is not conditioned, so that guidance %g has nothing to guide: want 1", j.Model, j.Guidance)
	}
	var names []string
	if j.text() && j.Prompts == nil {
		var err error
		if names, err = j.classNames(); err != nil {
			return err
		}
		count, conditioned = len(names), true
	}

	each := ImageRecord{Seed: j.Seed, Sampler: j.Sampler, Steps: j.Steps, Guidance: j.Guidance, Eta: j.Eta,
		Negative: j.Negative, Weights: j.Weights, Model: filepath.Base(filepath.Clean(j.Model))}
	if height, width := j.own(); j.Height != height || j.Width != width {
		each.Resolution = fmt.Sprintf("%dx%d", j.Height, j.Width)
	}
	if j.Latents != "" {
		each.Latents = filepath.Base(j.Latents)
	}
	indices := j.Indices
	if indices == nil {
		for i := range j.PerClass {
			indices = append(indices, i)
		}
	}
	add := func(r ImageRecord, caption func(index int) *string) {
		for _, i := range indices {
			r.File, r.Index, r.Prompt = fmt.Sprintf("%s%05d.png", r.group, i), i, caption(i)
			j.all = append(j.all, r)
		}
	}
	again := map[string]int{}
	for p, prompt := range j.Prompts {
		r := each
		r.group, r.stream = fmt.Sprintf("prompt-%05d-", p), promptStream(prompt, again[prompt])
		again[prompt]++
		add(r, func(int) *string { return &prompt })
	}
	classes := j.Classes
	if conditioned && classes == nil {
		for c := range count {
			classes = append(classes, c)
		}
	}
	for _, c := range classes {
		if c < 0 || c >= count {
			return fmt.Errorf("class %d: %s has classes 0…%d", c, j.Model, count-1)
		}
		r := each
		r.Class, r.group, r.stream = &c, fmt.Sprintf("class-%04d-", c), fmt.Sprintf("/class-%d", c)
		add(r, func(index int) *string {
			if names == nil {
				return nil
			}
			caption := datasets.ClassCaption(j.Template, names[c], j.Seed, int64(index))
			return &caption
		})
	}
	if !conditioned && j.Prompts == nil {
		add(each, func(int) *string { return nil })
	}
	return nil
}

// classNames are the names that captions of classes are made of.
func (j *imageJob) classNames() ([]string, error) {
	path := j.ClassNames
	if path == "" {
		path = filepath.Join(j.Model, classNamesFile)
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s takes text: want -prompts or -prompt, or the names of classes with -class_names (a class_names.txt in the folder would do)", j.Model)
		}
	}
	if j.Template == "" {
		j.Template = cmp.Or(j.model.Weights.Metadata[captionTemplateKey], "{class}")
	}
	if datasets.ClassCaption(j.Template, "\x00", 0, 0) == j.Template {
		return nil, fmt.Errorf("-template %q names no class: want {class}, {first} or {synonym} in it", j.Template)
	}
	return datasets.ReadClassNames(path, 0)
}

// readLatents reads the initial noise where it is given.
func (j *imageJob) readLatents() error {
	if j.Latents == "" {
		return nil
	}
	a, err := npy.Read(j.Latents)
	if err != nil {
		return err
	}
	channels, _ := j.model.UNet.Channels()
	want := []int{len(j.all), channels, j.Height / j.factor, j.Width / j.factor}
	if !slices.Equal(a.Shape, want) {
		return fmt.Errorf("%s: shape %v, want %v: a row an image, in the manifest's order", j.Latents, a.Shape, want)
	}
	if j.latents, err = a.Float32(); err != nil {
		return err
	}
	for i, x := range j.latents {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("%s: element %d of image %d is %v, want finite numbers: make the noise again", j.Latents, i%(len(j.latents)/len(j.all)), i/(len(j.latents)/len(j.all)), x)
		}
	}
	return nil
}

// classCount is the number of classes that a conditioned model knows, and
// whether the label after them stands for "no class". Our checkpoints say so in
// the weights' metadata; of others every embedding is taken for a class.
func classCount(m *models.Model) (count int, null bool) {
	if count = m.UNet.ClassEmbeds(); count == 0 {
		return 0, false
	}
	if n, err := strconv.Atoi(m.Weights.Metadata[numClassesKey]); err == nil && n > 0 && n < count {
		return n, true
	}
	return count, false
}
