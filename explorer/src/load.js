// The model and its tensors: out of the page itself, or from the server that gave the page.

import { readTensors } from "./safetensors.js";

export async function load() {
  const inside = document.getElementById("model");
  if (!inside) {
    const [model, tensors] = await Promise.all([get("model.json"), get("tensors")]);
    return { model: await model.json(), tensors: readTensors(new Uint8Array(await tensors.arrayBuffer())) };
  }
  return { model: JSON.parse(inside.textContent), tensors: readTensors(await unpacked("tensors")) };
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} could not be read: ${await answer.text()}`);
  return answer;
}

export async function unpacked(id) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the page's data (it has no DecompressionStream). A browser of 2023 or newer can.");
  }
  const place = document.getElementById(id);
  if (!place) throw new Error(`The page has no part "${id}". It was not saved as a whole.`);
  const packed = fromBase64(place.textContent);
  place.textContent = ""; // megabytes that are not needed twice
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function fromBase64(text) {
  const clean = text.trim();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(clean);
  const letters = atob(clean);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
