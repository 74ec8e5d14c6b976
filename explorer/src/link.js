// The state as a link: what follows the # in the address is all that is needed to come back.

import { fromBase64 } from "./load.js";

function packed(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function opened(text, Kind) {
  const plain = text.replaceAll("-", "+").replaceAll("_", "/");
  const bytes = fromBase64(plain + "=".repeat((4 - (plain.length % 4)) % 4));
  return new Kind(bytes.slice().buffer);
}

const LARGEST = 4096; // bytes of a condition in a link: pictures stay out

export function linkOf({ model, state, layout }) {
  const parts = new URLSearchParams();
  parts.set("layout", layout.name);
  if (state.colour !== null) parts.set("colour", state.colour);
  if (state.pinned) {
    parts.set("z", packed(state.pinned.z));
    if (state.pinned.row !== null) parts.set("row", state.pinned.row);
  }
  for (const { name, kind } of model.conditions) {
    if (kind === "label") parts.set(`y.${name}`, state.y[name][0]);
    else if (state.y[name].byteLength <= LARGEST) parts.set(`y.${name}`, packed(state.y[name]));
  }
  for (const anchor of ["a", "b"]) if (state[anchor]) parts.set(anchor, packed(state[anchor]));
  if (state.way !== "straight") parts.set("way", state.way);
  return `#${parts}`;
}

// A link may be of another model, or cut: what does not fit is left as it was.
export function readLink({ model, state, layouts, codes }, hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const change = {};
  const code = (name) => {
    if (!parts.has(name)) return null;
    try {
      const z = opened(parts.get(name), Float32Array);
      return z.length === model.latent_dim && z.every(Number.isFinite) ? z : null;
    } catch {
      return null;
    }
  };
  const layout = layouts.findIndex((l) => l.name === parts.get("layout"));
  if (layout >= 0) change.layout = layout;
  if (model.map.colours.some((c) => c.name === parts.get("colour"))) change.colour = parts.get("colour");
  const y = { ...state.y };
  for (const { name, kind, classes } of model.conditions) {
    if (!parts.has(`y.${name}`)) continue;
    const text = parts.get(`y.${name}`);
    if (kind === "label") {
      const index = Number(text);
      if (Number.isInteger(index) && index >= -1 && index < classes.length) y[name] = Int32Array.of(index);
      continue;
    }
    try {
      const value = opened(text, y[name].constructor);
      if (value.length === y[name].length) y[name] = value;
    } catch {
      // Not a value of this condition.
    }
  }
  change.y = y;
  for (const anchor of ["a", "b"]) if (code(anchor)) change[anchor] = code(anchor);
  if (parts.get("way") === "round") change.way = "round";
  const row = Number(parts.get("row") ?? NaN);
  return { change, z: code("z"), row: Number.isInteger(row) && row >= 0 && row < codes.length ? row : null };
}
