/* The limit that we know for the moons workload: full-batch steps of 2-16-16-1, samples in lanes, register blocks, one thread.
   REAL is float or double, BYTES the width of a vector, TANH selects the activation. tanh is the C library's vector function,
   which the compiler calls under -ffast-math where it has one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES (BYTES / (int)sizeof(REAL))
enum { IN = 2, H = 16, B1 = IN * H, W2 = B1 + H, B2 = W2 + H * H, W3 = B2 + H, B3 = W3 + H, P = B3 + 1, BLOCK = 8 };
typedef REAL vec __attribute__((vector_size(BYTES), aligned(BYTES)));

static inline vec all(REAL x) { return x - (vec){0}; }
static inline vec keep(vec where, vec x) { return (vec)((where > all(0)) & (__typeof__(x > x))x); }
static inline REAL total(vec a) { REAL s = 0; for (int l = 0; l < LANES; l++) s += a[l]; return s; }

#ifdef TANH
static inline vec act(vec z) {
  REAL in[LANES] __attribute__((aligned(BYTES))), out[LANES] __attribute__((aligned(BYTES)));
  memcpy(in, &z, sizeof z);
#pragma GCC ivdep
  for (int l = 0; l < LANES; l++) out[l] = sizeof(REAL) == 4 ? tanhf(in[l]) : tanh(in[l]);
  memcpy(&z, out, sizeof z);
  return z;
}
static inline vec back(vec h, vec d) { return d * (all(1) - h * h); }
#else
static inline vec act(vec z) { return keep(z, z); }
static inline vec back(vec h, vec d) { return keep(h, d); }
#endif

static void *lanes(int vectors) { return aligned_alloc(64, ((size_t)vectors * sizeof(vec) + 63) / 64 * 64); }

/* p: W1 (2,16), b1, W2 (16,16), b2, W3, b3, each in C order; points (samples,2); returns the last step's loss. */
double train(REAL *p, const REAL *points, const REAL *targets, int samples, int steps, double rate, double decay, double penalty) {
  const int vectors = (samples + LANES - 1) / LANES;
  vec *x0 = lanes(vectors), *x1 = lanes(vectors), *t = lanes(vectors), *weight = lanes(vectors);
  for (int i = 0; i < vectors * LANES; i++) {
    const int real = i < samples;
    ((REAL *)x0)[i] = real ? points[2 * i] : 0;
    ((REAL *)x1)[i] = real ? points[2 * i + 1] : 0;
    ((REAL *)t)[i] = real ? targets[i] : 0;
    ((REAL *)weight)[i] = real ? (REAL)1 / samples : 0;
  }
  double loss = 0;
  for (int s = 0; s < steps; s++) {
    vec g[P], sum = all(0);
    memset(g, 0, sizeof g);
    for (int i = 0; i < vectors; i++) {
      vec a1[H], a2[H], d1[H], d2[H], out = all(p[B3]);
      for (int h = 0; h < H; h++) a1[h] = act(p[h] * x0[i] + p[H + h] * x1[i] + p[B1 + h]);
      for (int h = 0; h < H; h += BLOCK) {
        vec z[BLOCK];
        for (int u = 0; u < BLOCK; u++) z[u] = all(p[B2 + h + u]);
        for (int q = 0; q < H; q++)
          for (int u = 0; u < BLOCK; u++) z[u] += p[W2 + q * H + h + u] * a1[q];
        for (int u = 0; u < BLOCK; u++) { a2[h + u] = act(z[u]); out += p[W3 + h + u] * a2[h + u]; }
      }
      const vec margin = 1 - t[i] * out, on = keep(margin, weight[i]), d = -t[i] * on;
      sum += on * margin;
      g[B3] += d;
      for (int h = 0; h < H; h++) {
        g[W3 + h] += d * a2[h];
        d2[h] = back(a2[h], d * p[W3 + h]);
        g[B2 + h] += d2[h];
      }
      for (int q = 0; q < H; q++)
        for (int h = 0; h < H; h++) g[W2 + q * H + h] += a1[q] * d2[h];
      for (int q = 0; q < H; q += BLOCK) {
        vec z[BLOCK];
        for (int u = 0; u < BLOCK; u++) z[u] = all(0);
        for (int h = 0; h < H; h++)
          for (int u = 0; u < BLOCK; u++) z[u] += p[W2 + (q + u) * H + h] * d2[h];
        for (int u = 0; u < BLOCK; u++) d1[q + u] = back(a1[q + u], z[u]);
      }
      for (int h = 0; h < H; h++) { g[h] += d1[h] * x0[i]; g[H + h] += d1[h] * x1[i]; g[B1 + h] += d1[h]; }
    }
    const REAL step = (1 - decay * s / steps) * rate;
    REAL squares = 0;
    for (int k = 0; k < P; k++) {
      squares += p[k] * p[k];
      p[k] -= step * (total(g[k]) + 2 * (REAL)penalty * p[k]);
    }
    loss = total(sum) + penalty * squares;
  }
  free(x0); free(x1); free(t); free(weight);
  return loss;
}
