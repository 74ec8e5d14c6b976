// Graphs that run in Python, on the machine that gave this page.

import { readTensors, writeTensors } from "../safetensors.js";

export function serverEngine(model) {
  return {
    name: "server",
    async run(graph, inputs) {
      const kinds = Object.fromEntries(Object.entries(model.graphs[graph].inputs).map(([n, i]) => [n, i.dtype]));
      let answer;
      try {
        answer = await fetch(`graphs/${graph}`, {
          method: "POST",
          headers: { "content-type": "application/octet-stream" },
          body: writeTensors(inputs, kinds),
        });
      } catch {
        throw new Error("The server does not answer. Is `vaekit explore` still running?");
      }
      if (!answer.ok) throw new Error(await answer.text());
      return readTensors(new Uint8Array(await answer.arrayBuffer()));
    },
  };
}
