// Dropout: a thread draws one block of Philox4x32-10 (see kernels_dropout_body.h) for
// four elements of an example. Memory is read once and written once, 16 bytes of
// float32 at a time where the shapes allow.

#ifdef DROPOUT
KERNEL(dropout, 256, dropout_args) {
  for (unsigned i = blockIdx.x * 256 + threadIdx.x; i < a.blocks; i += gridDim.x * 256) {
    const unsigned n = divide(i, &a.example), block = i - n * a.example.n;
    const unsigned long long position = a.positions[n];
    unsigned c0 = block, c1 = 0, c2 = (unsigned)position, c3 = (unsigned)(position >> 32), k0 = a.key[0], k1 = a.key[1];
#pragma unroll
    for (int round = 0; round < 10; round++) {
      const unsigned long long p0 = 0xd2511f53ull * c0, p1 = 0xcd9e8d57ull * c2;
      c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
      c1 = (unsigned)p1;
      c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
      c3 = (unsigned)p0;
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
    const unsigned word[4] = {c0, c1, c2, c3};
    const unsigned long long first = (unsigned long long)n * a.vectors + (unsigned long long)block * (4 / LANES);
#pragma unroll
    for (int v = 0; v < 4 / LANES; v++) {
      if (block * (4 / LANES) + v >= a.vectors) break;
      const VECTOR x = ((const VECTOR *)a.x)[first + v];
      VECTOR y;
#pragma unroll
      for (int j = 0; j < LANES; j++) y.lane[j] = NARROW(word[v * LANES + j] <= a.most ? WIDEN(x.lane[j]) * a.scale : 0);
      ((VECTOR *)a.y)[first + v] = y;
    }
  }
}
#endif
