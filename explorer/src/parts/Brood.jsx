// Children: codes near the pin, or between and around two parents, and what they decode to. What they are worth, the page cannot
// know: the objective is code of the user.

import { useEffect, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { between, near } from "../maths/brood.js";
import { variances } from "../maths/places.js";
import { Cell } from "./Cell.jsx";

const COUNT = 12;

export function Brood({ session, view }) {
  const [pinned, a, b] = ["pinned", "a", "b"].map((name) => usePart(session, (s) => s[name]));
  const parent = (name) => (
    <button class="plain" onClick={() => session.set({ [name]: pinned.z, playing: false })} disabled={!pinned} id={`parent-${name}`}>
      Parent {name.toUpperCase()}: the pin{session.state[name] ? " ✓" : ""}
    </button>
  );
  return (
    <>
      <Children session={session} view={view} title="Children" id="children" parents={pinned && [pinned.z]}>
        <p class="quiet">Small random changes of the pin. Choose one to go there.</p>
      </Children>
      <Children session={session} view={view} title="Breed two" id="breed" parents={a && b && [a, b]}>
        <div class="buttons">{parent("a")}{parent("b")}</div>
        <p class="quiet">{a && b ? "Children between and around A and B: those most like A come first." : "Pin an elite and make it a parent. Pin another and make it the other."}</p>
      </Children>
    </>
  );
}

function Children({ session, view, title, id, parents, children }) {
  const [pinned, theme, drawn, noise] = ["pinned", "theme", "drawn", "noise"].map((name) => usePart(session, (s) => s[name]));
  const [step, setStep] = useState(0.3);
  const [seed, setSeed] = useState(1);
  const [found, setFound] = useState(null);
  const y = pinned?.y;
  useEffect(() => {
    if (!parents) {
      setFound(null);
      return undefined;
    }
    let wanted = true;
    const timer = setTimeout(() => session.attempt(async () => {
      const z = brood(session, parents, step, seed);
      const { x, bins } = await session.rowsAt(z, y);
      const cells = z.map((code, i) => ({ z: code, x: x[i], bins: bins?.[i] ?? null, p: null }));
      if (wanted) setFound(cells);
      if (!session.judges || !wanted) return;
      const typical = session.state.drawn ? (await session.graphs.decode(z, y)).x : x;
      const trust = await session.trustOfPlaces(z.map((code, i) => ({ z: code, x: x[i], typical: typical[i] })), y);
      if (wanted) setFound(cells.map((cell, i) => ({ ...cell, p: trust[i].p })));
    }), 30);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [...(parents ?? []), parents?.length, y, step, seed, theme, drawn, noise]);
  const { level } = session.model.map.archive;
  const odd = found?.some(({ p }) => p !== null && p < level);
  return (
    <section class="card" aria-label={title} id={id}>
      <h2>{title}</h2>
      {children}
      {found && (
        <>
          <div class="brood" style={{ "--ratio": view.ratio }}>
            {found.map(({ z, x, bins, p }, i) => (
              <Cell key={i} view={view} x={x} bins={bins} odd={p !== null && p < level} onClick={() => session.pin(z, { y })} label={`Child ${i + 1}${p === null ? "" : `, p = ${p.toFixed(3)}`}`} />
            ))}
          </div>
          <div class="sample">
            <button onClick={() => setSeed(seed + 1)}>New children</button>
            <label class="slider">
              <span>Change</span>
              <input type="range" min="0.05" max="1.5" step="0.05" value={step} onInput={(e) => setStep(Number(e.target.value))} />
              <output>{step.toFixed(2)}</output>
            </label>
          </div>
          {odd && <p class="quiet">Pale children have p below {level}: the model does not read them as the code that they came from.</p>}
        </>
      )}
    </section>
  );
}

function brood(session, parents, step, seed) {
  session.spreads ??= variances(session.codes).map(Math.sqrt);
  return parents.length === 1 ? near(parents[0], session.spreads, step, COUNT, seed) : between(...parents, session.spreads, step, COUNT, seed);
}
