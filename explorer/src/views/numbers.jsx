// Rows of plain numbers: a list with a small bar for each.

import { userRow, userValue, modelValue, perChannel } from "../forms.js";
import { readTable } from "../files/table.js";
import { short } from "../conditions.js";
import { look, sharp } from "../look.js";
import { SurpriseList, surprises } from "./common.jsx";

export function numbers(form, session) {
  const { model } = session;
  const each = perChannel(form.event);
  const names = form.columns ?? Array.from({ length: form.event[0] * each }, (_, i) => `${i + 1}`);
  // Bars go from the least to the greatest of the rows on the page.
  const ranges = names.map((_, i) => {
    const seen = session.rows.map((row) => userValue(form, row[i], Math.floor(i / each))).filter(Number.isFinite);
    return seen.length ? [Math.min(...seen), Math.max(...seen)] : [userValue(form, -2, Math.floor(i / each)), userValue(form, 2, Math.floor(i / each))];
  });
  const share = (value, i) => Math.min(1, Math.max(0, (value - ranges[i][0]) / (ranges[i][1] - ranges[i][0] || 1)));

  function Whole({ x, beside }) {
    const values = userRow(form, x);
    const own = beside && userRow(form, beside.x);
    return (
      <div class="scroll">
        <table class="row">
          <thead><tr><th>Value</th>{own && <th class="number">Itself</th>}<th class="number">Shown</th><th aria-hidden="true" /></tr></thead>
          <tbody>
            {names.map((name, i) => (
              <tr key={i}>
                <th scope="row">{name}</th>
                {own && <td class="number">{short(own[i])}</td>}
                <td class="number">{short(values[i])}</td>
                <td class="spread" aria-hidden="true"><span class="bar"><i style={{ width: `${100 * share(values[i], i)}%` }} /></span></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    );
  }

  function paint(canvas, x) {
    const context = sharp(canvas, 96, 64);
    const values = userRow(form, x);
    const count = Math.min(values.length, 24);
    context.fillStyle = look().accent;
    for (let i = 0; i < count; i++) {
      const height = 3 + 57 * share(values[i], i);
      context.fillRect(2 + (92 * i) / count, 62 - height, Math.max(1, 92 / count - 1.5), height);
    }
  }

  const expected = `a CSV file with ${names.length} numbers in a line`;
  async function read(file) {
    const { names: found, rows } = await readTable(file, expected);
    if (!rows.length) throw new Error(`"${file.name}" has no row: ${expected} was expected.`);
    const places = form.columns && found ? form.columns.map((name) => found.indexOf(name)) : names.map((_, i) => i);
    const missing = places.findIndex((at) => at < 0);
    if (missing >= 0) throw new Error(`"${file.name}" has no column "${names[missing]}": ${expected} was expected.`);
    const x = new Float32Array(names.length);
    const mask = new Uint8Array(names.length).fill(1);
    places.forEach((at, i) => {
      const text = (rows[0][at] ?? "").trim();
      if (text === "" && "mask" in (model.graphs.encoder?.inputs ?? {})) mask[i] = 0;
      else if (text === "" || Number.isNaN(Number(text))) {
        throw new Error(`"${file.name}" has ${text ? `"${text}"` : "nothing"} where a number of "${names[i]}" was expected.`);
      } else x[i] = modelValue(form, Number(text), Math.floor(i / each));
    });
    return { x, mask, name: file.name };
  }

  function Odd({ given, shown, found, usual }) {
    const [own, model] = [userRow(form, given.x), userRow(form, shown)];
    const items = surprises(found, usual).map(({ i, above }) => ({ name: names[i], value: short(own[i]), above, instead: short(model[i]) }));
    return <SurpriseList items={items} />;
  }

  const say = (x) => Array.from(userRow(form, x).slice(0, 6), (v, i) => `${names[i]} ${short(v)}`).join(", ");
  return { Whole, Odd, paint, read, say, accepts: form.unread ? null : expected, endings: ".csv,text/csv", ratio: 1.5 };
}
