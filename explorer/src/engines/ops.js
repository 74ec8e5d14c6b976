// The operations of the plain engine, with the meaning that ONNX gives them. The build writes their names to
// plain-ops.json, from which Python learns which models need nothing more.

import { around, axisOf, meet, placesOf, sizeOf, stretched, stridesOf } from "./shapes.js";
import { gemm, matmul } from "./multiply.js";

const like = (tensor, n) => new tensor.data.constructor(n);
const list = (tensor) => Array.from(tensor.data);

// Numbers are float32, unless a model asks for more.
const fine = (...tensors) => (tensors.some((x) => x.data instanceof Float64Array) ? Float64Array : Float32Array);

// One value -> one value.
const each = (f) => ([x]) => {
  const [from, out] = [x.data, new (fine(x))(x.data.length)];
  for (let i = 0; i < out.length; i++) out[i] = f(from[i]);
  return { data: out, shape: x.shape };
};

// Two arrays that meet -> one. The short ways are what nearly all of a model's time goes through.
function pair(a, b, f, Kind) {
  const [p, q] = [a.data, b.data];
  if (p.length === q.length && a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i])) {
    const out = new Kind(p.length);
    for (let i = 0; i < out.length; i++) out[i] = f(p[i], q[i]);
    return { data: out, shape: a.shape };
  }
  if (q.length === 1 && a.shape.length >= b.shape.length) {
    const [out, y] = [new Kind(p.length), q[0]];
    for (let i = 0; i < out.length; i++) out[i] = f(p[i], y);
    return { data: out, shape: a.shape };
  }
  const shape = meet(a.shape, b.shape);
  const [s, t] = [placesOf(shape, stretched(a.shape, shape)), placesOf(shape, stretched(b.shape, shape))];
  const out = new Kind(s.length);
  for (let i = 0; i < out.length; i++) out[i] = f(p[s[i]], q[t[i]]);
  return { data: out, shape };
}

const whole = (a, b) => a.data instanceof Int32Array && b.data instanceof Int32Array;
const kindOf = (a, b) => (whole(a, b) ? Int32Array : fine(a, b));
const sum = (f) => ([a, b]) => pair(a, b, f, kindOf(a, b));
const test = (f) => ([a, b]) => pair(a, b, f, Uint8Array);
const fold = (f) => (inputs) => inputs.reduce((a, b) => pair(a, b, f, kindOf(a, b)));

// Axes come as an attribute in older ONNX and as an input in newer.
const axesOf = (input, attrs, rank) => (input ? list(input) : attrs.axes)?.map((a) => axisOf(a, rank));

const reduce = (start, step, end = (value) => value) => ([x, given], attrs) => {
  const rank = x.shape.length;
  const asked = axesOf(given, attrs, rank);
  if (!asked?.length && attrs.noop_with_empty_axes) return x;
  const axes = asked?.length ? asked : x.shape.map((_, i) => i);
  const kept = x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
  const count = x.data.length / sizeOf(kept);
  const sums = new Float64Array(sizeOf(kept)).fill(start);
  const places = placesOf(x.shape, stretched(kept, x.shape));
  for (let i = 0; i < places.length; i++) sums[places[i]] = step(sums[places[i]], x.data[i]);
  const out = like(x, sums.length);
  for (let i = 0; i < out.length; i++) out[i] = end(sums[i], count);
  return { data: out, shape: (attrs.keepdims ?? 1) ? kept : x.shape.filter((_, i) => !axes.includes(i)) };
};

const soft = (logarithm) => ([x], { axis = -1 }) => {
  const { outer, length, inner } = around(x.shape, axisOf(axis, x.shape.length));
  const out = new (fine(x))(x.data.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const start = o * length * inner + i;
      let most = -Infinity;
      let total = 0;
      for (let k = 0; k < length; k++) most = Math.max(most, x.data[start + k * inner]);
      for (let k = 0; k < length; k++) total += Math.exp(x.data[start + k * inner] - most);
      for (let k = 0, at = start; k < length; k++, at += inner) {
        const centred = x.data[at] - most;
        out[at] = logarithm ? centred - Math.log(total) : Math.exp(centred) / total;
      }
    }
  }
  return { data: out, shape: x.shape };
};

const place = (better) => ([x], { axis = 0, keepdims = 1 }) => {
  const at = axisOf(axis, x.shape.length);
  const { outer, length, inner } = around(x.shape, at);
  const out = new Int32Array(outer * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const start = o * length * inner + i;
      let best = 0;
      for (let k = 1; k < length; k++) if (better(x.data[start + k * inner], x.data[start + best * inner])) best = k;
      out[o * inner + i] = best;
    }
  }
  return { data: out, shape: x.shape.flatMap((n, i) => (i !== at ? [n] : keepdims ? [1] : [])) };
};

// Values of x taken from the places that strides and a start say.
function taken(x, shape, strides, start = 0) {
  const places = placesOf(shape, strides, start);
  const out = like(x, places.length);
  for (let i = 0; i < out.length; i++) out[i] = x.data[places[i]];
  return { data: out, shape };
}

function slice([x, starts, ends, axes, steps], attrs) {
  const rank = x.shape.length;
  const from = starts ? list(starts) : attrs.starts;
  const to = ends ? list(ends) : attrs.ends;
  const along = axesOf(axes, attrs, rank) ?? from.map((_, i) => i);
  const strides = stridesOf(x.shape);
  const shape = [...x.shape];
  let start = 0;
  along.forEach((axis, i) => {
    const [n, step] = [x.shape[axis], steps ? steps.data[i] : 1];
    const inside = (at) => Math.min(Math.max(at < 0 ? at + n : at, step < 0 ? -1 : 0), n);
    const first = Math.min(inside(from[i]), step < 0 ? n - 1 : n);
    const last = step < 0 && to[i] < -n ? -1 : inside(to[i]);
    shape[axis] = Math.max(0, Math.ceil((last - first) / step));
    start += first * strides[axis];
    strides[axis] *= step;
  });
  return taken(x, shape, strides, start);
}

function split([x, sizes], { axis = 0, split: given, num_outputs }, outputs) {
  const at = axisOf(axis, x.shape.length);
  const many = num_outputs ?? outputs;
  const part = Math.ceil(x.shape[at] / many);
  const even = () => Array.from({ length: many }, (_, i) => Math.min(part, x.shape[at] - i * part));
  const strides = stridesOf(x.shape);
  let start = 0;
  return (sizes ? list(sizes) : (given ?? even())).map((n) => {
    const piece = taken(x, x.shape.map((m, i) => (i === at ? n : m)), strides, start * strides[at]);
    start += n;
    return piece;
  });
}

function concat(inputs, { axis }) {
  const parts = inputs.length > 1 ? inputs.filter((x) => x.data.length || x.shape.length > 1) : inputs;
  const at = axisOf(axis, parts[0].shape.length);
  const shape = parts[0].shape.map((n, i) => (i === at ? parts.reduce((s, x) => s + x.shape[at], 0) : n));
  const out = like(parts[0], sizeOf(shape));
  const { outer, length, inner } = around(shape, at);
  let start = 0;
  for (const x of parts) {
    const run = x.shape[at] * inner;
    for (let o = 0; o < outer; o++) out.set(x.data.subarray(o * run, (o + 1) * run), o * length * inner + start);
    start += run;
  }
  return { data: out, shape };
}

function gather([x, index], { axis = 0 }) {
  const { outer, length, inner } = around(x.shape, axisOf(axis, x.shape.length));
  const many = index.data.length;
  const out = like(x, outer * many * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < many; i++) {
      const from = (o * length + axisOf(index.data[i], length)) * inner;
      out.set(x.data.subarray(from, from + inner), (o * many + i) * inner);
    }
  }
  const at = axisOf(axis, x.shape.length);
  return { data: out, shape: [...x.shape.slice(0, at), ...index.shape, ...x.shape.slice(at + 1)] };
}

function gatherElements([x, index], { axis = 0 }) {
  const at = axisOf(axis, x.shape.length);
  const strides = stridesOf(x.shape);
  const step = strides[at];
  strides[at] = 0;
  const places = placesOf(index.shape, strides);
  const out = like(x, places.length);
  for (let i = 0; i < out.length; i++) out[i] = x.data[places[i] + axisOf(index.data[i], x.shape[at]) * step];
  return { data: out, shape: index.shape };
}

// Runs of x that rows of places begin at.
function gatherND([x, index]) {
  const depth = index.shape.at(-1);
  const [strides, inner] = [stridesOf(x.shape), sizeOf(x.shape.slice(depth))];
  const many = index.data.length / depth;
  const out = like(x, many * inner);
  for (let i = 0; i < many; i++) {
    let from = 0;
    for (let k = 0; k < depth; k++) from += axisOf(index.data[i * depth + k], x.shape[k]) * strides[k];
    out.set(x.data.subarray(from, from + inner), i * inner);
  }
  return { data: out, shape: [...index.shape.slice(0, -1), ...x.shape.slice(depth)] };
}

// Sums of products by the letters of the axes; "..." stands for all axes that have no letter.
function einsum(inputs, { equation }) {
  const [left, right] = equation.replaceAll(" ", "").split("->");
  const terms = left.split(",");
  const rest = Math.max(...terms.map((t, i) => inputs[i].shape.length - t.replace("...", "").length));
  const spelled = (term, rank) => {
    const many = rank - term.replace("...", "").length;
    return [...term.replace("...", Array.from({ length: many }, (_, i) => `${rest - many + i}`).join(""))];
  };
  const axes = terms.map((t, i) => spelled(t, inputs[i].shape.length));
  const kept = spelled(right, right.replace("...", "").length + (right.includes("...") ? rest : 0));
  const summed = [...new Set(axes.flat())].filter((a) => !kept.includes(a));
  const length = (a) => Math.max(...axes.map((own, i) => inputs[i].shape[own.indexOf(a)] ?? 1));
  const along = (names) => axes.map((own, i) => {
    const strides = stridesOf(inputs[i].shape);
    // An axis that an input has twice is its diagonal.
    const step = (a) => own.reduce((s, b, k) => s + (a === b && inputs[i].shape[k] > 1 ? strides[k] : 0), 0);
    return placesOf(names.map(length), names.map(step));
  });
  const [at, over] = [along(kept), along(summed)];
  const [a, b] = [inputs[0].data, inputs[1]?.data];
  const out = new (fine(...inputs))(at[0].length);
  for (let i = 0; i < out.length; i++) {
    let total = 0;
    for (let k = 0; k < over[0].length; k++) {
      total += a[at[0][i] + over[0][k]] * (b ? b[at[1][i] + over[1][k]] : 1);
    }
    out[i] = total;
  }
  return { data: out, shape: kept.map(length) };
}

function where([test, a, b]) {
  const shape = meet(meet(test.shape, a.shape), b.shape);
  const [t, p, q] = [test, a, b].map((x) => placesOf(shape, stretched(x.shape, shape)));
  const out = new (a.data instanceof Uint8Array ? Uint8Array : kindOf(a, b))(t.length);
  for (let i = 0; i < out.length; i++) out[i] = test.data[t[i]] ? a.data[p[i]] : b.data[q[i]];
  return { data: out, shape };
}

function reshape([x, wanted], { allowzero = 0 }) {
  const shape = list(wanted).map((n, i) => (n === 0 && !allowzero ? x.shape[i] : n));
  const open = shape.indexOf(-1);
  if (open >= 0) shape[open] = x.data.length / -sizeOf(shape);
  return { data: x.data, shape };
}

function unsqueeze([x, given], attrs) {
  const wanted = given ? list(given) : attrs.axes;
  const rank = x.shape.length + wanted.length;
  const axes = wanted.map((a) => axisOf(a, rank));
  const rest = [...x.shape];
  return { data: x.data, shape: Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift())) };
}

function squeeze([x, given], attrs) {
  const axes = axesOf(given, attrs, x.shape.length);
  return { data: x.data, shape: x.shape.filter((n, i) => (axes ? !axes.includes(i) : n !== 1)) };
}

function flatten([x], { axis = 1 }) {
  const rows = sizeOf(x.shape.slice(0, axis < 0 ? axis + x.shape.length : axis));
  return { data: x.data, shape: [rows, rows ? x.data.length / rows : 0] };
}

function transpose([x], { perm }) {
  const order = perm ?? x.shape.map((_, i) => x.shape.length - 1 - i);
  const strides = stridesOf(x.shape);
  return taken(x, order.map((i) => x.shape[i]), order.map((i) => strides[i]));
}

function tile([x, repeats]) {
  // Each axis is split into "which copy" and "where in it"; the first is a step of 0.
  const strides = stridesOf(x.shape);
  const split = x.shape.flatMap((n, i) => [repeats.data[i], n]);
  const { data } = taken(x, split, strides.flatMap((s) => [0, s]));
  return { data, shape: x.shape.map((n, i) => n * repeats.data[i]) };
}

function pad([x, pads, value, axes], { mode = "constant" }) {
  if (mode !== "constant") throw new Error(`padding of the mode "${mode}" cannot be computed`);
  const rank = x.shape.length;
  const along = axes ? list(axes).map((a) => axisOf(a, rank)) : x.shape.map((_, i) => i);
  const [before, after] = [new Array(rank).fill(0), new Array(rank).fill(0)];
  along.forEach((axis, i) => {
    before[axis] = pads.data[i];
    after[axis] = pads.data[along.length + i];
  });
  // What is cut off (a negative padding) goes first.
  const strides = stridesOf(x.shape);
  const left = x.shape.map((n, i) => n + Math.min(0, before[i]) + Math.min(0, after[i]));
  const inner = taken(x, left, strides, before.reduce((at, b, i) => at - Math.min(0, b) * strides[i], 0));
  const shape = left.map((n, i) => n + Math.max(0, before[i]) + Math.max(0, after[i]));
  const out = like(x, sizeOf(shape)).fill(value?.data[0] ?? 0);
  const wide = stridesOf(shape);
  const places = placesOf(left, wide, before.reduce((at, b, i) => at + Math.max(0, b) * wide[i], 0));
  for (let i = 0; i < places.length; i++) out[places[i]] = inner.data[i];
  return { data: out, shape };
}

function expand([x, wanted]) {
  const shape = meet(x.shape, list(wanted));
  return taken(x, shape, stretched(x.shape, shape));
}

// Types by their numbers in ONNX: what counts here is whether values are whole, or true and false.
const CASTS = { 1: Float32Array, 10: Float32Array, 11: Float64Array, 6: Int32Array, 7: Int32Array, 2: Uint8Array };

function cast([x], { to }) {
  const Kind = to === 9 ? Uint8Array : CASTS[to];
  if (!Kind) throw new Error(`a cast to type ${to} cannot be computed`);
  const data = to === 9 ? Uint8Array.from(x.data, (v) => (v !== 0 ? 1 : 0)) : Kind.from(x.data);
  return { data, shape: x.shape };
}

function constant(_, { value, dtype = "f32", shape }) {
  const Kind = { f32: Float32Array, i32: Int32Array, i64: Int32Array, bool: Uint8Array }[dtype];
  return { data: Kind.from([value].flat()), shape: shape ?? (Array.isArray(value) ? [value.length] : []) };
}

function constantOfShape([wanted], { value = 0, dtype = "f32" }) {
  const shape = list(wanted);
  const Kind = dtype === "f32" ? Float32Array : dtype === "bool" ? Uint8Array : Int32Array;
  return { data: new Kind(sizeOf(shape)).fill([value].flat()[0]), shape };
}

function range([start, limit, delta]) {
  const [from, step] = [start.data[0], delta.data[0]];
  const out = like(start, Math.max(0, Math.ceil((limit.data[0] - from) / step)));
  for (let i = 0; i < out.length; i++) out[i] = from + i * step;
  return { data: out, shape: [out.length] };
}

function cumSum([x, axis], { exclusive = 0, reverse = 0 }) {
  const { outer, length, inner } = around(x.shape, axisOf(axis.data[0], x.shape.length));
  const out = like(x, x.data.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let total = 0;
      for (let k = 0; k < length; k++) {
        const at = (o * length + (reverse ? length - 1 - k : k)) * inner + i;
        const next = total + x.data[at];
        out[at] = exclusive ? total : next;
        total = next;
      }
    }
  }
  return { data: out, shape: x.shape };
}

function oneHot([index, depth, values], { axis = -1 }) {
  const [n, [off, on]] = [depth.data[0], values.data];
  const at = axisOf(axis, index.shape.length + 1);
  const shape = [...index.shape.slice(0, at), n, ...index.shape.slice(at)];
  const { outer, inner } = around(shape, at);
  const out = like(values, sizeOf(shape)).fill(off);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const which = axisOf(index.data[o * inner + i], n);
      if (which >= 0 && which < n) out[(o * n + which) * inner + i] = on;
    }
  }
  return { data: out, shape };
}

function layerNormalization([x, scale, bias], { axis = -1, epsilon = 1e-5 }) {
  const at = axisOf(axis, x.shape.length);
  const n = sizeOf(x.shape.slice(at));
  const out = new Float32Array(x.data.length);
  for (let start = 0; start < out.length; start += n) {
    let mean = 0;
    let spread = 0;
    for (let i = 0; i < n; i++) mean += x.data[start + i] / n;
    for (let i = 0; i < n; i++) spread += (x.data[start + i] - mean) ** 2 / n;
    const inverse = 1 / Math.sqrt(spread + epsilon);
    for (let i = 0; i < n; i++) out[start + i] = (x.data[start + i] - mean) * inverse * scale.data[i] + (bias?.data[i] ?? 0);
  }
  return { data: out, shape: x.shape };
}

function clip([x, low, high], { min = -Infinity, max = Infinity }) {
  const [least, most] = [low?.data[0] ?? min, high?.data[0] ?? max];
  const out = like(x, x.data.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.min(Math.max(x.data[i], least), most);
  return { data: out, shape: x.shape };
}

// The error function to the last digit of float32: a series near 0, a continued fraction beyond.
export function erf(x) {
  const a = Math.abs(x);
  if (a < 2.5) {
    let [term, total] = [a, a];
    for (let n = 1; Math.abs(term) > 1e-17 * total && n < 80; n++) {
      term *= (-a * a) / n;
      total += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * total) / Math.sqrt(Math.PI);
  }
  if (a > 6) return Math.sign(x);
  let tail = 0;
  for (let k = 40; k > 0; k--) tail = k / 2 / (a + tail);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + tail)));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const least = (a, b) => (a < b || Number.isNaN(a) ? a : b);
const most = (a, b) => (a > b || Number.isNaN(a) ? a : b);
const divide = ([a, b]) =>
  whole(a, b) ? pair(a, b, (x, y) => Math.trunc(x / y), Int32Array) : pair(a, b, (x, y) => x / y, fine(a, b));
const logSumExp = (inputs, attrs) => {
  const kept = reduce(-Infinity, most)(inputs, { ...attrs, keepdims: 1 });
  const shifted = pair(inputs[0], kept, (x, m) => Math.exp(x - m), fine(inputs[0]));
  const sums = reduce(0, (s, v) => s + v)([shifted, inputs[1]], attrs);
  return { data: sums.data.map((s, i) => Math.log(s) + kept.data[i]), shape: sums.shape };
};

export const ops = {
  Abs: each(Math.abs),
  Add: sum((a, b) => a + b),
  And: test((a, b) => a && b),
  ArgMax: place((a, b) => a > b),
  ArgMin: place((a, b) => a < b),
  Cast: cast,
  Ceil: each(Math.ceil),
  Clip: clip,
  Concat: concat,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Cos: each(Math.cos),
  CumSum: cumSum,
  Div: divide,
  Elu: ([x], { alpha = 1 }) => each((v) => (v > 0 ? v : alpha * Math.expm1(v)))([x]),
  Einsum: einsum,
  Equal: test((a, b) => (a === b ? 1 : 0)),
  Erf: each(erf),
  Exp: each(Math.exp),
  Expand: expand,
  Flatten: flatten,
  Floor: each(Math.floor),
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  Gemm: ([a, b, c], attrs) => gemm(a, b, c, attrs),
  Greater: test((a, b) => (a > b ? 1 : 0)),
  GreaterOrEqual: test((a, b) => (a >= b ? 1 : 0)),
  Identity: ([x]) => x,
  IsInf: ([x]) => ({ data: Uint8Array.from(x.data, (v) => (Math.abs(v) === Infinity ? 1 : 0)), shape: x.shape }),
  IsNaN: ([x]) => ({ data: Uint8Array.from(x.data, (v) => (Number.isNaN(v) ? 1 : 0)), shape: x.shape }),
  LayerNormalization: layerNormalization,
  LeakyRelu: ([x], { alpha = 0.01 }) => each((v) => (v > 0 ? v : alpha * v))([x]),
  Less: test((a, b) => (a < b ? 1 : 0)),
  LessOrEqual: test((a, b) => (a <= b ? 1 : 0)),
  Log: each(Math.log),
  LogSoftmax: soft(true),
  MatMul: ([a, b]) => matmul(a, b),
  Max: fold(most),
  Min: fold(least),
  Mul: sum((a, b) => a * b),
  Neg: ([x]) => ({ data: x.data.map((v) => -v), shape: x.shape }),
  Not: ([x]) => ({ data: x.data.map((v) => (v ? 0 : 1)), shape: x.shape }),
  OneHot: oneHot,
  Or: test((a, b) => a || b),
  Pad: pad,
  Pow: ([a, b]) => pair(a, b, (x, y) => x ** y, a.data.constructor),
  Range: range,
  Reciprocal: each((x) => 1 / x),
  ReduceL2: reduce(0, (s, v) => s + v * v, Math.sqrt),
  ReduceLogSumExp: logSumExp,
  ReduceMax: reduce(-Infinity, most),
  ReduceMean: reduce(0, (s, v) => s + v, (s, n) => s / n),
  ReduceMin: reduce(Infinity, least),
  ReduceProd: reduce(1, (s, v) => s * v),
  ReduceSum: reduce(0, (s, v) => s + v),
  ReduceSumSquare: reduce(0, (s, v) => s + v * v),
  Relu: each((x) => (x > 0 ? x : x === x ? 0 : NaN)),
  Reshape: reshape,
  Round: each((x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x))),
  Shape: ([x], { start = 0, end }) => {
    const part = x.shape.slice(start, end);
    return { data: Int32Array.from(part), shape: [part.length] };
  },
  Sigmoid: each(sigmoid),
  Sign: each(Math.sign),
  Sin: each(Math.sin),
  Slice: slice,
  Softmax: soft(false),
  Softplus: each((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  Split: split,
  Sqrt: each(Math.sqrt),
  Squeeze: squeeze,
  Sub: sum((a, b) => a - b),
  Sum: fold((a, b) => a + b),
  Tanh: each(Math.tanh),
  Tile: tile,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Where: where,
  Xor: test((a, b) => (!a !== !b ? 1 : 0)),
};
