// What is known of an elite: its objective, its measures, and where it came from. Its p-value is shown as trust.

import { short } from "../conditions.js";

// How normal an elite is, by the score of rows; null where nobody knows.
export function trustOfElite({ tensors }, row) {
  const p = tensors["colour.p-value"]?.data[row];
  return p >= 0 ? { p } : null;
}

export function Known({ session: { model, tensors }, row }) {
  const value = ({ name, kind, classes }) => {
    const found = tensors[`colour.${name}`].data[row];
    return kind === "label" ? classes[found] ?? "unknown" : short(found);
  };
  return (
    <dl class="facts" aria-label="Known of this elite">
      {model.map.colours.filter(({ name }) => name !== "p-value").map((about) => <div key={about.name}><dt>{about.name}</dt><dd>{value(about)}</dd></div>)}
    </dl>
  );
}
