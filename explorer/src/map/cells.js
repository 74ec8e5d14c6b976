// The cells of an archive on the map, in place of points: each in the colour of its elite, hatched where that is not trusted.

import { look } from "../look.js";
import { hatch } from "./ground.js";

const ROOM = 5; // pixels of a cell from which there is a gap between cells

export const cellPoints = (session) => (canvas) => {
  let held = null;
  return {
    async set(points, { which, colours }, whole, view) {
      held = { layout: session.layout, which, colours };
      this.draw(view);
    },
    draw(view) {
      if (!held) return;
      const { layout, which, colours } = held;
      const fine = Math.min(window.devicePixelRatio || 1, 2);
      [canvas.width, canvas.height] = [Math.round(view.width * fine), Math.round(view.height * fine)];
      const context = canvas.getContext("2d");
      context.scale(fine, fine);
      const odd = new Path2D();
      layout.best.forEach((row, cell) => {
        if (row < 0) return;
        const [x, y, width, height] = onScreen(layout.edges(cell), view);
        if (x + width < 0 || y + height < 0 || x > view.width || y > view.height) return;
        context.fillStyle = colours[which[row]];
        context.fillRect(x, y, width, height);
        if (!session.tensors.trusted.data[row]) odd.rect(x, y, width, height);
      });
      context.save();
      context.clip(odd);
      context.strokeStyle = look().card;
      context.lineWidth = 1.5;
      hatch(context, view);
      context.restore();
      frame(context, [0, layout.size[0], 0, layout.size[1]], view, look().line);
    },
    stop() {},
  };
};

// A cell with its gap, as x, y, width and height on the screen.
function onScreen([left, right, below, above], view) {
  const [[x, y], [x1, y1]] = [view.toScreen(left, above), view.toScreen(right, below)];
  const gap = Math.min(x1 - x, y1 - y) > ROOM ? 1 : 0;
  return [x, y, x1 - x - gap, y1 - y - gap];
}

export function frame(context, edges, view, colour, width = 1) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(...onScreen(edges, view));
}
