// What the stand-ins count, by name: the file $FAKEGPU_COUNTS, in lines of 256
// bytes: a name, NUL bytes, and at its end the number. What is not used yet is NUL.
#ifndef IMMISCIBLE_FAKEGPU_COUNTS_H
#define IMMISCIBLE_FAKEGPU_COUNTS_H

#include <stddef.h>
#include <stdint.h>

// fakegpu_count adds n to the number of that name. libcudart has it; the others
// find it at run time and do without it where it is not there.
void fakegpu_count(const char *name, int64_t n);

// fakegpu_set adds n to the number, or takes its place.
void fakegpu_set(const char *name, int64_t n, int add);

#endif
