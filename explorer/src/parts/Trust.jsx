// How far to trust what is shown: in words, as a bar, and as the number behind them.

import { words } from "../maths/trust.js";
import { short } from "../conditions.js";

export function Trust({ trust, noun, title = "Trust" }) {
  const { level, text } = trust ? words(trust.p, noun) : { level: "waiting", text: " " };
  const numbers = trust ? `p = ${trust.p.toFixed(trust.p < 0.1 ? 3 : 2)}` : "";
  return (
    <div class={`trust ${level}`} data-p={trust?.p} data-score={trust?.score}>
      <div class="line">
        <strong>{title}</strong>
        <span class="word">{trust ? level : "…"}</span>
        <span class="grow" />
        <span class="quiet number" title={trust ? `${trust.score === undefined ? "" : `Score ${short(trust.score)}. `}Of 100 normal ${noun}, about ${Math.round(100 * trust.p)} are as odd or odder.` : ""}>{numbers}</span>
      </div>
      <span class="bar" aria-hidden="true"><i style={{ width: `${trust ? Math.max(1.5, 100 * trust.p) : 0}%` }} /></span>
      <p class="quiet">{text}</p>
    </div>
  );
}
