// The points of the map: by the graphics card where there is one, on a plain canvas otherwise.

import createScatterplot from "regl-scatterplot";

const sizeFor = (count) => (count > 20000 ? 2.5 : count > 4000 ? 3.5 : 5);
const opacityFor = (count) => (count > 20000 ? 0.4 : count > 4000 ? 0.6 : 0.8);

export function hasWebGL() {
  try {
    const gl = document.createElement("canvas").getContext("webgl");
    return Boolean(gl?.getExtension("OES_texture_float"));
  } catch {
    return false;
  }
}

export function fastPoints(canvas) {
  let plot;
  let extent;
  let half = 1;
  let size = [];
  let latest = null;
  let busy = false;
  let next = null;
  return {
    // The plot takes one set of points at a time; of those that wait, the newest counts.
    async set(...given) {
      next = given;
      if (busy) return;
      busy = true;
      try {
        while (next) {
          const now = next;
          next = null;
          await this.put(...now);
        }
      } finally {
        busy = false;
      }
    },
    async put(points, { which, colours }, whole, view) {
      plot ??= createScatterplot({
        canvas, width: view.width, height: view.height, cameraIsFixed: true, backgroundColor: [0, 0, 0, 0],
        pointScaleMode: "constant", lassoOnLongPress: false, showReticle: false, aspectRatio: 1,
      });
      size = [view.width, view.height];
      extent = whole;
      half = Math.max(whole[1] - whole[0], whole[3] - whole[2]) / 2 || 1;
      const [u, v] = [(whole[0] + whole[1]) / 2, (whole[2] + whole[3]) / 2];
      const count = points.length / 2;
      plot.set({
        pointColor: colours, colorBy: "valueA", pointSize: sizeFor(count), opacity: opacityFor(count),
        pointColorActive: colours[0], pointColorHover: colours[0],
      });
      latest = view;
      await plot.draw(
        {
          x: Float32Array.from({ length: count }, (_, i) => (points[2 * i] - u) / half),
          y: Float32Array.from({ length: count }, (_, i) => (points[2 * i + 1] - v) / half),
          valueA: Float32Array.from(which),
        },
        { zDataType: "categorical" },
      );
      this.draw(latest);
    },
    draw(view) {
      latest = view;
      if (!plot || !extent) return;
      if (size[0] !== view.width || size[1] !== view.height) {
        size = [view.width, view.height];
        plot.set({ width: view.width, height: view.height });
      }
      // The camera's units: half the height of the canvas.
      const s = (2 * view.scale * half) / view.height;
      const x = -((view.u - (extent[0] + extent[1]) / 2) / half) * s;
      const y = -((view.v - (extent[2] + extent[3]) / 2) / half) * s;
      plot.view(new Float32Array([s, 0, 0, 0, 0, s, 0, 0, 0, 0, 1, 0, x, y, 0, 1]), { preventEvent: true });
    },
    stop: () => plot?.destroy(),
  };
}

export function plainPoints(canvas) {
  let held = null;
  return {
    async set(points, { which, colours }, whole, view) {
      // By colour, so that each colour is set once.
      const groups = colours.map(() => []);
      which.forEach((c, i) => groups[c].push(i));
      held = { points, groups, colours };
      this.draw(view);
    },
    draw(view) {
      if (!held) return;
      const fine = Math.min(window.devicePixelRatio || 1, 2);
      [canvas.width, canvas.height] = [Math.round(view.width * fine), Math.round(view.height * fine)];
      const context = canvas.getContext("2d");
      context.scale(fine, fine);
      const count = held.points.length / 2;
      const radius = sizeFor(count) / 2;
      context.globalAlpha = opacityFor(count);
      held.groups.forEach((rows, c) => {
        context.fillStyle = held.colours[c];
        context.beginPath();
        for (const row of rows) {
          const [x, y] = view.toScreen(held.points[2 * row], held.points[2 * row + 1]);
          if (x < -5 || y < -5 || x > view.width + 5 || y > view.height + 5) continue;
          if (count > 4000) context.rect(x - radius, y - radius, 2 * radius, 2 * radius); // circles take three times as long
          else {
            context.moveTo(x + radius, y);
            context.arc(x, y, radius, 0, 7);
          }
        }
        context.fill();
      });
    },
    stop() {},
  };
}
