// Group normalisation of x [N, C, pixels]: a block a group, which is contiguous. TYPE
// is the image's; SILU and KEEP are 0 or 1. With KEEP the group stays in shared
// memory after it was read, so that the GPU's memory is read once and written once;
// a group that does not fit is read again, mostly from the second cache.

#ifdef GROUP_NORM
// Mean; variance about that mean; the result: the sums of a thread have a few
// dozen terms and are added pairwise, as accurate as any float32 sum.
KERNEL(group_norm, 1024, group_norm_args) {
  SHARED(shared);
  const VECTOR *x = (const VECTOR *)a.x + (unsigned long long)blockIdx.x * a.vectors;
  VECTOR *kept = (VECTOR *)shared, *y = (VECTOR *)a.y + (unsigned long long)blockIdx.x * a.vectors;
  const float count = (float)a.vectors * LANES;
  const unsigned c0 = blockIdx.x % a.groups * a.channels;

  float sum = 0;
  for (unsigned v = threadIdx.x; v < a.vectors; v += blockDim.x) {
    const VECTOR k = x[v];
    if (KEEP) kept[v] = k;
#pragma unroll
    for (int j = 0; j < LANES; j++) sum += WIDEN(k.lane[j]);
  }
  const float mean = block_sum(sum) / count;

  sum = 0;
  for (unsigned v = threadIdx.x; v < a.vectors; v += blockDim.x) {
    const VECTOR k = KEEP ? kept[v] : x[v];
#pragma unroll
    for (int j = 0; j < LANES; j++) {
      const float d = WIDEN(k.lane[j]) - mean;
      sum += d * d;
    }
  }
  const float r = 1.0f / sqrtf(block_sum(sum) / count + a.epsilon);

  for (unsigned v = threadIdx.x; v < a.vectors; v += blockDim.x) {
    const unsigned c = c0 + divide(v, &a.channel);
    const float gamma = r * a.scale[c], beta = a.bias[c];
    VECTOR k = KEEP ? kept[v] : x[v];
#pragma unroll
    for (int j = 0; j < LANES; j++) {
      const float z = (WIDEN(k.lane[j]) - mean) * gamma + beta;
      k.lane[j] = NARROW(SILU ? z * sigmoid(z) : z);
    }
    y[v] = k;
  }
  if (threadIdx.x == 0) {
    if (a.mean) a.mean[blockIdx.x] = mean;
    if (a.r) a.r[blockIdx.x] = r;
  }
}
#endif

#ifdef GROUP_NORM_GRAD
// dz, A = Σ dz and B = Σ dz·x̂ of each channel; with M elements a group
//
//	dx = r·γ·dz − x̂·(r/M)·Σ_{c∈g} γB − (r/M)·Σ_{c∈g} γA
//
// dy and x are read and dx is written once. dx may be dy: a thread writes where it
// alone has read since the last sum of the block.
KERNEL(group_norm_grad, 1024, group_norm_grad_args) {
  SHARED(shared);
  const unsigned long long at = (unsigned long long)blockIdx.x * a.vectors;
  const VECTOR *x = (const VECTOR *)a.x + at, *dy = (const VECTOR *)a.dy + at, *addend = (const VECTOR *)a.addend + at;
  VECTOR *kept_x = (VECTOR *)shared, *kept_dy = kept_x + a.vectors, *dx = (VECTOR *)a.dx + at;
  float *part = (float *)(KEEP ? shared + 2ull * a.vectors * sizeof(VECTOR) : shared);  // [channels, segments, 2]
  const float mean = a.mean[blockIdx.x], r = a.r[blockIdx.x];
  const unsigned c0 = blockIdx.x % a.groups * a.channels, n = blockIdx.x / a.groups, all = a.groups * a.channels;

  const unsigned units = a.channels * a.segments, teams = blockDim.x / a.team, lane = threadIdx.x % a.team;
  for (unsigned base = 0; base < units; base += teams) {
    const unsigned unit = base + threadIdx.x / a.team;
    float ones = 0, hats = 0;
    if (unit < units) {
      const unsigned c = unit / a.segments, start = c * a.channel.n, first = unit % a.segments * a.segment, end = least(first + a.segment, a.channel.n);
      const float gamma = a.scale[c0 + c], beta = a.bias[c0 + c];
      for (unsigned v = start + first + lane; v < start + end; v += a.team) {
        const VECTOR kx = x[v], kd = dy[v];
        if (KEEP) {
          kept_x[v] = kx;
          kept_dy[v] = kd;
        }
#pragma unroll
        for (int j = 0; j < LANES; j++) {
          const float hat = (WIDEN(kx.lane[j]) - mean) * r;
          float d = WIDEN(kd.lane[j]);
          if (SILU) d = through(d, hat * gamma + beta);
          ones += d;
          hats += d * hat;
        }
      }
    }
    ones = team_sum(ones, a.team);
    hats = team_sum(hats, a.team);
    if (unit < units && lane == 0) {
      part[2 * unit] = ones;
      part[2 * unit + 1] = hats;
    }
  }
  __syncthreads();

  float ones = 0, hats = 0;
  for (unsigned c = threadIdx.x; c < a.channels; c += blockDim.x) {
    float one = 0, hat = 0;
    for (unsigned s = 0; s < a.segments; s++) {
      one += part[2 * (c * a.segments + s)];
      hat += part[2 * (c * a.segments + s) + 1];
    }
    a.sums[(unsigned long long)(2 * n) * all + c0 + c] = hat;
    a.sums[(unsigned long long)(2 * n + 1) * all + c0 + c] = one;
    ones += a.scale[c0 + c] * one;
    hats += a.scale[c0 + c] * hat;
  }
  const float share = r / ((float)a.vectors * LANES);
  ones = block_sum(ones) * share;
  hats = block_sum(hats) * share;

  for (unsigned v = threadIdx.x; v < a.vectors; v += blockDim.x) {
    const unsigned c = c0 + divide(v, &a.channel);
    const float gamma = a.scale[c], beta = a.bias[c];
    const VECTOR kx = KEEP ? kept_x[v] : x[v], kd = KEEP ? kept_dy[v] : dy[v];
    VECTOR k;
    if (a.addend) k = addend[v];
#pragma unroll
    for (int j = 0; j < LANES; j++) {
      const float hat = (WIDEN(kx.lane[j]) - mean) * r;
      float d = WIDEN(kd.lane[j]);
      if (SILU) d = through(d, hat * gamma + beta);
      d = r * gamma * d - hat * hats - ones;
      k.lane[j] = NARROW(a.addend ? d + WIDEN(k.lane[j]) : d);
    }
    dx[v] = k;
  }
}
#endif
