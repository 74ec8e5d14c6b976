// The ground of the map: tinted where what a place decodes to is normal, bare where it is not.

import { look } from "../look.js";

// p-values are even between 0 and 1 for normal rows: what matters is how near to 0 they are.
const strength = (p) => Math.min(1, Math.max(0, Math.log(p / 0.01) / Math.log(0.4 / 0.01)));

export function groundImage({ trust }) {
  if (!trust) return null;
  const [height, width] = trust.shape;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const data = new ImageData(width, height);
  const [r, g, b] = rgb(look().accent);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const i = 4 * ((height - 1 - row) * width + column); // row 0 is the lowest
      data.data.set([r, g, b, 72 * strength(trust.data[row * width + column] / 255)], i);
    }
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

export function drawGround(context, image, extent, view) {
  if (!image) return;
  const [x, y] = view.toScreen(extent[0], extent[3]);
  const [right, bottom] = view.toScreen(extent[1], extent[2]);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, right - x, bottom - y);
}

function rgb(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour;
  const value = parseInt(context.fillStyle.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
