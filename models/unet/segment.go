package unet

import "regexp"

var segment = regexp.MustCompile(`^(?:(?:down|up)_blocks\.\d+|mid_block)\.(?:resnets|attentions|downsamplers|upsamplers)\.\d+`)

// Segment is the part of a U-Net that gradient checkpointing computes again as
// one: a residual block, an attention, a resampling; "" for what is kept. Those
// are diffusers' own.
func Segment(scope string) string { return segment.FindString(scope) }
