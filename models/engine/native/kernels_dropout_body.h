// Dropout's inner loop: Philox4x32-10 of as many blocks at a time as a vector has
// lanes. Included after kernels_body.h; each kernels_*.c defines PRODUCT.
//
// J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC '11,
// https://doi.org/10.1145/2063384.2063405. A word lies in the low half of a lane of
// 64 bits. What the high half holds does not matter: PRODUCT takes no notice of it.

typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));
typedef uint64_t wide __attribute__((vector_size(LANES * 4)));

// What all blocks have in common: the keys of the ten rounds, and 0, 2, 4, …
struct keys {
  wide k[10][2], even;
};

INLINE struct keys keys_of(uint64_t key) {
  struct keys keys;
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    keys.k[round][0] = (wide){0} + k0;
    keys.k[round][1] = (wide){0} + k1;
  }
  for (int j = 0; j < LANES / 2; j++) keys.even[j] = 2 * j;
  return keys;
}

// keep sets a byte for each element of LANES blocks from `block` on: −1 if it stays,
// else 0.
INLINE void keep(const struct keys *keys, uint32_t most, uint64_t position, uint64_t block, int8_t *mask) {
  wide c[2][4];  // words of the even blocks and of the odd ones
  for (int i = 0; i < 2; i++) {
    c[i][0] = keys->even + (block + i);
    c[i][1] = c[i][0] >> 32;
    c[i][2] = (wide){0} + position;
    c[i][3] = c[i][2] >> 32;
  }
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
      const wide p0 = PRODUCT(c[i][0], 0xd2511f53u), p1 = PRODUCT(c[i][2], 0xcd9e8d57u);
      c[i][0] = p1 >> 32 ^ c[i][1] ^ keys->k[round][0];
      c[i][1] = p1;
      c[i][2] = p0 >> 32 ^ c[i][3] ^ keys->k[round][1];
      c[i][3] = p0;
    }
  }
  wide stay[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    uvec b = {0};
#pragma GCC unroll 4
    for (int word = 0; word < 4; word++) b |= (uvec)((uvec)c[i][word] <= most) & 0xffu << 8 * word;
    stay[i] = (wide)b;
  }
  const wide both = (stay[0] & 0xffffffffu) | stay[1] << 32;
  __builtin_memcpy(mask, &both, sizeof both);
}

INLINE vec kept(vec x, const int32_t *mask) { return (vec)((ivec)x & (ivec)LOAD((const float *)mask)); }

TARGET static void dropout(const struct dropout *d, uint64_t position, uint64_t block, const float *x, ptrdiff_t n, float *y) {
  const struct keys keys = keys_of(d->key);
  const float factor = d->scale;
  const vec scale = SPLAT(factor);
  int8_t narrow[4 * LANES];
  int32_t mask[4 * LANES];
  for (; n > 0; n -= 4 * LANES, block += LANES, x += 4 * LANES, y += 4 * LANES) {
    keep(&keys, d->most, position, block, narrow);
    for (int i = 0; i < 4 * LANES; i++) mask[i] = narrow[i];
    for (int i = 0; i < 4 * LANES && i < n; i += LANES) {
      if (n - i >= LANES) STORE(y + i, kept(LOAD(x + i) * scale, mask + i));
      else partial_store(y + i, kept(partial_load(x + i, n - i) * scale, mask + i), n - i);
    }
  }
}
