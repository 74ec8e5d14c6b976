// Notes of the program begin small and have no full stop.
const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?:>]$/.test(text) ? "" : "."}`;

export function Notes({ model, judges }) {
  const always = [
    "The map shows what the model learnt from its training data, not the world.",
    ...(judges ? [`Trust of a place says whether the model reads what it shows there as the same place again, as it does for normal ${model.noun}.`] : []),
    ...(model.score ? [`Trust of a ${model.row} itself says how usual it is among ${model.score.rows.toLocaleString("en")} normal ones. It does not say that the ${model.row} is true.`] : []),
  ];
  return (
    <section class="card notes" aria-label="What to know">
      <h2>What to know</h2>
      <ul>{[...(model.notes ?? []), ...always].map((note, i) => <li key={i}>{sentence(note)}</li>)}</ul>
    </section>
  );
}
