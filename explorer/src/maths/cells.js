// A map whose places are the cells of an archive, over two of its measures. A cell holds the best of the elites that lie in it: rows
// come with the best first. A place in an empty cell stands for the codes near it, as on any bent map.

import { makeLayout } from "./places.js";

export function makeCells(index, about, tensors) {
  const bent = makeLayout(index, about, tensors);
  const { points } = bent;
  const { cells: [columns, rows], size: [wide, high] } = about;
  const cellAt = (u, v) => {
    const [column, row] = [Math.floor((u / wide) * columns), Math.floor((v / high) * rows)];
    return column >= 0 && row >= 0 && column < columns && row < rows ? row * columns + column : -1;
  };
  const best = new Int32Array(columns * rows).fill(-1);
  for (let i = points.length / 2 - 1; i >= 0; i--) best[cellAt(points[2 * i], points[2 * i + 1])] = i;
  const rowAt = (u, v) => {
    const row = best[cellAt(u, v)];
    return row === undefined || row < 0 ? null : row;
  };
  // The edges of a cell by its number: left, right, below, above.
  const edges = (cell) => {
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    return [(column / columns) * wide, ((column + 1) / columns) * wide, (row / rows) * high, ((row + 1) / rows) * high];
  };
  const code = (u, v) => {
    const row = rowAt(u, v);
    if (row === null) return bent.code(u, v);
    const dim = tensors.codes.shape[1];
    return Float32Array.from(tensors.codes.data.subarray(row * dim, (row + 1) * dim));
  };
  return { ...bent, best, cellAt, edges, rowAt, code, empty: () => false };
}
