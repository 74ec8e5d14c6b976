// What hands do on the map: the mouse, fingers and the keyboard, as calls of look, pin, lasso and changes of the view.

import { inside, nearest } from "../maths/places.js";

const STILL = 5; // pixels that a click may move
const REACH = 9; // pixels from a point at which a click means that point

export function gestures(box, session, view, changed, lassoed) {
  const hands = new Map(); // pointers that are down, by their number
  let moved = 0;
  let ring = null;
  let apart = 0;

  const at = (event) => {
    const frame = box.getBoundingClientRect();
    return [event.clientX - frame.left - box.clientLeft, event.clientY - frame.top - box.clientTop];
  };

  function lookAt(x, y) {
    session.set({ playing: false });
    session.lookAt(...view.toMap(x, y));
  }

  // The row that a click means.
  function rowAt(u, v) {
    if (session.layout.rowAt) return session.layout.rowAt(u, v);
    const [near] = nearest(session.layout.points, u, v, 1);
    return near && Math.sqrt(near.distance) * view.scale <= REACH ? near.row : null;
  }

  function pinAt(x, y) {
    const [u, v] = view.toMap(x, y);
    const row = rowAt(u, v);
    if (row !== null) return session.pinRow(row);
    const base = session.state.pinned?.z ?? session.layout.origin ?? session.codes[0];
    session.pin(session.layout.code(u, v, base), { place: { layout: session.layout.name, at: [u, v] } });
  }

  const spread = () => {
    const [[x0, y0], [x1, y1]] = [...hands.values()];
    return [Math.hypot(x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2];
  };

  function down(event) {
    if (event.button > 0) return;
    box.setPointerCapture(event.pointerId);
    hands.set(event.pointerId, at(event));
    moved = 0;
    if (hands.size === 2) {
      ring = null;
      moved = STILL + 1; // two fingers never are a tap
      apart = spread()[0];
    } else if (session.state.tool === "lasso" || event.shiftKey) {
      ring = [view.toMap(...at(event))];
      event.preventDefault(); // no text is marked along the way
    } else if (event.pointerType !== "mouse") lookAt(...at(event));
  }

  function move(event) {
    const [x, y] = at(event);
    const before = hands.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse" && hands.size === 0) lookAt(x, y);
      return;
    }
    hands.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (hands.size === 2) {
      const [now, cx, cy] = spread();
      view.zoomAt(now / (apart || 1), cx, cy);
      view.pan((x - before[0]) / 2, (y - before[1]) / 2);
      apart = now;
      changed();
    } else if (ring) {
      ring.push(view.toMap(x, y));
      lassoed(ring, false);
    } else if (event.pointerType !== "mouse") lookAt(x, y);
    else if (moved > STILL) {
      view.pan(x - before[0], y - before[1]);
      changed();
    }
  }

  function up(event) {
    if (!hands.delete(event.pointerId)) return;
    if (ring) {
      lassoed(ring, true);
      ring = null;
    } else if (moved <= STILL && event.type === "pointerup") pinAt(...at(event));
    else if (event.pointerType !== "mouse" && hands.size === 0) session.leave();
  }

  const leave = (event) => {
    if (event.pointerType === "mouse" && !hands.size) session.leave();
  };

  function wheel(event) {
    event.preventDefault();
    view.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event));
    changed();
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // Where the cross is, or the pin, on the screen.
  function cross() {
    const { live, pinned } = session.state;
    if (live) return view.toScreen(live.u, live.v);
    return pinned ? view.toScreen(...session.layout.place(pinned.z)) : [view.width / 2, view.height / 2];
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const [x, y] = cross();
    if (arrow) {
      const far = event.shiftKey ? 48 : 8;
      const [nextX, nextY] = [x + far * arrow[0], y + far * arrow[1]];
      // The map follows a cross that leaves it.
      const over = (value, most) => Math.min(0, value - 12) + Math.max(0, value - most + 12);
      const [dx, dy] = [over(nextX, view.width), over(nextY, view.height)];
      if (dx || dy) {
        view.pan(-dx, -dy);
        changed();
      }
      lookAt(nextX - dx, nextY - dy);
    } else if (event.key === "Enter" || event.key === " ") pinAt(x, y);
    else if (event.key === "Escape") session.leave();
    else if (event.key === "+" || event.key === "=") zoomBy(1.4);
    else if (event.key === "-") zoomBy(1 / 1.4);
    else if (event.key === "0") zoomBy(0);
    else if (event.key.toLowerCase() === "n") {
      const [near] = nearest(session.layout.points, ...view.toMap(x, y), 1);
      if (near) session.pinRow(near.row);
    } else return;
    event.preventDefault();
  }

  function zoomBy(factor) {
    if (factor) view.zoomAt(factor);
    changed(factor === 0);
  }

  const heard = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, pointerleave: leave, keydown: key };
  for (const [name, hear] of Object.entries(heard)) box.addEventListener(name, hear);
  box.addEventListener("wheel", wheel, { passive: false });
  return {
    zoomBy,
    stop() {
      for (const [name, hear] of Object.entries(heard)) box.removeEventListener(name, hear);
      box.removeEventListener("wheel", wheel);
    },
  };
}

export function rowsInside({ points }, ring) {
  const rows = [];
  for (let row = 0; row < points.length / 2; row++) if (inside(ring, points[2 * row], points[2 * row + 1])) rows.push(row);
  return rows;
}
