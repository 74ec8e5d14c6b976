// Ways between two codes, t from 0 to 1.

import { dot } from "./places.js";

const straight = (a, b, t) => a.map((value, i) => (1 - t) * value + t * b[i]);

// Along the arc from one to the other: the length of a code changes evenly, and does not dip in the middle.
function round(a, b, t) {
  const [p, q] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / (p * q || 1))));
  if (!(angle > 1e-4) || Math.PI - angle < 1e-4) return straight(a, b, t);
  const [s, r] = [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
  const length = (1 - t) * p + t * q;
  return a.map((value, i) => length * ((s * value) / (p || 1) + (r * b[i]) / (q || 1)));
}

export const ways = { straight, round };
