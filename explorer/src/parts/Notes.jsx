export function Notes({ model }) {
  const always = [
    "The map shows what the model learnt from its training data, not the world.",
    ...(model.score ? [`Trust says how usual a ${model.row} is among ${model.score.rows.toLocaleString("en")} normal ones that were kept aside. It does not say that the ${model.row} is true.`] : []),
  ];
  return (
    <section class="card notes" aria-label="What to know">
      <h2>What to know</h2>
      <ul>{[...(model.notes ?? []), ...always].map((note, i) => <li key={i}>{note}</li>)}</ul>
    </section>
  );
}
