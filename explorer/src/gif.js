// The way from A to B and back as a moving picture.

import { GIFEncoder, applyPalette, quantize } from "gifenc";
import { look } from "./look.js";
import { save } from "./saving.js";

const [FRAMES, SIDE, DELAY] = [24, 256, 60];

export async function saveGif(session, view) {
  const z = Array.from({ length: FRAMES }, (_, i) => session.along(i / (FRAMES - 1)));
  const { x, bins } = await session.rowsAt(z, session.state.y);
  const small = document.createElement("canvas");
  const large = document.createElement("canvas");
  const context = large.getContext("2d", { willReadFrequently: true });
  const gif = GIFEncoder();
  const frames = x.map((row, i) => {
    view.paint(small, row, bins?.[i] ?? null);
    if (i === 0) {
      // Small pictures grow by whole factors, so that their pixels stay squares.
      const factor = SIDE / Math.max(small.width, small.height);
      const by = factor > 1 ? Math.floor(factor) : factor;
      [large.width, large.height] = [Math.round(small.width * by), Math.round(small.height * by)];
    }
    context.imageSmoothingEnabled = large.width < small.width;
    context.fillStyle = look().card;
    context.fillRect(0, 0, large.width, large.height);
    context.drawImage(small, 0, 0, large.width, large.height);
    return context.getImageData(0, 0, large.width, large.height).data;
  });
  for (const frame of [...frames, ...frames.slice(1, -1).reverse()]) {
    const palette = quantize(frame, 256);
    gif.writeFrame(applyPalette(frame, palette), large.width, large.height, { palette, delay: DELAY });
  }
  gif.finish();
  save(new Blob([gif.bytes()], { type: "image/gif" }), `${session.model.name}-a-to-b.gif`);
}
