// The model as this page uses it: codes in, rows out, whatever runs its graphs.

import { normals } from "./maths/random.js";
import { sizeOf } from "./engines/shapes.js";
import { seenOf } from "./forms.js";

const ARRAYS = { f32: Float32Array, i32: Int32Array, bool: Uint8Array, u8: Uint8Array };
const AT_ONCE = { plain: 64, onnx: 16, server: 256 }; // rows in one call, so that no call takes the page's breath away

export function makeGraphs(model, engine) {
  const about = model.graphs;
  const has = (graph) => graph in about;

  // What a graph takes, for `count` rows: codes and rows are lists of arrays, conditions are repeated.
  function gather(graph, count, { z, x, mask, y, noise, temperature = 1 }) {
    const given = {};
    for (const [name, { dtype, shape }] of Object.entries(about[graph].inputs)) {
      const Kind = ARRAYS[dtype];
      if (name === "temperature") {
        given[name] = { data: Float32Array.of(temperature), shape: [] };
        continue;
      }
      const one = shape.slice(1);
      const size = sizeOf(one);
      const data = new Kind(count * size);
      const rows = { z, x, mask }[name];
      if (name === "mask" && !rows) x.forEach((row, i) => data.set(seenOf(model.form, row), i * size));
      else if (rows) rows.forEach((row, i) => data.set(row, i * size));
      else if (name === "noise") data.set(noise ?? normals(data.length, 1));
      else for (let i = 0; i < count; i++) data.set(y[name.slice(2)], i * size);
      given[name] = { data, shape: [count, ...one] };
    }
    return given;
  }

  async function run(graph, count, given) {
    const most = AT_ONCE[engine.name];
    if (count <= most) return engine.run(graph, gather(graph, count, given));
    const parts = [];
    for (let from = 0; from < count; from += most) {
      const many = Math.min(most, count - from);
      if (from > 0) await new Promise((go) => setTimeout(go)); // the hand comes first
      const part = (rows) => rows?.slice(from, from + many);
      const noise = given.noise?.subarray((from * given.noise.length) / count, ((from + many) * given.noise.length) / count);
      parts.push(await engine.run(graph, gather(graph, many, { ...given, z: part(given.z), x: part(given.x), mask: part(given.mask), noise })));
    }
    return Object.fromEntries(Object.keys(parts[0]).map((name) => [name, joined(parts.map((p) => p[name]))]));
  }

  function joined(parts) {
    const data = new parts[0].data.constructor(parts.reduce((n, p) => n + p.data.length, 0));
    parts.reduce((at, p) => (data.set(p.data, at), at + p.data.length), 0);
    return { data, shape: [data.length / sizeOf(parts[0].shape.slice(1)), ...parts[0].shape.slice(1)] };
  }

  const noiseSize = (graph) => about[graph]?.inputs.noise?.shape[1] ?? 0;

  return {
    has,
    noiseSize,

    // Rows (and, of tables, the probabilities behind them) of a list of codes.
    async decode(z, y) {
      const { x, bins } = await run("decoder", z.length, { z, y });
      return { x: rowsOf(x), bins: bins ? rowsOf(bins) : null };
    },
    // One draw from each code, all by the same noise: so that it changes only as the code does.
    async draw(z, y, seed) {
      const size = noiseSize("draw");
      const one = normals(size, seed);
      const noise = new Float32Array(size * z.length);
      for (let i = 0; i < z.length; i++) noise.set(one, i * size);
      return rowsOf((await run("draw", z.length, { z, y, noise })).x);
    },
    async encode(x, mask, y) {
      return rowsOf((await run("encoder", x.length, { x, mask, y })).z);
    },
    async score(x, mask, y) {
      const size = noiseSize("score");
      const one = normals(size, 1);
      const noise = new Float32Array(size * x.length);
      for (let i = 0; i < x.length; i++) noise.set(one, i * size);
      return (await run("score", x.length, { x, mask, y, noise })).score.data;
    },
    // How much each value surprises, given the others; null of a model that cannot say.
    async surprise(x, mask, y) {
      return has("surprise") ? rowsOf((await run("surprise", x.length, { x, mask, y })).surprise) : null;
    },
    async sample(count, y, seed, temperature) {
      const noise = normals(count * noiseSize("prior"), seed);
      return rowsOf((await run("prior", count, { y, noise, temperature })).z);
    },
  };
}

export function rowsOf({ data, shape }) {
  const size = sizeOf(shape.slice(1));
  return Array.from({ length: shape[0] }, (_, i) => data.subarray(i * size, (i + 1) * size));
}
