// Package datasets turns bytes on a disk into examples in a lawful order. It
// knows no model.
//
// Vocabulary:
//
//	source    what the user names: a tar, a folder, a glob, {000..009}, "fashion-mnist"
//	shard     one tar, or one image folder; its base name is its identity
//	record    what a shard stores under one key: an image, its label, its caption
//	example   a record as the model sees it: cropped, flipped, in [−1, 1]
//	epoch     one pass over all N records
//	position  the number of examples before this one since the run began
//
// The order law: with N records, position p is slot k = p mod N of epoch p / N.
// Which record stands there, its crop and its flip are pure functions of
// (seed, epoch, k) and of the shards' base names and contents; paths, worker
// counts, prefetch depth and time cannot change a bit. So resuming takes one
// integer, and every record comes exactly once an epoch. order.go is the whole
// of it.
//
// A reader walks the package in running order: source.go finds the shards,
// tar.go and folder.go index and read them, order.go says which record is next,
// decode.go, resize.go and transform.go make the example, policy.go says what
// happens to a bad one, loader.go makes batches ahead of time.
package datasets
