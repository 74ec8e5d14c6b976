// The map of the codes. Four canvases lie over one another: the ground, the points, their pictures, and what moves with the hand.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { sharp } from "../look.js";
import { View, extentOf } from "./view.js";
import { coloursOf } from "./colours.js";
import { fastPoints, hasWebGL, plainPoints } from "./points.js";
import { cellPoints } from "./cells.js";
import { drawGround, groundImage } from "./ground.js";
import { drawMoving, drawRows, makeThumbs } from "./over.js";
import { gestures, rowsInside } from "./gestures.js";
import { Legend } from "./Legend.jsx";
import { Tools } from "./Tools.jsx";

export function LatentMap({ session, rows }) {
  const box = useRef();
  const [ground, points, pictures, moving] = [useRef(), useRef(), useRef(), useRef()];
  const [colour, tool, theme] = [(s) => s.colour, (s) => s.tool, (s) => s.theme].map((pick) => usePart(session, pick));
  usePart(session, (s) => s.layout);
  const selected = usePart(session, (s) => s.selected);
  const view = useMemo(() => new View(), []);
  const thumbs = useMemo(() => makeThumbs(session), []);
  const [fast] = useState(hasWebGL);
  const inner = useRef({ lasso: null });
  const hands = useRef();
  const layout = session.layout;
  const extent = useMemo(() => extentOf(layout), [layout]);
  const shaded = usePart(session, (s) => s.shaded);
  const image = useMemo(() => groundImage(layout), [layout, theme, shaded]);
  const colours = useMemo(() => coloursOf(session, colour), [colour]);
  inner.current.extent = extent;
  inner.current.image = image;
  inner.current.layout = layout;

  const redraw = () => drawMoving(sharp(moving.current, view.width, view.height), session, view, inner.current.lasso);
  const drawAll = () => {
    drawGround(sharp(ground.current, view.width, view.height), inner.current.image, inner.current.layout.extent, view);
    inner.current.points?.draw(view);
    drawRows(sharp(pictures.current, view.width, view.height), session, view, thumbs);
    redraw();
  };
  const soon = () => {
    inner.current.frame ??= requestAnimationFrame(() => {
      inner.current.frame = undefined;
      drawAll();
    });
  };
  const changed = (whole) => {
    if (whole) view.fit(inner.current.extent);
    soon();
  };

  useLayoutEffect(() => {
    view.resize(box.current.clientWidth, box.current.clientHeight);
    inner.current.points = (layout.cells ? cellPoints(session) : fast ? fastPoints : plainPoints)(points.current);
    const watch = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = box.current;
      if (!width || (width === view.width && height === view.height)) return;
      view.resize(width, height);
      soon();
    });
    watch.observe(box.current);
    const lassoed = (ring, done) => {
      inner.current.lasso = done ? null : ring;
      if (done) session.set({ selected: ring.length > 2 ? rowsInside(session.layout, ring) : null, tool: "look" });
      else soon();
    };
    hands.current = gestures(box.current, session, view, changed, lassoed);
    return () => {
      watch.disconnect();
      hands.current.stop();
      inner.current.points.stop();
    };
  }, []);

  useLayoutEffect(() => {
    view.fit(extent);
    soon();
  }, [layout]);
  useEffect(() => {
    inner.current.points.set(layout.points, colours, extent, view).then(soon, (e) => session.say(e.message));
  }, [layout, colours]);
  useLayoutEffect(() => session.listen(redraw), []);
  useLayoutEffect(soon, [image, selected, theme]);

  const label = `Map of ${session.codes.length} codes, ${layout.name}. Arrow keys move the cross, Enter pins it, N pins the nearest ${session.model.row}, plus and minus zoom.`;
  return (
    <section class="card map-card" aria-label="Map">
      <Tools session={session} zoomBy={(f) => hands.current.zoomBy(f)} inView={() => rowsInView(session, view)} />
      <div ref={box} class={`map ${tool}`} tabindex="0" role="application" aria-roledescription="map" aria-label={label} data-map>
        <canvas ref={ground} aria-hidden="true" />
        <canvas ref={points} aria-hidden="true" />
        <canvas ref={pictures} aria-hidden="true" />
        <canvas ref={moving} aria-hidden="true" />
        <Peek session={session} paint={rows.paint} />
        <span class="hint" aria-hidden="true">Arrow keys move the cross. Enter pins. N: nearest {session.model.row}. + − 0: zoom.</span>
        {layout.axes && <span class="axis across">{layout.axes[0]}</span>}
        {layout.axes && <span class="axis up">{layout.axes[1]}</span>}
      </div>
      <Legend session={session} colours={colours} />
      {!fast && !layout.cells && <p class="quiet">This browser has no WebGL, so the map is drawn without the graphics card. It may be slower.</p>}
    </section>
  );
}

// On a phone, what a finger decodes is shown in a corner of the map, away from the hand; the row in full is further below.
function Peek({ session, paint }) {
  const ref = useRef();
  const live = usePart(session, (s) => s.live);
  const shown = usePart(session, (s) => s.shown);
  useLayoutEffect(() => {
    if (live && shown && ref.current.offsetParent) paint(ref.current, shown.x, shown.bins);
  }, [live, shown]);
  const middle = live && shown ? (session.layout.extent?.[0] + session.layout.extent?.[1]) / 2 : 0;
  return <canvas ref={ref} class={`peek ${live?.u < middle ? "right" : "left"} pixels`} hidden={!live} aria-hidden="true" />;
}

function rowsInView({ layout: { points } }, view) {
  const rows = [];
  for (let row = 0; row < points.length / 2; row++) {
    const [x, y] = view.toScreen(points[2 * row], points[2 * row + 1]);
    if (x >= 0 && y >= 0 && x <= view.width && y <= view.height) rows.push(row);
  }
  return rows;
}
