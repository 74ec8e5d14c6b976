// The conditions as controls, and a button for a new sample.

import { useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { UNKNOWN, numberOf, seenTogether, short } from "../conditions.js";

const FEW = 12; // classes that are shown as buttons

export function Conditions({ session }) {
  const y = usePart(session, (s) => s.y);
  const [variety, setVariety] = useState(1);
  const { model, graphs } = session;
  const controls = model.conditions.filter((c) => c.kind !== "picture");
  const prior = model.graphs.prior;
  if (!controls.length && !prior) return null;
  const seen = seenTogether(model, y);
  return (
    <section class="card" aria-label="Conditions and samples">
      {controls.length > 0 && <h2>Conditions</h2>}
      {controls.map((c) => (c.kind === "label" ? <Label key={c.name} session={session} about={c} y={y} /> : <Numbers key={c.name} session={session} about={c} y={y} />))}
      {seen === 0 && <p class="warning">No {model.row} in the training data had these conditions together.</p>}
      {graphs.has("prior") && (
        <div class="sample">
          <button onClick={() => session.sample(variety)} id="sample">New sample</button>
          {"temperature" in prior.inputs && (
            <label class="slider">
              <span>Variety</span>
              <input type="range" min="0.2" max="1.4" step="0.05" value={variety} onInput={(e) => setVariety(Number(e.target.value))} />
              <output>{variety.toFixed(2)}</output>
            </label>
          )}
        </div>
      )}
    </section>
  );
}

function Label({ session, about, y }) {
  const now = y[about.name][0];
  const set = (index) => session.condition(about.name, Int32Array.of(index));
  if (about.classes.length > FEW) {
    return (
      <label class="condition">
        <span>{about.name}</span>
        <select value={now} onChange={(e) => set(Number(e.target.value))}>
          <option value={UNKNOWN}>unknown</option>
          {about.classes.map((c, i) => <option key={i} value={i}>{String(c)}</option>)}
        </select>
      </label>
    );
  }
  return (
    <fieldset class="condition">
      <legend>{about.name}</legend>
      <div class="choices">
        {about.classes.map((c, i) => <button key={i} class="plain" aria-pressed={now === i} onClick={() => set(i)}>{String(c)}</button>)}
      </div>
    </fieldset>
  );
}

function Numbers({ session, about, y }) {
  const { mean, scale, low, high, name } = about;
  const set = (i, value) => {
    const next = Float32Array.from(y[name]);
    next[i] = (value - mean[i]) / scale[i];
    session.condition(name, next);
  };
  return mean.map((_, i) => {
    const now = numberOf(about, y, i);
    const [from, to] = [low?.[i] ?? mean[i] - 3 * scale[i], high?.[i] ?? mean[i] + 3 * scale[i]];
    return (
      <label class="condition slider" key={i}>
        <span>{mean.length > 1 ? `${name} ${i + 1}` : name}</span>
        <input type="range" min={from} max={to} step={(to - from) / 200 || 1} value={Number.isFinite(now) ? now : mean[i]} onInput={(e) => set(i, Number(e.target.value))} />
        <output>{short(now)}</output>
      </label>
    );
  });
}
