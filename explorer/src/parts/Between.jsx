// Two anchors and a way between them: as a strip, as a film, as a GIF.

import { useEffect, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { saveGif } from "../gif.js";
import { Cell } from "./Cell.jsx";

const SECONDS = 3; // from A to B

export function Between({ session, view }) {
  const [a, b, way, playing, y, pinned, theme, drawn, noise] = ["a", "b", "way", "playing", "y", "pinned", "theme", "drawn", "noise"].map((name) => usePart(session, (s) => s[name]));
  const [strip, setStrip] = useState(null);
  const many = view.ratio > 1.2 ? 5 : 9; // wide cells need more room
  const [saving, setSaving] = useState(false);

  useEffect(() => {
    if (!a || !b) {
      setStrip(null);
      return undefined;
    }
    let wanted = true;
    session.attempt(async () => {
      const z = Array.from({ length: many }, (_, i) => session.along(i / (many - 1)));
      const { x, bins } = await session.rowsAt(z, y);
      if (wanted) setStrip(z.map((code, i) => ({ z: code, x: x[i], bins: bins?.[i] ?? null })));
    });
    return () => (wanted = false);
  }, [a, b, way, y, theme, drawn, noise]);

  useEffect(() => {
    if (!playing) return undefined;
    const start = performance.now();
    let frame = requestAnimationFrame(function step(now) {
      // There and back, slower at both ends.
      const t = (1 - Math.cos((Math.PI * Math.max(0, now - start)) / (1000 * SECONDS))) / 2;
      const z = session.along(t);
      const [u, v] = session.layout.place(z);
      session.look(z, { u, v });
      frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing]);

  const toggle = () => {
    session.set({ playing: !playing });
    if (playing) session.leave();
  };
  const gif = async () => {
    setSaving(true);
    await session.attempt(() => saveGif(session, view));
    setSaving(false);
  };
  const anchor = (name) => (
    <button class="plain" onClick={() => session.set({ [name]: pinned.z, playing: false })} disabled={!pinned} id={`set-${name}`}>
      Set {name.toUpperCase()} here{session.state[name] ? " ✓" : ""}
    </button>
  );
  return (
    <section class="card" aria-label="Between two places">
      <h2>Between two places</h2>
      <div class="buttons">
        {anchor("a")}
        {anchor("b")}
        <label>
          <span class="unseen">Way</span>
          <select value={way} onChange={(e) => session.set({ way: e.target.value })}>
            <option value="straight">straight way</option>
            <option value="round">round way</option>
          </select>
        </label>
        <button class="plain" onClick={() => session.set({ a: b, b: a, playing: false })} disabled={!a && !b} aria-label="Swap A and B">⇄</button>
      </div>
      {!strip && <p class="quiet">Pin a place and make it A. Pin another and make it B.</p>}
      {strip && (
        <>
          <div class="strip" style={{ "--ratio": view.ratio, "--many": many }}>
            {strip.map(({ z, x, bins }, i) => (
              <Cell key={i} view={view} x={x} bins={bins} onClick={() => session.pin(z)} label={i === 0 ? "A" : i === many - 1 ? "B" : `${i} of ${many - 1} parts of the way`} />
            ))}
          </div>
          <div class="buttons">
            <button onClick={toggle} id="play">{playing ? "❚❚ Stop" : "▶ Play"}</button>
            <button class="plain" onClick={gif} disabled={saving} id="gif">{saving ? "…" : "Save as GIF"}</button>
          </div>
        </>
      )}
    </section>
  );
}
