// Sums whose order the shapes alone decide.

#ifdef CHANNEL_SUMS
// x is read once.
KERNEL(channel_sums, 256, channel_sums_args) {
  const unsigned teams = gridDim.x * (blockDim.x / a.team), lane = threadIdx.x % a.team;
  for (unsigned base = 0; base < a.units; base += teams) {
    const unsigned unit = base + blockIdx.x * (blockDim.x / a.team) + threadIdx.x / a.team;
    float sum = 0;
    if (unit < a.units) {
      const unsigned c = unit % a.channels, row = unit / a.channels, n = row / a.segments;
      const unsigned first = row % a.segments * a.segment, end = least(first + a.segment, a.vectors);
      const VECTOR *x = (const VECTOR *)a.x + ((unsigned long long)n * a.channels + c) * a.vectors;
      for (unsigned v = first + lane; v < end; v += a.team) {
        const VECTOR k = x[v];
#pragma unroll
        for (int j = 0; j < LANES; j++) sum += WIDEN(k.lane[j]);
      }
    }
    sum = team_sum(sum, a.team);
    if (unit < a.units && lane == 0) a.sums[unit] = sum;
  }
}
#endif

#ifdef COLUMN_SUMS
// A block is 16 rows of 32 columns: row i of it adds the rows i, i + 16, … of its
// chunk, then the 16 sums are added in order. x is read once, 32 neighbours at a
// time.
KERNEL(column_sums, 512, column_sums_args) {
  __shared__ float part[16][32];
  const unsigned i = threadIdx.x / 32, lane = threadIdx.x % 32, c = blockIdx.x * 32 + lane;
  const unsigned first = blockIdx.y * a.chunk, end = least(first + a.chunk, a.rows);
  float sum = 0;
  if (c < a.columns)
    for (unsigned row = first + i; row < end; row += 16) sum += WIDEN(((const ELEMENT *)a.x)[(unsigned long long)row * a.columns + c]);
  part[i][lane] = sum;
  __syncthreads();
  if (i > 0 || c >= a.columns) return;
  for (int j = 1; j < 16; j++) sum += part[j][lane];
  float *out = c < a.width ? a.out[0] : a.out[1];
  if (out) out[(unsigned long long)blockIdx.y * a.width + (c < a.width ? c : c - a.width)] = sum;
}
#endif
