// A small picture of a row, as a button that goes there.

import { Painted } from "../views/common.jsx";

export function Cell({ view, x, bins, label, onClick, here, odd }) {
  return (
    <button class={`cell ${here ? "here" : ""} ${odd ? "odd" : ""}`} onClick={onClick} aria-label={label} title={label}>
      <Painted paint={(canvas) => view.paint(canvas, x, bins)} what={[x]} label={label} />
    </button>
  );
}
