// What the cells of an archive mean.

import { short } from "../conditions.js";

export function CellsLegend({ session }) {
  const { layout, model, tensors } = session;
  const { level, objective } = model.map.archive;
  const filled = layout.best.filter((row) => row >= 0).length;
  const odd = tensors.trusted.data.some((trusted) => !trusted);
  return (
    <>
      {odd && <div class="scale trust-scale"><span><i />p below {short(level)}: unlike the training data</span></div>}
      <p class="quiet">
        {filled.toLocaleString("en")} of {layout.best.length.toLocaleString("en")} cells have an elite: the {model.row} with the highest {objective} found there.
        {layout.over && ` A cell shows the best over ${layout.over}.`} An empty cell shows what the mean of the codes of the elites near it decodes to.
        A pin that is not an elite is drawn at the elite with the nearest code: where it belongs, only your measures can say.
      </p>
    </>
  );
}
