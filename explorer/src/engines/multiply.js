// Products of matrices, written for small batches of rows and weights that stay.

import { meet, sizeOf, stretched, placesOf } from "./shapes.js";

// Weights are kept turned, so that each output is a product of two runs of memory.
const turned = new WeakMap();

const like = (data, n) => new (data instanceof Float64Array ? Float64Array : Float32Array)(n);

function turn(tensor, rows, columns) {
  let found = turned.get(tensor);
  if (!found) {
    found = transpose(tensor.data, rows, columns);
    if (tensor.constant) turned.set(tensor, found);
  }
  return found;
}

function transpose(data, rows, columns) {
  const out = like(data, data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return out;
}

// out[m, n] = sum over k of a[m, k] w[n, k] (+ bias). Four sums at a time, because each addition waits for the one before.
function product(a, w, out, M, N, K, bias) {
  const even = K - (K % 4);
  for (let m = 0; m < M; m++) {
    const row = m * K;
    for (let n = 0, at = 0; n < N; n++) {
      let s0 = bias ? bias[n] : 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      let k = 0;
      for (; k < even; k += 4, at += 4) {
        s0 += a[row + k] * w[at];
        s1 += a[row + k + 1] * w[at + 1];
        s2 += a[row + k + 2] * w[at + 2];
        s3 += a[row + k + 3] * w[at + 3];
      }
      for (; k < K; k++, at++) s0 += a[row + k] * w[at];
      out[m * N + n] = s0 + s1 + (s2 + s3);
    }
  }
}

export function matmul(a, b) {
  const [A, B] = [a.shape.length === 1 ? [1, ...a.shape] : a.shape, b.shape.length === 1 ? [...b.shape, 1] : b.shape];
  const [M, K, N] = [A.at(-2), A.at(-1), B.at(-1)];
  let shape;
  let out;
  if (B.length === 2) {
    const rows = sizeOf(A.slice(0, -1));
    shape = [...A.slice(0, -1), N];
    out = like(a.data, rows * N);
    product(a.data, turn(b, K, N), out, rows, N, K);
  } else {
    const batch = meet(A.slice(0, -2), B.slice(0, -2));
    const [as, bs] = [A, B].map((s) => placesOf(batch, stretched(s.slice(0, -2), batch)));
    shape = [...batch, M, N];
    out = like(a.data, sizeOf(shape));
    as.forEach((p, i) => {
      const right = transpose(b.data.subarray(bs[i] * K * N, (bs[i] + 1) * K * N), K, N);
      product(a.data.subarray(p * M * K, (p + 1) * M * K), right, out.subarray(i * M * N, (i + 1) * M * N), M, N, K);
    });
  }
  if (b.shape.length === 1) shape.pop();
  if (a.shape.length === 1) shape.splice(b.shape.length === 1 ? -1 : -2, 1);
  return { data: out, shape };
}

export function gemm(a, b, c, { alpha = 1, beta = 1, transA = 0, transB = 0 }) {
  const [M, K] = transA ? [a.shape[1], a.shape[0]] : a.shape;
  const N = transB ? b.shape[0] : b.shape[1];
  const left = transA ? transpose(a.data, K, M) : a.data;
  const right = transB ? b.data : turn(b, K, N);
  const out = like(a.data, M * N);
  const plain = alpha === 1 && beta === 1 && c && c.data.length === N && c.shape.at(-1) === N;
  product(left, right, out, M, N, K, plain ? c.data : null);
  if (plain) return { data: out, shape: [M, N] };
  const places = c && placesOf([M, N], stretched(c.shape, [M, N]));
  for (let i = 0; i < out.length; i++) out[i] = alpha * out[i] + (c ? beta * c.data[places[i]] : 0);
  return { data: out, shape: [M, N] };
}
