// Rows of a table: each column's value, and the distribution that it was taken from.

import { scoreOfValue, valueOfScore } from "../forms.js";
import { readTable } from "../files/table.js";
import { short } from "../conditions.js";
import { look, sharp } from "../look.js";
import { Painted, SurpriseList, surprises } from "./common.jsx";

const DAY = 86_400_000;
const MILLISECONDS = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };

function written(column, value) {
  const { type = "", origin = null } = column;
  const moment = /^timestamp\[(\w+)/.exec(type);
  const date = moment
    ? (value + (origin ?? 0)) * MILLISECONDS[moment[1]]
    : /^date32/.test(type) ? (value + (origin ?? 0)) * DAY : /^date64/.test(type) ? value + (origin ?? 0) : null;
  if (date !== null) {
    const text = Math.abs(date) <= 8.64e15 ? new Date(date).toISOString() : short(value);
    return /^date/.test(type) || text.endsWith("T00:00:00.000Z") ? text.slice(0, 10) : text.slice(0, 19).replace("T", " ");
  }
  const user = value + (origin ?? 0);
  return /int/.test(type) ? String(Math.round(user)) : short(user, 5);
}

function readNumber(column, text) {
  const { type = "", origin = null } = column;
  const moment = /^timestamp\[(\w+)/.exec(type);
  if (moment || /^date/.test(type)) {
    const at = Date.parse(/\d{2}:\d{2}/.test(text) && !/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? `${text.replace(" ", "T")}Z` : text);
    const unit = moment ? MILLISECONDS[moment[1]] : /^date32/.test(type) ? DAY : 1;
    return at / unit - (origin ?? 0);
  }
  return Number(text) - (origin ?? 0);
}

export function columns(form, session) {
  const { columns: all, gaps, bins: edges } = form;
  const width = session.model.graphs.decoder?.outputs.bins?.shape[2] ?? 0;
  const flag = (j) => all.length + gaps.indexOf(j);
  const missing = (x, j) => gaps.includes(j) && x[flag(j)] > 1.5;

  function valueOf(x, j) {
    const column = all[j];
    if (missing(x, j)) return "missing";
    if (column.kind === "classes") return String(column.classes[Math.round(x[j]) - 1] ?? "unknown");
    return written(column, valueOfScore(column, x[j]));
  }

  const many = (j) => (all[j].kind === "classes" ? all[j].classes.length : edges.length - 1);
  const spread = (bins, j) => bins.subarray(j * width, j * width + Math.min(many(j), width));

  // Where a value stands among the bars of its column.
  function placeOf(x, j) {
    if (missing(x, j)) return -1;
    if (all[j].kind === "classes") return Math.round(x[j]) - 1;
    let i = 0;
    while (i < edges.length - 2 && x[j] >= edges[i + 1]) i++;
    return i;
  }

  function bars(canvas, values, at, wide = 132, high = 26) {
    const context = sharp(canvas, wide, high);
    const most = Math.max(...values) || 1;
    const step = wide / values.length;
    values.forEach((value, i) => {
      const height = Math.max(value > 0.002 ? 1 : 0.5, (high - 1) * (value / most));
      context.fillStyle = i === at ? look().accent : look().tint;
      context.fillRect(i * step, high - height, Math.max(1, step - (step > 3 ? 1 : 0)), height);
    });
  }

  function fitting(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let end = Math.min(text.length, 40);
    while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end--;
    return `${text.slice(0, end)}…`;
  }

  function likely(bins, j) {
    const values = spread(bins, j);
    const order = Array.from(values, (p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const name = (i) => {
      if (all[j].kind === "classes") return String(all[j].classes[i]);
      return `${written(all[j], valueOfScore(all[j], edges[i]))} to ${written(all[j], valueOfScore(all[j], edges[i + 1]))}`;
    };
    return order.map(([p, i]) => `${name(i)}: ${Math.round(100 * p)} %`).join(", ");
  }

  function Whole({ x, bins, beside }) {
    return (
      <div class="scroll">
        <table class="row">
          <thead><tr><th>Column</th>{beside && <th>Itself</th>}<th>Shown</th>{bins && <th>How likely</th>}</tr></thead>
          <tbody>
            {all.map((column, j) => (
              <tr key={j}>
                <th scope="row" title={column.name}>{column.name}</th>
                {beside && <td class={missing(beside.x, j) || (beside.mask && !beside.mask[j]) ? "quiet" : ""}>{beside.mask && !beside.mask[j] ? "not given" : valueOf(beside.x, j)}</td>}
                <td class={missing(x, j) ? "quiet" : "value"} title={valueOf(x, j)}>{valueOf(x, j)}</td>
                {bins && (
                  <td class="spread" title={likely(bins, j)}>
                    <Painted paint={(c) => bars(c, spread(bins, j), placeOf(x, j))} what={[bins, x]} label={likely(bins, j)} width={132} height={26} />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    );
  }

  function paint(canvas, x, bins) {
    const context = sharp(canvas, 120, 84);
    const count = Math.min(all.length, 6);
    const line = 84 / count;
    context.font = `10px ${look().font}`;
    context.textBaseline = "middle";
    for (let j = 0; j < count; j++) {
      const bottom = (j + 1) * line - 2;
      context.fillStyle = look().ink;
      context.fillText(fitting(context, valueOf(x, j), bins ? 62 : 112), 5, bottom - line / 2 + 1.5);
      if (!bins) continue;
      const values = spread(bins, j);
      const most = Math.max(...values) || 1;
      const [step, high] = [46 / values.length, Math.min(line - 4, 14)];
      values.forEach((p, i) => {
        context.fillStyle = i === placeOf(x, j) ? look().accent : look().tint;
        context.fillRect(71 + step * i, bottom - high * (p / most), Math.max(0.8, step - (step > 3 ? 0.7 : 0)), high * (p / most));
      });
    }
  }

  const named = `a CSV file with the columns ${all.slice(0, 4).map((c) => `"${c.name}"`).join(", ")}${all.length > 4 ? " …" : ""}`;
  async function read(file) {
    const { names, rows } = await readTable(file, named);
    if (!names || !all.some((c) => names.includes(c.name))) throw new Error(`"${file.name}" has none of the model's columns: ${named} was expected.`);
    if (!rows.length) throw new Error(`"${file.name}" has no row below its names: ${named} was expected.`);
    const x = new Float32Array(all.length + gaps.length);
    const mask = new Uint8Array(x.length).fill(1);
    all.forEach((column, j) => {
      const at = names.indexOf(column.name);
      const text = at < 0 ? null : (rows[0][at] ?? "").trim();
      if (gaps.includes(j)) x[flag(j)] = text === "" ? 2 : 1;
      if (text === null || text === "") {
        mask[j] = 0;
        if (text === null && gaps.includes(j)) mask[flag(j)] = 0;
      } else if (column.kind === "classes") {
        const found = column.classes.findIndex((c) => String(c) === text);
        if (found < 0) throw new Error(`"${file.name}": the column "${column.name}" has no class "${text}". It has ${column.classes.slice(0, 6).join(", ")}${column.classes.length > 6 ? " …" : ""}.`);
        x[j] = found + 1;
      } else {
        const value = readNumber(column, text);
        if (!Number.isFinite(value)) throw new Error(`"${file.name}": "${text}" is not a value of the column "${column.name}".`);
        x[j] = scoreOfValue(column, value);
      }
    });
    return { x, mask, name: rows.length > 1 ? `${file.name}, row 1 of ${rows.length}` : file.name };
  }

  function Odd({ given, shown, found, usual }) {
    const items = surprises(found, usual)
      .filter(({ i }) => i < all.length)
      .map(({ i, above }) => ({ name: all[i].name, value: valueOf(given.x, i), above, instead: valueOf(shown, i) }));
    return <SurpriseList items={items} />;
  }

  const say = (x) => all.slice(0, 8).map((c, j) => `${c.name} ${valueOf(x, j)}`).join(", ");
  return { Whole, Odd, paint, read, say, accepts: named, endings: ".csv,text/csv", ratio: 120 / 84 };
}
