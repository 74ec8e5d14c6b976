// Graphs that run in the browser, by onnxruntime's WebAssembly. `window.ort` comes from a bundle of its own (ort.js).

import { unpacked } from "../load.js";
import { clampToInt } from "../safetensors.js";

const TYPES = { f32: "float32", i32: "int32", bool: "bool", u8: "uint8" };

export function onnxEngine(model, tensors) {
  if (typeof WebAssembly === "undefined") {
    throw new Error("This browser has no WebAssembly, which this page needs to run the model.");
  }
  const { ort } = window;
  const sessions = {};
  let ready;

  async function prepare() {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.proxy = false;
    ort.env.wasm.wasmBinary = await unpacked("wasm");
    ort.env.logLevel = "error";
  }

  // The file of a graph, whole or in pieces: graphs share the pieces that are weights.
  function fileOf(graph) {
    const names = model.pieces?.[graph];
    if (!names) return tensors[`onnx.${graph}`].data;
    const parts = names.map((name) => {
      const { buffer, byteOffset, byteLength } = tensors[name].data;
      return new Uint8Array(buffer, byteOffset, byteLength);
    });
    const file = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
    parts.reduce((at, part) => (file.set(part, at), at + part.length), 0);
    return file;
  }

  async function session(graph) {
    ready ??= prepare();
    await ready;
    sessions[graph] ??= ort.InferenceSession.create(fileOf(graph), { executionProviders: ["wasm"] });
    return sessions[graph];
  }

  // A session takes one call at a time.
  let last = Promise.resolve();
  async function call(graph, inputs) {
    const [running, kinds] = [await session(graph), model.graphs[graph].inputs];
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) {
      feeds[name] = new ort.Tensor(TYPES[kinds[name].dtype], data, shape);
    }
    const found = {};
    for (const [name, value] of Object.entries(await running.run(feeds))) {
      const data = value.type === "int64" ? Int32Array.from(value.data, clampToInt) : value.data;
      found[name] = { data, shape: [...value.dims] };
    }
    return found;
  }

  return {
    name: "onnx",
    run(graph, inputs) {
      const next = last.then(() => call(graph, inputs));
      last = next.catch(() => {});
      return next;
    },
  };
}
