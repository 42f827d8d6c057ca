// Package datasets turns bytes on a disk into examples in a lawful order. It
// knows no model.
//
// Vocabulary:
//
//	source    what the user names: a file, a folder, a glob, {000..009}, a URL, "fashion-mnist"
//	shard     a file of records, or one image folder; its base name is its identity
//	record    what a shard stores under one key: an image, its label, its captions
//	example   a record as the model sees it: cropped, flipped, in [−1, 1]
//	epoch     one pass over all N records
//	position  the number of examples before this one since the run began
//
// The order law: with N records, position p is slot k = p mod N of epoch p / N.
// Which record stands there, its crop and its flip are pure functions of
// (seed, epoch, k) and of the shards' base names and contents; paths, worker
// counts, prefetch depth and time cannot change a bit. So resuming takes one
// integer, and every record comes exactly once an epoch. order.go is the whole
// of it; window.go is the other order, for storage that is slow to seek.
//
// Formats, told apart by names alone:
//
//	.tar                    WebDataset: .jpg .jpeg .png .webp .cls .txt .json by key
//	.parquet                as Hugging Face writes images, labels and captions
//	.csv, .jsonl            tables of image files, labels and captions
//	data_batch_1(.bin) …    CIFAR-10 and CIFAR-100, the binary and the Python version
//	*-images-idx3-ubyte     MNIST and its kin, gzipped or not, labels beside
//	folder                  any of these, CelebA, images in a folder a class, or a latent cache
//
// A tar, a parquet file and a binary batch may also lie on an HTTP server that answers
// to ranges, or in a bucket, s3://bucket/key or s3://bucket/prefix/.
//
// A folder in the layout in which a set is published stands for its training part.
//
// A reader walks the package in running order: source.go finds the shards; tar.go,
// parquet.go, table.go, packed.go, pickle.go, celeba.go and folder.go index and read
// them; order.go says which record is next; decode.go, resize.go and transform.go
// make the example (arithmetic in packages jpeg and pixels) and captions.go its text;
// policy.go says what happens to a bad one; loader.go makes batches ahead of time.
//
// What is not on the disk: http.go and s3.go ask for bytes and do not give up easily,
// with what hub.go and awsconfig.go find of the user's credentials,
// remote.go reads them in blocks and ahead, cache_blocks.go keeps those, cache_index.go
// keeps the indices of tars. latents.go reads what latents_write.go wrote, a VAE's
// moments in place of images.
package datasets
