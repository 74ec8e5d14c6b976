// The colour of each point, as its place in a list of colours.

import { CLASSES, NONE, hex, ramp } from "../look.js";

const STEPS = 32;

export function coloursOf({ model, tensors, codes }, name) {
  const about = model.map.colours.find((c) => c.name === name);
  const data = about && tensors[`colour.${name}`]?.data;
  if (!data) return { which: new Uint8Array(codes.length), colours: ["#5b7fc7"], about: null };
  if (about.kind === "label") {
    const colours = [...about.classes.map((_, i) => CLASSES[i % CLASSES.length]), NONE];
    return { which: Uint16Array.from(data, (c) => (c < 0 ? about.classes.length : c)), colours, about };
  }
  const range = about.high - about.low || 1;
  const step = (value) => Math.min(STEPS - 1, Math.max(0, Math.floor(((value - about.low) / range) * STEPS)));
  const colours = [...Array.from({ length: STEPS }, (_, i) => hex(ramp((i + 0.5) / STEPS))), NONE];
  return { which: Uint16Array.from(data, (v) => (Number.isFinite(v) ? step(v) : STEPS)), colours, about };
}
