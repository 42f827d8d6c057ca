package refeval

import "immiscible/models/graph"

// dropout is x·scale where the mask of the example at positions[i] is true and 0
// elsewhere; a pass makes it, see graph.Draw.
func dropout(n *graph.Node, in []array) []array {
	x, positions := in[0], in[1].data
	scale, key, keep := n.Float("scale", 1), uint64(n.Int("key", 0)), uint64(n.Int("keep", 0))
	y := zeros(x.shape)
	each := len(x.data) / len(positions)
	for i, p := range positions {
		for e := range each {
			c := philox([4]uint32{uint32(e / 4), 0, uint32(uint64(p)), uint32(uint64(p) >> 32)}, uint32(key), uint32(key>>32))
			if at := i*each + e; uint64(c[e%4]) < keep {
				y.data[at] = x.data[at] * scale
			}
		}
	}
	return []array{y}
}

// philox is Philox4x32-10: Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405
func philox(c [4]uint32, k0, k1 uint32) [4]uint32 {
	for range 10 {
		p0, p1 := 0xD2511F53*uint64(c[0]), 0xCD9E8D57*uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}
