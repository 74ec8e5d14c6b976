// What several views share.

import { useLayoutEffect, useRef } from "preact/hooks";

// A canvas that is painted anew whenever what it shows changes.
export function Painted({ paint, what, label, class: name, width, height }) {
  const ref = useRef();
  useLayoutEffect(() => paint(ref.current), what);
  return <canvas ref={ref} class={name} role="img" aria-label={label} style={width && { width, height }} />;
}

// The values of a row that surprise the most, against what they usually do.
export function surprises({ surprise }, usual, count = 8) {
  if (!surprise) return [];
  const above = Array.from(surprise, (value, i) => ({ i, above: value - (usual ? usual[i] : 0) }));
  return above.filter(({ above }) => above > 0 && Number.isFinite(above)).sort((a, b) => b.above - a.above).slice(0, count);
}

export function SurpriseList({ items }) {
  if (!items.length) return <p class="quiet">No value stands out.</p>;
  const most = items[0].above;
  return (
    <ul class="surprises">
      {items.map(({ name, value, above, instead }) => (
        <li key={name}>
          <span class="name">{name}</span>
          <span class="value">{value}{instead !== undefined && <small> the model shows {instead}</small>}</span>
          <span class="bar" aria-hidden="true"><i style={{ width: `${(100 * above) / most}%` }} /></span>
        </li>
      ))}
    </ul>
  );
}

export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
