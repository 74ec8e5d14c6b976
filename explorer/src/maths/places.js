// Between a place on the map (two numbers) and a code z.

const NEAR = 8; // codes that a place of a bent map is made of
const FAR = 0.04; // of the height: a place of a bent map that is farther from every code is empty, as Python has it

export const dot = (a, b) => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
};

export function makeLayout(index, about, tensors) {
  const part = (name) => tensors[`layout.${index}${name}`];
  const points = part("").data;
  const layout = { ...about, index, points, codes: tensors.codes, trust: part(".trust"), extent: part(".extent")?.data };
  if (!about.linear) {
    const most = layout.extent ? (FAR * (layout.extent[3] - layout.extent[2])) ** 2 : Infinity;
    const empty = (u, v) => nearest(layout.points, u, v, 1)[0].distance > most;
    return { ...layout, place: (z) => nearestPlace(layout, z), code: (u, v) => nearbyCode(layout, u, v), empty };
  }
  const dim = part(".basis").shape[1];
  const [right, up, origin] = [part(".basis").data.subarray(0, dim), part(".basis").data.subarray(dim), part(".origin").data];
  const place = (z) => {
    const centred = z.map((value, i) => value - origin[i]);
    return [dot(centred, right), dot(centred, up)];
  };
  // The plane goes through the code `base`: what base has beside the plane is kept.
  const code = (u, v, base) => {
    const [p, q] = place(base);
    return base.map((value, i) => value + (u - p) * right[i] + (v - q) * up[i]);
  };
  return { ...layout, place, code, origin, empty: () => false };
}

// A bent map has no formula: a place stands for the codes around it, the nearer the more.
function nearbyCode({ points, codes }, u, v) {
  const near = nearest(points, u, v, NEAR);
  const dim = codes.shape[1];
  const z = new Float32Array(dim);
  const widest = near.at(-1).distance || 1;
  let total = 0;
  for (const { row, distance } of near) {
    const weight = Math.exp((-2 * distance) / widest);
    total += weight;
    for (let i = 0; i < dim; i++) z[i] += weight * codes.data[row * dim + i];
  }
  return z.map((value) => value / total);
}

// Rows by the square of their distance from a place, the nearest first.
export function nearest(points, u, v, count) {
  const found = [];
  for (let row = 0; row < points.length / 2; row++) {
    const distance = (points[2 * row] - u) ** 2 + (points[2 * row + 1] - v) ** 2;
    if (found.length === count && distance >= found[count - 1].distance) continue;
    let at = found.length;
    while (at > 0 && found[at - 1].distance > distance) at--;
    found.splice(at, 0, { row, distance });
    if (found.length > count) found.pop();
  }
  return found;
}

// And a code of a bent map stands where the codes nearest to it do.
function nearestPlace({ points, codes }, z) {
  const dim = codes.shape[1];
  let [best, least] = [0, Infinity];
  for (let row = 0; row < codes.shape[0]; row++) {
    let distance = 0;
    for (let i = 0; i < dim && distance < least; i++) distance += (codes.data[row * dim + i] - z[i]) ** 2;
    if (distance < least) [best, least] = [row, distance];
  }
  return [points[2 * best], points[2 * best + 1]];
}

// How much each unit says: one that the model does not use is the same for all rows.
export function variances(codes) {
  return Array.from(codes[0], (_, i) => {
    const mean = codes.reduce((sum, code) => sum + code[i], 0) / codes.length;
    return codes.reduce((sum, code) => sum + (code[i] - mean) ** 2, 0) / codes.length;
  });
}

// Is a place inside a line that is drawn around others? Counts how often a ray from the place crosses it.
export function inside(polygon, u, v) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[a, b], [c, d]] = [polygon[i], polygon[j]];
    if (b > v !== d > v && u < ((c - a) * (v - b)) / (d - b) + a) odd = !odd;
  }
  return odd;
}
