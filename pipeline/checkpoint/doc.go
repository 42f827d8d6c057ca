// Package checkpoint makes a checkpoint folder appear whole or not at all.
//
// A run's folder holds checkpoint-<step> folders. Write builds one under a
// temporary name (.tmp-…) beside them, flushes every file and folder to the
// disk, and renames it, as package whole does; so a crash, a kill or a full disk
// at any moment leaves the previous checkpoint as it was. trainer_state.json is
// written last and lists the size and SHA-256 of every other file: it is the
// witness by which Latest and Resume tell a whole checkpoint from a folder that
// someone cut or copied in part. Old checkpoints are removed by Prune, which the
// caller runs after Write has returned; what a kill leaves behind is removed by
// whole.Sweep at the next start.
package checkpoint
