// Shapes of arrays that lie row by row, and how two of them meet (broadcasting as numpy and ONNX have it).

export const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

export const axisOf = (axis, rank) => (axis < 0 ? axis + rank : axis);

export function stridesOf(shape) {
  const strides = new Array(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

export function meet(a, b) {
  const rank = Math.max(a.length, b.length);
  const shape = new Array(rank);
  for (let i = 0; i < rank; i++) {
    const p = a[i - rank + a.length] ?? 1;
    const q = b[i - rank + b.length] ?? 1;
    if (p !== q && p !== 1 && q !== 1) throw new Error(`shapes ${a} and ${b} do not fit`);
    shape[i] = p === 1 ? q : p;
  }
  return shape;
}

// Strides of an array that is stretched to `shape`: 0 along what is repeated.
export function stretched(from, shape) {
  const own = stridesOf(from);
  return shape.map((_, i) => {
    const j = i - shape.length + from.length;
    return j < 0 || from[j] === 1 ? 0 : own[j];
  });
}

// Graphs ask for the same places at each call: those of small arrays are kept.
const kept = new Map();
const [MANY, SMALL] = [2000, 20000];

// The place in another array of each value of an array of this shape, by the other's strides. Nobody changes what it gives.
export function placesOf(shape, strides, start = 0) {
  if (sizeOf(shape) > SMALL) return counted(shape, strides, start);
  const key = `${shape};${strides};${start}`;
  let found = kept.get(key);
  if (!found) {
    if (kept.size >= MANY) kept.clear();
    kept.set(key, (found = counted(shape, strides, start)));
  }
  return found;
}

function counted(shape, strides, start) {
  const places = new Int32Array(sizeOf(shape));
  const at = new Array(shape.length).fill(0);
  for (let i = 0, place = start; i < places.length; i++) {
    places[i] = place;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += strides[axis];
      if (++at[axis] < shape[axis]) break;
      place -= strides[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return places;
}

// What a reduction or a softmax works on: `outer` blocks of `length` values that lie `inner` apart.
export function around(shape, axis) {
  const outer = sizeOf(shape.slice(0, axis));
  return { outer, length: shape[axis], inner: sizeOf(shape.slice(axis + 1)) };
}
