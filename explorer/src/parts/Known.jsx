// What is known of an elite: its objective, its measures, and how normal it is.

import { short } from "../conditions.js";

export function Known({ session: { model, tensors }, row }) {
  const value = ({ name, kind, classes }) => {
    const found = tensors[`colour.${name}`].data[row];
    return kind === "label" ? classes[found] ?? "unknown" : short(found);
  };
  return (
    <dl class="facts" aria-label="Known of this elite">
      {model.map.colours.map((about) => <div key={about.name}><dt>{about.name}</dt><dd>{value(about)}</dd></div>)}
    </dl>
  );
}
