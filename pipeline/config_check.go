package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"immiscible/pipeline/whole"
)

// maxPixels bounds what one step, or one sample grid, may hold: 2²⁰ images of
// 512×512. It is far beyond any machine, and keeps sizes that are worked out from
// it, such as bytes and floating-point operations, within an int64.
const maxPixels = 1 << 38

// maxResolution is the range of [data] resolution, in pixels.
const maxResolution = 1 << 14

// Validate says what is impossible in c: a value outside its range, or two
// values that contradict each other. The error names both keys and values.
func (c Config) Validate() error {
	err := c.eachKey(func(table string, tags reflect.StructField, v reflect.Value) error {
		if !configAllowed(tags, v) {
			return configRefuse(table, tags, v.Interface())
		}
		return nil
	})
	if err != nil {
		return err
	}
	train, data, noise, scheduler := c.Train, c.Data, c.Noise, c.Scheduler
	most := maxPixels / (data.Resolution * data.Resolution) // images
	switch {
	case train.BatchSize > most:
		return fmt.Errorf("[train] batch_size = %d images of [data] resolution = %d: want at most %d of them", train.BatchSize, data.Resolution, most)
	case c.sampleCount() > most:
		return fmt.Errorf("[sample] per_class = %d makes a grid of %d images of [data] resolution = %d: want at most %d of them", c.Sample.PerClass, c.sampleCount(), data.Resolution, most)
	case train.MicroBatch > 0 && train.BatchSize%train.MicroBatch != 0:
		return fmt.Errorf("[train] micro_batch = %d does not divide batch_size = %d: want one of its divisors, or 0", train.MicroBatch, train.BatchSize)
	case noise.Pairing == "linear" && noise.PoolSize%train.BatchSize != 0:
		return fmt.Errorf("[noise] pool_size = %d is no multiple of [train] batch_size = %d: want %d", noise.PoolSize, train.BatchSize, max(1, noise.PoolSize/train.BatchSize)*train.BatchSize)
	case noise.PerClass && data.NumClasses == 0:
		return fmt.Errorf("[noise] per_class = true, but [data] num_classes = 0: want per_class = false for an unconditional model")
	case noise.Pairing == "knn" && noise.Center == "class" && data.NumClasses == 0:
		return fmt.Errorf("[noise] center = \"class\", but [data] num_classes = 0: want \"global\" or \"none\" for an unconditional model")
	case train.ConditioningDropout > 0 && data.NumClasses == 0 && c.Model.Path == "":
		return fmt.Errorf("[train] conditioning_dropout = %v, but [data] num_classes = 0: there is no label to drop; want 0", train.ConditioningDropout)
	case data.Channels == 2:
		return fmt.Errorf("[data] channels = 2: want 1 (grey) or 3 (RGB)")
	case 2*data.Pad >= data.Resolution:
		return fmt.Errorf("[data] pad = %d on both sides leaves nothing of resolution = %d: want less than half of it", data.Pad, data.Resolution)
	case scheduler.BetaStart > scheduler.BetaEnd:
		return fmt.Errorf("[scheduler] beta_start = %v is above beta_end = %v: noise must grow", scheduler.BetaStart, scheduler.BetaEnd)
	case scheduler.RescaleBetasZeroSNR && train.PredictionType == "epsilon":
		return fmt.Errorf("[scheduler] rescale_betas_zero_snr = true, but [train] prediction_type = \"epsilon\", which says nothing of the image in pure noise: want \"v_prediction\" or \"sample\"")
	case c.Sample.GuidanceScale > 1 && train.ConditioningDropout == 0 && c.Model.Path == "":
		return fmt.Errorf("[sample] guidance_scale = %v, but [train] conditioning_dropout = 0: a new model then has no unconditional half; want guidance_scale = 1, or some dropout", c.Sample.GuidanceScale)
	case train.MixedPrecision == "bf16" && c.Runtime.Provider == "cpu":
		return fmt.Errorf("[train] mixed_precision = \"bf16\", but [runtime] provider = \"cpu\": %s", noBFloat16)
	case c.Sample.Steps > scheduler.NumTrainTimesteps:
		return fmt.Errorf("[sample] steps = %d, but [scheduler] num_train_timesteps = %d: want at most as many", c.Sample.Steps, scheduler.NumTrainTimesteps)
	case c.LR.Schedule == "constant" && c.LR.WarmupSteps > 0:
		return fmt.Errorf("[lr] warmup_steps = %d, but schedule = \"constant\" has no warm-up: want 0, or \"constant_with_warmup\"", c.LR.WarmupSteps)
	case c.Model.Path != "":
		return nil
	}
	return c.validateUNet()
}

// validateUNet holds [model.unet] against the data that the model is to see.
func (c Config) validateUNet() error {
	unet, data := c.Model.UNet, c.Data
	agree := []struct {
		key, as string
		want    int
	}{
		{"sample_size", "resolution", data.Resolution},
		{"in_channels", "channels", data.Channels},
		{"out_channels", "channels", data.Channels},
	}
	for _, a := range agree {
		if unet[a.key] != int64(a.want) {
			return fmt.Errorf("[model.unet] %s = %s, but [data] %s = %d: want the same", a.key, configValue(unet[a.key]), a.as, a.want)
		}
	}
	embeds, conditional := unet["num_class_embeds"].(int64)
	least := data.NumClasses
	if c.Train.ConditioningDropout > 0 {
		least++
	}
	switch {
	case data.NumClasses == 0 && conditional:
		return fmt.Errorf("[model.unet] num_class_embeds = %d, but [data] num_classes = 0: want \"none\" for an unconditional model", embeds)
	case unet["class_embed_type"] == "none" && embeds < int64(least):
		return fmt.Errorf("[model.unet] num_class_embeds = %s, but [data] num_classes = %d and [train] conditioning_dropout = %v: want at least %d", configValue(unet["num_class_embeds"]), data.NumClasses, c.Train.ConditioningDropout, least)
	}
	return nil
}

// SameRun reports the first setting by which now differs from the run that it
// is to continue, in a way that would make it another run. Only [train]
// max_steps, the intervals, [checkpoint] keep and [runtime] may differ.
func SameRun(before, now Config) error {
	was := map[string]string{}
	collect := func(table string, tags reflect.StructField, v reflect.Value) error {
		was["["+table+"] "+tags.Tag.Get("toml")] = configValue(v.Interface())
		return nil
	}
	if err := before.eachKey(collect); err != nil {
		return err
	}
	differ := func(key, was, is string) error {
		return fmt.Errorf("%s is %s now and was %s in the run that is to go on: only max_steps, every_steps, keep and [runtime] may change; put it back, or start anew with another -out", key, is, was)
	}
	err := now.eachKey(func(table string, tags reflect.StructField, v reflect.Value) error {
		key, is := "["+table+"] "+tags.Tag.Get("toml"), configValue(v.Interface())
		if tags.Tag.Get("resume") != "free" && was[key] != is {
			return differ(key, was[key], is)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range configUNetKeys {
		if a, b := configUNetValue(before, k.name), configUNetValue(now, k.name); a != b {
			return differ("[model.unet] "+k.name, a, b)
		}
	}
	return nil
}

// configUNetValue is one key of [model.unet] as TOML, "unset" without the table.
func configUNetValue(c Config, key string) string {
	if c.Model.UNet == nil {
		return "unset"
	}
	return configValue(c.Model.UNet[key])
}

// eachKey calls f for each key in order, [model.unet] left out.
func (c Config) eachKey(f func(table string, tags reflect.StructField, v reflect.Value) error) error {
	tables := reflect.ValueOf(c)
	for i := range tables.NumField() {
		table, name := tables.Field(i), tables.Type().Field(i).Tag.Get("toml")
		for j := range table.NumField() {
			if table.Field(j).Kind() == reflect.Map {
				continue
			}
			if err := f(name, table.Type().Field(j), table.Field(j)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Text writes c as TOML, each key below one line on what it means and may be.
// It reads back as c. The repository's config.toml is Default's text.
func (c Config) Text() string {
	var b strings.Builder
	b.WriteString("# The settings of a training run. Later ones win: built-in defaults, -preset, -config FILE, -set table.key=value.\n")
	tables := reflect.ValueOf(c)
	for i := range tables.NumField() {
		tags := tables.Type().Field(i)
		fmt.Fprintf(&b, "\n# %s\n[%s]\n", tags.Tag.Get("doc"), tags.Tag.Get("toml"))
		for j := range tags.Type.NumField() {
			key := tags.Type.Field(j)
			if key.Type.Kind() == reflect.Map {
				continue
			}
			comment := key.Tag.Get("doc")
			if key.Tag.Get("is") != "" || key.Tag.Get("range") != "" {
				comment += " (" + configWant(key) + ")"
			}
			fmt.Fprintf(&b, "# %s\n%s = %s\n", comment, key.Tag.Get("toml"), configValue(tables.Field(i).Field(j).Interface()))
		}
		if tags.Name == "Model" && c.Model.UNet != nil {
			unet, _ := configField(tables.Field(i), "unet")
			fmt.Fprintf(&b, "\n# %s\n[model.unet]\n", unet.tags.Tag.Get("doc"))
			for _, k := range configUNetKeys {
				fmt.Fprintf(&b, "# %s\n%s = %s\n", k.doc, k.name, configValue(c.Model.UNet[k.name]))
			}
		}
	}
	return b.String()
}

// MarshalJSON gives the tables and keys of Text.
func (c Config) MarshalJSON() ([]byte, error) {
	all := map[string]any{}
	table := func(name string) map[string]any {
		at := all
		for part := range strings.SplitSeq(name, ".") {
			if at[part] == nil {
				at[part] = map[string]any{}
			}
			at = at[part].(map[string]any)
		}
		return at
	}
	err := c.eachKey(func(name string, tags reflect.StructField, v reflect.Value) error {
		table(name)[tags.Tag.Get("toml")] = v.Interface()
		return nil
	})
	if err == nil && c.Model.UNet != nil {
		table("model")["unet"] = c.Model.UNet
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// Save writes Text to path: whole, or not at all.
func (c Config) Save(path string) error { return whole.File(path, []byte(c.Text())) }

// UNetJSON is [model.unet] as a diffusers unet/config.json, with null for
// "none". Keys are sorted.
func (m ConfigModel) UNetJSON() ([]byte, error) {
	object := maps.Clone(m.UNet)
	for _, key := range slices.Collect(maps.Keys(object)) {
		if object[key] == "none" {
			object[key] = nil
		}
	}
	object["_class_name"] = "UNet2DModel"
	return json.MarshalIndent(object, "", "  ")
}
