// What the colours of the points and the hatching of the ground mean.

import { usePart } from "../use-part.js";
import { ramp, hex } from "../look.js";
import { short } from "../conditions.js";
import { CellsLegend } from "./CellsLegend.jsx";

const MOST = 24; // classes that are listed

export function Legend({ session, colours: { about, colours } }) {
  const { layout } = session;
  const scale = Array.from({ length: 9 }, (_, i) => hex(ramp(i / 8))).join(",");
  return (
    <div class="legend">
      {about?.kind === "label" && (
        <ul aria-label={`Colours of ${about.name}`}>
          {about.classes.slice(0, MOST).map((c, i) => <li key={i}><i style={{ background: colours[i] }} />{String(c)}</li>)}
          {about.classes.length > MOST && <li class="quiet">and {about.classes.length - MOST} more</li>}
        </ul>
      )}
      {about?.kind === "number" && (
        <div class="scale"><span>{short(about.low)}</span><i style={{ background: `linear-gradient(90deg,${scale})` }} /><span>{short(about.high)}</span></div>
      )}
      {layout.cells ? <CellsLegend session={session} /> : <GroundLegend session={session} layout={layout} />}
    </div>
  );
}

function GroundLegend({ session, layout }) {
  const shading = usePart(session, (s) => s.shading);
  const { model } = session;
  const { rows, of } = model.map;
  return (
    <>
      {layout.trust && (
        <div class="scale trust-scale">
          <span><i />unlike any {model.row} seen</span><span><i />as normal as those seen</span>
        </div>
      )}
      <p class="quiet">
        {of > rows ? `${rows.toLocaleString("en")} of ${of.toLocaleString("en")} ${model.noun} are on the map. ` : `${rows.toLocaleString("en")} ${model.noun}. `}
        {layout.trust && (layout.ofPin ? "The hatching is of the plane through the pin, with its conditions, as they were. " : "The hatching is of the map's middle plane, with the conditions that the page starts with. ")}
        {!layout.linear && "This map is bent: a place stands for the codes near it."}
      </p>
      {session.judges && (
        <button class="link" onClick={() => session.shade()} disabled={shading} id="shade">{shading ? "Looking …" : "Hatch the map anew for the pin and its conditions"}</button>
      )}
    </>
  );
}
