// Action chunks: what a robot would do over the next steps, (actions, steps); one line for each of some draws.

import { useEffect, useState } from "preact/hooks";
import { userRow } from "../forms.js";
import { look, sharp } from "../look.js";
import { short } from "../conditions.js";
import { Painted, SurpriseList, surprises } from "./common.jsx";

const DRAWS = 20;

export function fan(form, session) {
  const { model } = session;
  const [actions, steps] = model.graphs.decoder.outputs.x.shape.slice(1);
  const units = { event: [actions, steps], low: null, high: null, step: null, ...form };
  const names = form.names ?? form.columns ?? Array.from({ length: actions }, (_, i) => `action ${i + 1}`);
  const seconds = form.fps ? ` over ${short(steps / form.fps, 2)} s` : ` over ${steps} steps`;

  function panel(canvas, i, lines, wide = 220, high = 84) {
    const context = sharp(canvas, wide, high);
    const all = lines.flatMap(({ values }) => Array.from(values.subarray(i * steps, (i + 1) * steps)));
    const [low, high2] = [Math.min(...all), Math.max(...all)];
    const range = high2 - low || 1;
    for (const { values, colour, width } of lines) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      for (let t = 0; t < steps; t++) {
        context.lineTo(3 + ((wide - 6) * t) / (steps - 1 || 1), high - 5 - ((high - 10) * (values[i * steps + t] - low)) / range);
      }
      context.stroke();
    }
  }

  // What the prior would do in the same situation: drawn once for each situation.
  function useDraws(y) {
    const [draws, setDraws] = useState([]);
    useEffect(() => {
      let wanted = true;
      session.attempt(async () => {
        if (!session.graphs.has("prior")) return;
        const z = await session.graphs.sample(DRAWS, y, 7, 1);
        const { x } = await session.graphs.decode(z, y);
        if (wanted) setDraws(x.map((row) => userRow(units, row)));
      });
      return () => (wanted = false);
    }, [y]);
    return draws;
  }

  function Whole({ x, beside, y }) {
    const draws = useDraws(y);
    const { accent, soft, line, ink } = look();
    const lines = [
      ...draws.map((values) => ({ values, colour: soft, width: 0.6 })),
      ...(beside ? [{ values: userRow(units, beside.x), colour: ink, width: 1.25 }] : []),
      { values: userRow(units, x), colour: accent, width: 2.25 },
    ];
    return (
      <div>
        <p class="quiet">
          Thick: this place{seconds}. Thin: {draws.length} others that the model finds likely here.{beside && " Dark: what was done."}
        </p>
        <div class="fans">
          {names.slice(0, actions).map((name, i) => (
            <figure key={i} style={{ borderColor: line }}>
              <Painted paint={(c) => panel(c, i, lines)} what={[x, draws, beside]} label={`${name}, ${draws.length + 1} ways`} width={220} height={84} />
              <figcaption>{name}</figcaption>
            </figure>
          ))}
        </div>
      </div>
    );
  }

  function paint(canvas, x) {
    const context = sharp(canvas, 96, 64);
    const values = userRow(units, x);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    for (let i = 0; i < Math.min(actions, 14); i++) {
      context.strokeStyle = look().accent;
      context.globalAlpha = 0.7;
      context.beginPath();
      for (let t = 0; t < steps; t++) {
        context.lineTo(2 + (92 * t) / (steps - 1 || 1), 61 - (58 * (values[i * steps + t] - low)) / (high - low || 1));
      }
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  const read = async (file) => {
    throw new Error(`"${file.name}" cannot be read: a situation of a robot is more than one file. Choose a row on the map.`);
  };

  function Odd({ given, shown, found, usual }) {
    const [own, model] = [userRow(units, given.x), userRow(units, shown)];
    const items = surprises(found, usual).map(({ i, above }) => ({
      name: `${names[Math.floor(i / steps)]} at step ${i % steps}`, value: short(own[i]), above, instead: short(model[i]),
    }));
    return <SurpriseList items={items} />;
  }

  const say = (x) => {
    const values = userRow(units, x);
    return names.slice(0, 4).map((name, i) => `${name} from ${short(values[i * steps])} to ${short(values[(i + 1) * steps - 1])}`).join(", ");
  };
  return { Whole, Odd, paint, read, say, accepts: null, endings: "", ratio: 1.5 };
}
