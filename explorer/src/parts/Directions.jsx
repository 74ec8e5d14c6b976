// Five directions from the pin, those that change the row the most first, as rows of small pictures.

import { useEffect, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { strongest, widest } from "../maths/directions.js";
import { dot } from "../maths/places.js";
import { Cell } from "./Cell.jsx";

const [COUNT, REACH, STEP, NEIGHBOURS] = [5, 2, 0.05, 64];

export function Directions({ session, view }) {
  const pinned = usePart(session, (s) => s.pinned);
  const [theme, drawn, noise] = ["theme", "drawn", "noise"].map((name) => usePart(session, (s) => s[name]));
  const [found, setFound] = useState(null);
  useEffect(() => {
    if (!pinned) return undefined;
    let wanted = true;
    const timer = setTimeout(() => session.attempt(async () => {
      const result = await directionsFrom(session, view, pinned);
      if (wanted) setFound(result);
    }), 30);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [pinned, theme, drawn, noise]);
  if (!found) return null;
  const most = Math.max(...found.lines.map((l) => l.effect)) || 1;
  return (
    <section class="card" aria-label="Directions">
      <h2>Where to go from here</h2>
      <p class="quiet">
        {found.measured ? `Each line changes the ${session.model.row} in one way, the strongest first. ` : "Each line is a way in which the nearby codes differ, the widest first. "}
        The middle is the pin. Choose one to go there.
      </p>
      <div class="grid-of-cells" style={{ "--ratio": view.ratio }}>
        {found.lines.map(({ effect, cells }, i) => (
          <div class="cells" key={i} role="group" aria-label={`Direction ${i + 1}`}>
            <span class="effect" title={`Strength ${Math.round((100 * effect) / most)} % of the strongest`}><i style={{ height: `${(100 * effect) / most}%` }} /></span>
            {cells.map(({ z, x, bins, step }) => (
              <Cell key={step} view={view} x={x} bins={bins} here={step === 0} onClick={() => step !== 0 && session.pin(z)} label={step === 0 ? "The pin" : `Direction ${i + 1}, ${step > 0 ? "+" : "−"}${Math.abs(step)}`} />
            ))}
          </div>
        ))}
      </div>
    </section>
  );
}

async function directionsFrom(session, view, { z, y }) {
  const { graphs } = session;
  const measured = !view.discrete;
  let lines;
  if (measured) {
    const moved = Array.from(z, (_, i) => Float32Array.from(z, (value, j) => value + (i === j ? STEP : 0)));
    const { x, bins } = await graphs.decode([z, ...moved], y);
    lines = strongest(bins ?? x, STEP, COUNT); // chances change smoothly where values jump
  } else lines = widest(nearbyCodes(session.codes, z), COUNT);
  const spread = lines.map(({ direction }) => 0.75 * spreadAlong(session.codes, direction));
  const steps = Array.from({ length: 2 * REACH + 1 }, (_, i) => i - REACH);
  const places = lines.flatMap(({ direction }, k) => steps.map((step) => z.map((value, i) => value + step * spread[k] * direction[i])));
  const { x, bins } = await session.rowsAt(places, y);
  const cell = (at, step) => ({ z: places[at], x: x[at], bins: bins?.[at] ?? null, step });
  return { measured, lines: lines.map((line, k) => ({ ...line, cells: steps.map((step, i) => cell(k * steps.length + i, step)) })) };
}

// How far the codes of the map reach along a direction: the step is a part of it.
function spreadAlong(codes, direction) {
  const every = Math.max(1, Math.floor(codes.length / 2000));
  const values = codes.filter((_, i) => i % every === 0).map((code) => dot(code, direction));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length) || 1;
}

function nearbyCodes(codes, z) {
  const far = (code) => code.reduce((s, v, i) => s + (v - z[i]) ** 2, 0);
  return codes.map((code) => [far(code), code]).sort((a, b) => a[0] - b[0]).slice(0, NEIGHBOURS).map(([, code]) => code);
}
