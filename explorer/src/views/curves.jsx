// Series: (channels, times) in model units, as curves.

import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { modelValue, userRow } from "../forms.js";
import { readTable } from "../files/table.js";
import { short } from "../conditions.js";
import { CLASSES, look, sharp } from "../look.js";
import { SurpriseList, surprises } from "./common.jsx";

const MOST = 12; // channels that are named below the curves

export function curves(form, session) {
  const [channels, times] = form.event;
  const names = form.columns ?? Array.from({ length: channels }, (_, c) => (channels > 1 ? `channel ${c + 1}` : "value"));
  const ticks = Array.from({ length: times }, (_, t) => t);
  const channel = (values, c) => Array.from(values.subarray(c * times, (c + 1) * times));
  const data = (x, beside) => {
    const parts = [userRow(form, x), ...(beside ? [userRow(form, beside)] : [])];
    return [ticks, ...parts.flatMap((values) => names.map((_, c) => channel(values, c)))];
  };

  function Whole({ x, beside }) {
    const box = useRef();
    const plot = useRef();
    const own = beside?.x ?? null;
    useLayoutEffect(() => {
      const { soft, line, font } = look();
      const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: `11px ${font}` };
      const series = (again) => names.map((name, c) => ({
        label: again ? `${name}, itself` : name,
        stroke: CLASSES[c % CLASSES.length],
        width: again ? 1 : 2,
        dash: again ? [4, 4] : undefined,
        points: { show: false },
      }));
      const size = () => ({ width: box.current.clientWidth, height: 260 });
      plot.current = new uPlot({
        ...size(),
        scales: { x: { time: false } },
        axes: [axis, { ...axis, size: 56 }],
        series: [{ label: "time" }, ...series(false), ...(own ? series(true) : [])],
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
      }, data(x, own), box.current);
      const watch = new ResizeObserver(() => plot.current.setSize(size()));
      watch.observe(box.current);
      return () => {
        watch.disconnect();
        plot.current.destroy();
      };
    }, [own === null, session.state.theme]);
    useLayoutEffect(() => plot.current.setData(data(x, own)), [x, own]);
    return (
      <div class="legend">
        <div ref={box} class="curves" role="img" aria-label={`The decoded ${session.model.row} as ${channels > 1 ? `${channels} curves` : "a curve"}`} />
        <ul>
          {names.slice(0, MOST).map((name, c) => <li key={c}><i style={{ background: CLASSES[c % CLASSES.length] }} />{name}</li>)}
          {channels > MOST && <li class="quiet">and {channels - MOST} more</li>}
          {own && <li class="quiet">Dashed: itself</li>}
        </ul>
      </div>
    );
  }

  function paint(canvas, x) {
    const context = sharp(canvas, 96, 60);
    const values = userRow(form, x);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    for (let c = 0; c < Math.min(channels, 6); c++) {
      context.strokeStyle = CLASSES[c % CLASSES.length];
      context.lineWidth = 1.25;
      context.beginPath();
      for (let t = 0; t < times; t++) {
        context.lineTo(2 + (92 * t) / (times - 1 || 1), 57 - (54 * (values[c * times + t] - low)) / (high - low || 1));
      }
      context.stroke();
    }
  }

  const expected = `a CSV file with ${channels === 1 ? "one column" : `${channels} columns`} and ${times} lines`;
  async function read(file) {
    const { names: found, rows } = await readTable(file, expected);
    if (rows.length < times) throw new Error(`"${file.name}" has ${rows.length} lines of numbers: ${expected} was expected.`);
    const places = found && names.every((name) => found.includes(name)) ? names.map((name) => found.indexOf(name)) : names.map((_, c) => c);
    const gappy = "mask" in (session.model.graphs.encoder?.inputs ?? {});
    const x = new Float32Array(channels * times);
    const mask = new Uint8Array(x.length).fill(1);
    for (let c = 0; c < channels; c++) {
      for (let t = 0; t < times; t++) {
        const text = (rows[t][places[c]] ?? "").trim();
        if (text === "" && gappy) mask[c * times + t] = 0;
        else if (text === "" || Number.isNaN(Number(text))) throw new Error(`"${file.name}", line ${t + 1}, has no number for "${names[c]}": ${expected} was expected.`);
        else x[c * times + t] = modelValue(form, Number(text), c);
      }
    }
    return { x, mask, name: file.name };
  }

  function Odd({ given, shown, found, usual }) {
    const [own, model] = [userRow(form, given.x), userRow(form, shown)];
    const items = surprises(found, usual).map(({ i, above }) => ({
      name: `${names[Math.floor(i / times)]} at ${i % times}`, value: short(own[i]), above, instead: short(model[i]),
    }));
    return <SurpriseList items={items} />;
  }

  const say = (x) => {
    const values = userRow(form, x);
    return names.slice(0, 4).map((name, c) => {
      const part = channel(values, c);
      return `${name} from ${short(Math.min(...part))} to ${short(Math.max(...part))}`;
    }).join(", ");
  };
  return { Whole, Odd, paint, read, say, accepts: expected, endings: ".csv,text/csv", ratio: 1.6 };
}
