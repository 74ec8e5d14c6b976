// What the model makes of the place under the hand or of the pin, how far to trust it, and what the row itself is.

import { useEffect, useState } from "preact/hooks";
import { usePart } from "../use-part.js";
import { wordsOf } from "../conditions.js";
import { words } from "../maths/trust.js";
import { Known, trustOfElite } from "./Known.jsx";
import { Trust } from "./Trust.jsx";

export function Shown({ session, view }) {
  const shown = usePart(session, (s) => s.shown);
  const live = usePart(session, (s) => s.live);
  const pinned = usePart(session, (s) => s.pinned);
  const trust = usePart(session, (s) => s.trust);
  const drawn = usePart(session, (s) => s.drawn);
  const playing = usePart(session, (s) => s.playing);
  const theme = usePart(session, (s) => s.theme);
  if (!shown) return <section class="card shown" aria-label="Shown" aria-busy="true"><p class="quiet">One moment …</p></section>;
  const { model } = session;
  const here = !live && !playing && pinned;
  const elite = live ? live.row ?? null : null; // under the hand, of an archive
  const row = elite ?? (here ? pinned.row : null);
  const own = model.map.archive && row !== null ? trustOfElite(session, row) : null;
  const beside = elite !== null ? session.rowItself(elite) : here ? pinned.given : null;
  const title = playing ? "On the way from A to B" : elite !== null ? session.nameOf(elite) : live ? "Under the cross" : pinned?.given?.name ?? (pinned?.row != null ? session.nameOf(pinned.row) : "The pinned place");
  return (
    <section class="card shown" aria-label="Shown">
      <header>
        <h2>{title}</h2>
        {session.graphs.has("draw") && (
          <span class="buttons">
            <button class="plain" aria-pressed={drawn} onClick={() => { session.set({ drawn: !drawn }); session.again(); }} title="A draw varies as real rows do; the typical row is the middle of them">
              {drawn ? "A draw" : "The typical row"}
            </button>
            {drawn && <button class="plain" onClick={() => { session.set({ noise: session.state.noise + 1 }); session.again(); }}>Draw again</button>}
          </span>
        )}
      </header>
      <view.Whole key={theme} x={shown.x} bins={shown.bins} y={shown.y} beside={beside} besideName={beside?.name} />
      {(session.judges || own) && <Trust trust={own ?? trust} noun={model.noun} />}
      {here && pinned.row !== null && !pinned.given && <p class="quiet">This {model.row} itself is not part of the page. What is shown is its reconstruction.</p>}
      {here && model.conditions.length > 0 && (
        <dl class="facts">
          {model.conditions.filter((c) => c.kind !== "picture").map((c) => <div key={c.name}><dt>{c.name}</dt><dd>{wordsOf(c, shown.y)}</dd></div>)}
        </dl>
      )}
      {model.map.archive && row !== null && <Known session={session} row={row} />}
      {beside && here && <Itself session={session} view={view} pinned={pinned} shown={shown} />}
      <Spoken text={trust || !session.judges ? `${title}: ${view.say(shown.x)}. ${trust ? words(trust.p, model.noun).text : ""}` : ""} />
    </section>
  );
}

// Of a row that the page has: how normal it is, and what makes it odd.
function Itself({ session, view, pinned, shown }) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let wanted = true;
    setFound(null);
    session.attempt(async () => {
      const result = await session.examine(pinned.given, pinned.y);
      if (wanted) setFound(result);
    });
    return () => (wanted = false);
  }, [pinned]);
  const { model } = session;
  if (!found) return null;
  return (
    <div class="itself">
      <Trust trust={found} noun={model.noun} title={`The ${model.row} itself`} />
      <details open={found.p < 0.05}><summary>What is odd about it</summary><view.Odd given={pinned.given} shown={shown.x} found={found} usual={session.tensors.usual?.data} /></details>
    </div>
  );
}

// For screen readers: what is shown, once the hand rests. It stays out of sight.
function Spoken({ text }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!text) return undefined;
    const timer = setTimeout(() => setSaid(text), 400);
    return () => clearTimeout(timer);
  }, [text]);
  return <p class="unseen" role="status" aria-live="polite">{said}</p>;
}
