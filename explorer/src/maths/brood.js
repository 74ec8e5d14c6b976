// Codes of children. A change of 1 is as much as the codes of the elites vary, in each unit.

import { normals, uniforms } from "./random.js";

const BEYOND = 0.25; // how far children lie beyond their parents, as a share of the way from one to the other

export function near(z, spreads, step, count, seed) {
  const noise = normals(count * z.length, seed);
  return Array.from({ length: count }, (_, k) => Float32Array.from(z, (value, i) => value + step * spreads[i] * noise[k * z.length + i]));
}

// Along the line through both parents and around it (the operator "iso + line" of Vassiliades and Mouret, 2018, with even shares),
// those most like the first come first.
export function between(a, b, spreads, step, count, seed) {
  const next = uniforms(seed);
  const shares = Array.from({ length: count }, () => (1 + 2 * BEYOND) * next() - BEYOND).sort((p, q) => p - q);
  const around = near(a, spreads, step / 2, count, seed);
  return shares.map((t, k) => around[k].map((value, i) => value + t * (b[i] - a[i])));
}
