// The ground of the map: clear where what a place decodes to is normal, hatched where it is not and where nobody looked.

import { look } from "../look.js";

const HATCH = 7; // pixels between lines

// p-values are even between 0 and 1 for normal rows: what matters is how near to 0 they are.
const strength = (p) => Math.min(1, Math.max(0, Math.log(p / 0.01) / Math.log(0.4 / 0.01)));

// How clear each place is, as a picture of nothing but that.
export function groundImage({ trust }) {
  if (!trust) return null;
  const [height, width] = trust.shape;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const data = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const i = 4 * ((height - 1 - row) * width + column); // row 0 is the lowest
      data.data[i + 3] = 255 * strength(trust.data[row * width + column] / 255);
    }
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

export function drawGround(context, image, extent, view) {
  if (!image) return;
  context.fillStyle = look().ground;
  context.fillRect(0, 0, view.width, view.height);
  context.strokeStyle = look().hatch;
  context.lineWidth = 1;
  hatch(context, view);
  const [x, y] = view.toScreen(extent[0], extent[3]);
  const [right, bottom] = view.toScreen(extent[1], extent[2]);
  context.globalCompositeOperation = "destination-out";
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, right - x, bottom - y);
  context.globalCompositeOperation = "source-over";
}

// Slanted lines over all that is seen.
export function hatch(context, view) {
  context.beginPath();
  // The lines move with the map: they start where one of them goes through its middle.
  const [x0, y0] = view.toScreen(0, 0);
  const step = HATCH * Math.SQRT2;
  const start = (((x0 + y0) % step) + step) % step;
  for (let c = start; c < view.width + view.height; c += step) {
    context.moveTo(c, 0);
    context.lineTo(c - view.height, view.height);
  }
  context.stroke();
}
