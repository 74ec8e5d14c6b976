// The directions from a code in which what it decodes to changes the most.

const MOST = 128; // units that are looked at: those of the greatest effect
const VALUES = 4096; // values of a row that are looked at

// rows: the decoded code, then the decoded code with each unit moved by `step`. Returns [{direction, effect}], greatest first.
export function strongest(rows, step, count) {
  const [base, moved] = [rows[0], rows.slice(1)];
  const dim = moved.length;
  const stride = Math.max(1, Math.ceil(base.length / VALUES));
  const slopes = moved.map((row) => {
    const slope = new Float64Array(Math.ceil(base.length / stride));
    for (let i = 0; i < slope.length; i++) slope[i] = (row[i * stride] - base[i * stride]) / step;
    return slope;
  });
  const norms = slopes.map((slope) => slope.reduce((s, v) => s + v * v, 0));
  const units = norms.map((_, i) => i).sort((a, b) => norms[b] - norms[a] || a - b).slice(0, MOST);
  return sorted(gram(units.map((i) => slopes[i])), count).map(({ vector, value }) => {
    const direction = new Float32Array(dim);
    units.forEach((unit, i) => (direction[unit] = vector[i]));
    return { direction, effect: Math.sqrt(Math.max(value, 0)) };
  });
}

// The directions in which rows (as arrays) differ the most from their mean.
export function widest(rows, count) {
  const mean = rows[0].map((_, i) => rows.reduce((s, row) => s + row[i], 0) / rows.length);
  const columns = Array.from(mean, (m, i) => rows.map((row) => row[i] - m));
  return sorted(gram(columns), count).map(({ vector, value }) => ({
    direction: Float32Array.from(vector),
    effect: Math.sqrt(Math.max(value, 0) / rows.length),
  }));
}

function gram(rows) {
  return rows.map((a) => rows.map((b) => {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += a[i] * b[i];
    return total;
  }));
}

function sorted(matrix, count) {
  const { values, vectors } = eigen(matrix);
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  return order.slice(0, count).map((i) => {
    const vector = vectors.map((row) => row[i]);
    // A direction and its opposite are the same: the greatest part points up, so that it is found again.
    const most = vector.reduce((best, v) => (Math.abs(v) > Math.abs(best) ? v : best), 0);
    return { value: values[i], vector: most < 0 ? vector.map((v) => -v) : vector };
  });
}

// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's turns of two axes at a time.
export function eigen(given) {
  const n = given.length;
  const a = given.map((row) => [...row]);
  const vectors = a.map((_, i) => a.map((_, j) => (i === j ? 1 : 0)));
  const size = Math.max(1e-300, ...a.map((row, i) => Math.abs(row[i])));
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off = Math.max(off, Math.abs(a[p][q]));
    if (off <= 1e-12 * size) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(a[p][q]) <= 1e-15 * size) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[k][p], a[k][q]];
          a[k][p] = c * x - s * y;
          a[k][q] = s * x + c * y;
        }
        const [row, other] = [a[p], a[q]];
        for (let k = 0; k < n; k++) {
          const [x, y] = [row[k], other[k]];
          row[k] = c * x - s * y;
          other[k] = s * x + c * y;
        }
        for (const v of vectors) [v[p], v[q]] = [c * v[p] - s * v[q], s * v[p] + c * v[q]];
      }
    }
  }
  return { values: a.map((row, i) => row[i]), vectors };
}
