// Places that were pinned, the newest last, with steps back and forward.

import { useEffect, useRef, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { Cell } from "./Cell.jsx";

export function History({ session, view }) {
  const history = usePart(session, (s) => s.history);
  const at = usePart(session, (s) => s.at);
  const theme = usePart(session, (s) => s.theme);
  const [, again] = useState(0);
  const rows = useRef(new WeakMap());
  const list = useRef();
  useEffect(() => {
    const missing = history.filter((pin) => !rows.current.has(pin));
    if (!missing.length) return;
    session.attempt(async () => {
      for (const pin of missing) {
        const { x, bins } = await session.rowsAt([pin.z], pin.y);
        rows.current.set(pin, { x: x[0], bins: bins?.[0] ?? null });
      }
      again((n) => n + 1);
      if (list.current) list.current.scrollLeft = list.current.scrollWidth;
    });
  }, [history]);
  if (history.length < 2) return null;
  return (
    <section class="card" aria-label="History">
      <header>
        <h2>Where you have been</h2>
        <span class="buttons">
          <button class="plain" onClick={() => session.go(at - 1)} disabled={at <= 0} id="back">← Back</button>
          <button class="plain" onClick={() => session.go(at + 1)} disabled={at >= history.length - 1} id="forward">Forward →</button>
        </span>
      </header>
      <div class="trail" ref={list} style={{ "--ratio": view.ratio }} key={theme}>
        {history.map((pin, i) => {
          const row = rows.current.get(pin);
          const name = pin.given?.name ?? (pin.row !== null ? session.nameOf(pin.row) : "a place");
          return row && <Cell key={i} view={view} x={row.x} bins={row.bins} here={i === at} onClick={() => session.go(i)} label={`${i + 1}: ${name}`} />;
        })}
      </div>
    </section>
  );
}
