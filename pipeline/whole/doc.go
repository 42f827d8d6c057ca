// Package whole makes files and folders appear whole or not at all: they are
// written under a temporary name beside their place, flushed, and renamed, so
// that a crash, a kill or a full disk leaves what was there before.
//
// The order (temporary name in the same folder, fsync, rename, fsync of the
// parent) is the one of ALICE, OSDI 2014, section 4.4: a rename alone may reach
// the disk before the data it names. What a kill leaves behind has a name that
// begins with Temporary, and is swept by the next that writes there.
package whole
