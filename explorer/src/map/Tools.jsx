// The row of controls over the map.

import { usePart } from "../use-part.js";
import { rowsAsCsv, save } from "../saving.js";

export function Tools({ session, zoomBy, inView }) {
  const layout = usePart(session, (s) => s.layout);
  const colour = usePart(session, (s) => s.colour);
  const tool = usePart(session, (s) => s.tool);
  const selected = usePart(session, (s) => s.selected);
  const { layouts, model } = session;
  const toFile = (rows) => save(rowsAsCsv(session, rows), `${model.name}-rows.csv`);
  return (
    <div class="tools">
      <label>
        <span>Layout</span>
        <select value={layout} onChange={(e) => session.set({ layout: Number(e.target.value), live: null, selected: null })} id="layout">
          {layouts.map((l, i) => <option key={i} value={i}>{l.name}</option>)}
        </select>
      </label>
      {model.map.colours.length > 0 && (
        <label>
          <span>Colour</span>
          <select value={colour ?? ""} onChange={(e) => session.set({ colour: e.target.value || null })} id="colour">
            <option value="">none</option>
            {model.map.colours.map((c) => <option key={c.name} value={c.name}>{c.name}</option>)}
          </select>
        </label>
      )}
      <span class="grow" />
      <span class="buttons">
        <button class="plain" aria-pressed={tool === "lasso"} onClick={() => session.set({ tool: tool === "lasso" ? "look" : "lasso" })} title="Draw around rows to choose them (or hold Shift)" id="lasso">Lasso</button>
        <button class="plain icon" onClick={() => zoomBy(1.5)} aria-label="Zoom in">+</button>
        <button class="plain icon" onClick={() => zoomBy(1 / 1.5)} aria-label="Zoom out">−</button>
        <button class="plain" onClick={() => zoomBy(0)}>All</button>
      </span>
      <div class="chosen" aria-live="polite">
        {tool === "lasso" && <span>Draw around the rows that you want.</span>}
        {selected && (
          <>
            <span>{selected.length === 1 ? "1 row chosen" : `${selected.length} rows chosen`}</span>
            {selected.length > 0 && <button onClick={() => toFile(selected)} id="save-rows">Save as CSV</button>}
            <button class="plain" onClick={() => session.set({ selected: null })}>Clear</button>
          </>
        )}
        {!selected && tool === "look" && <button class="link" onClick={() => session.set({ selected: inView() })}>Choose all rows in view</button>}
      </div>
    </div>
  );
}
