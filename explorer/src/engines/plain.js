// Small models without WebAssembly: a list of ONNX operations, done one after another on arrays of numbers.

import { ops } from "./ops.js";

export function plainEngine(model, tensors) {
  const fixed = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    if (name.startsWith("weights.")) fixed[name] = { ...tensor, constant: true };
  }
  const plans = {};
  for (const [graph, { nodes, inputs, outputs }] of Object.entries(model.plan)) {
    const steps = nodes.map((node) => {
      if (!ops[node.op]) throw new Error(`This page cannot compute "${node.op}".`);
      return { ...node, attrs: node.attrs ?? {}, run: ops[node.op] };
    });
    plans[graph] = { steps, inputs, outputs };
  }
  return {
    name: "plain",
    async run(graph, given) {
      return runPlan(plans[graph], fixed, given);
    },
  };
}

export function runPlan({ steps, outputs }, fixed, given) {
  const known = { ...given };
  const look = (name) => (name === "" ? undefined : (known[name] ?? fixed[name]));
  for (const step of steps) {
    const found = step.run(step.in.map(look), step.attrs, step.out.length);
    if (Array.isArray(found)) step.out.forEach((name, i) => (known[name] = found[i]));
    else known[step.out[0]] = found;
  }
  return Object.fromEntries(outputs.map((name) => [name, look(name)]));
}
