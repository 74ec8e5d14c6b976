// What runs the model's graphs. All have run(graph, {name: {data, shape}}) -> the outputs, in the same form.

import { serverEngine } from "./server.js";
import { plainEngine } from "./plain.js";
import { onnxEngine } from "./onnx.js";

const ENGINES = { server: serverEngine, plain: plainEngine, onnx: onnxEngine };

export function makeEngine(model, tensors) {
  const make = ENGINES[model.engine];
  if (!make) throw new Error(`This page knows no engine "${model.engine}".`);
  return make(model, tensors);
}
