// Conditions: what a model was told of each row, as its graphs take it.

export const UNKNOWN = -1;

export function startOf(model, tensors) {
  return Object.fromEntries(model.conditions.map((c) => {
    if (c.kind === "label") return [c.name, Int32Array.of(c.start ?? UNKNOWN)];
    if (c.kind === "number") return [c.name, Float32Array.from(c.start ?? c.mean, (v, i) => (v - c.mean[i]) / c.scale[i])];
    return [c.name, observation(tensors, c.name, 0) ?? new Uint8Array(c.height * c.width * 3)];
  }));
}

// The part of a row's conditions that the page has.
function observation(tensors, name, row) {
  const kept = tensors[`shown.y.${name}`];
  if (!kept || row >= kept.shape[0]) return null;
  const size = kept.data.length / kept.shape[0];
  return kept.data.slice(row * size, (row + 1) * size);
}

// A row comes with its own conditions; what is not known of it stays as it is.
export function conditionsOfRow({ model, tensors, state }, row) {
  const y = { ...state.y };
  for (const { name, kind } of model.conditions) {
    const colour = model.map.colours.find((c) => c.name === name);
    const codes = tensors[`colour.${name}`]?.data;
    const own = observation(tensors, name, row);
    if (own) y[name] = kind === "label" ? Int32Array.from(own) : own;
    else if (kind === "label" && colour?.kind === "label" && codes) y[name] = Int32Array.of(codes[row]);
  }
  return y;
}

export const numberOf = (condition, y, i) => y[condition.name][i] * condition.scale[i] + condition.mean[i];

export function wordsOf(condition, y) {
  if (condition.kind === "label") return String(condition.classes[y[condition.name][0]] ?? "unknown");
  if (condition.kind === "number") return condition.mean.map((_, i) => short(numberOf(condition, y, i))).join(", ");
  return "a picture";
}

export function short(value, digits = 4) {
  if (!Number.isFinite(value)) return "unknown";
  return String(Number(value.toPrecision(digits)));
}

// Were there rows with these conditions? null where the page cannot tell.
export function seenTogether(model, y) {
  const { seen } = model;
  if (!seen) return null;
  const names = Object.keys(seen.values);
  const labels = Object.fromEntries(model.conditions.filter((c) => c.kind === "label").map((c) => [c.name, c.classes]));
  if (names.some((name) => !labels[name] || y[name][0] === UNKNOWN)) return null;
  const wanted = Object.fromEntries(names.map((name) => [name, labels[name][y[name][0]]]));
  return seen.counts.reduce((sum, n, i) => sum + (names.every((name) => seen.values[name][i] === wanted[name]) ? n : 0), 0);
}
