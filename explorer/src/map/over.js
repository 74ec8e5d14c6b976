// What lies over the points: small pictures where there is room and chosen rows (which move with the map), and the anchors,
// their way, the pin and the cross (which move with the hand).

import { look } from "../look.js";
import { frame } from "./cells.js";

const THUMB = 34; // pixels of a side of a small picture on the map
const LARGE = 1.7; // zoom from which small pictures appear
const SELECTED = 20000; // rows that are ringed

export function drawRows(context, session, view, thumbs) {
  const { state: { selected }, layout: { points } } = session;
  if (view.zoom > LARGE) drawThumbs(context, session, view, thumbs);
  context.strokeStyle = look().ink;
  context.lineWidth = 1;
  for (const row of selected?.slice(0, SELECTED) ?? []) {
    const [x, y] = view.toScreen(points[2 * row], points[2 * row + 1]);
    if (x >= 0 && y >= 0 && x <= view.width && y <= view.height) context.strokeRect(x - 3, y - 3, 6, 6);
  }
}

export function drawMoving(context, session, view, lasso) {
  const { state, layout } = session;
  const colours = look();
  if (state.a && state.b && !layout.cells) { // what lies between two cells, only the measures could say
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    context.setLineDash([2, 4]);
    context.beginPath();
    const steps = layout.linear ? 24 : 10;
    for (let i = 0; i <= steps; i++) context.lineTo(...view.toScreen(...layout.place(session.along(i / steps))));
    context.stroke();
    context.setLineDash([]);
  }
  for (const name of ["a", "b"]) if (state[name]) flag(context, view.toScreen(...layout.place(state[name])), name.toUpperCase(), colours);
  if (state.pinned) ring(context, view.toScreen(...pinnedPlace(session)), colours);
  if (state.live?.row != null) frame(context, layout.edges(layout.cellAt(state.live.u, state.live.v)), view, colours.ink, 2);
  if (state.live) cross(context, view.toScreen(state.live.u, state.live.v), colours);
  if (lasso?.length > 1) {
    context.strokeStyle = context.fillStyle = colours.accent;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const place of lasso) context.lineTo(...view.toScreen(...place));
    context.closePath();
    context.stroke();
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
  }
}

export function pinnedPlace({ layout, state }) {
  const { row, z, place } = state.pinned;
  if (row !== null) return [layout.points[2 * row], layout.points[2 * row + 1]];
  if (place?.layout === layout.name) return place.at; // of a bent map, the code alone does not say it
  return layout.place(z);
}

// The first rows have their pictures; one that would lie over another is left out. Which comes first is decided at
// whole steps of the zoom on a grid that is fixed to the map, so that pictures do not jump as it moves.
function drawThumbs(context, session, view, thumbs) {
  const { points } = session.layout;
  const texts = thumbs.length ? null : session.model.map.texts;
  const many = Math.min(thumbs.length || texts?.length || 0, points.length / 2);
  const [wide, high] = texts ? [120, 24] : [THUMB + 8, THUMB + 8];
  const level = 2 ** Math.floor(Math.log2(view.scale));
  const cells = new Map();
  context.globalAlpha = Math.min(1, (view.zoom - LARGE) / 0.4);
  context.imageSmoothingEnabled = false;
  context.font = `10px ${look().font}`;
  for (let row = 0; row < many; row++) {
    const [u, v] = [points[2 * row], points[2 * row + 1]];
    const [x, y] = view.toScreen(u, v);
    if (x < -wide || y < -high || x > view.width + wide || y > view.height + high) continue;
    const [p, q] = [(u * level) / wide, (v * level) / high];
    if (crowded(cells, p, q)) continue;
    cells.set(`${Math.floor(p)},${Math.floor(q)}`, [p, q]);
    if (texts) label(context, x, y, texts[row]);
    else {
      const { width, height } = thumbs[row];
      const factor = THUMB / Math.max(width, height);
      const [w, h] = [width * factor, height * factor];
      context.fillStyle = look().card;
      context.fillRect(x - w / 2 - 1, y - h / 2 - 1, w + 2, h + 2);
      context.drawImage(thumbs[row], x - w / 2, y - h / 2, w, h);
    }
  }
  context.globalAlpha = 1;
}

// Is there a picture less than a cell away? It can only lie in this cell or in the eight around it.
function crowded(cells, p, q) {
  for (let i = Math.floor(p) - 1; i <= Math.floor(p) + 1; i++) {
    for (let j = Math.floor(q) - 1; j <= Math.floor(q) + 1; j++) {
      const other = cells.get(`${i},${j}`);
      if (other && Math.abs(other[0] - p) < 1 && Math.abs(other[1] - q) < 1) return true;
    }
  }
  return false;
}

function label(context, x, y, text) {
  const short = text.length > 18 ? `${text.slice(0, 17)}…` : text;
  const width = context.measureText(short).width;
  context.fillStyle = look().card;
  context.fillRect(x + 5, y - 7, width + 6, 14);
  context.fillStyle = look().ink;
  context.textBaseline = "middle";
  context.fillText(short, x + 8, y);
}

function ring(context, [x, y], { accent, card }) {
  for (const [colour, width] of [[card, 5], [accent, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 8, 0, 7);
    context.stroke();
  }
}

function cross(context, [x, y], { ink, card }) {
  for (const [colour, width] of [[card, 3.5], [ink, 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 12 * dx, y + 12 * dy);
    }
    context.stroke();
  }
}

function flag(context, [x, y], letter, { ink, card, font }) {
  context.fillStyle = ink;
  context.beginPath();
  context.arc(x, y, 10, 0, 7);
  context.fill();
  context.fillStyle = card;
  context.font = `bold 11px ${font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5);
  context.textAlign = "start";
}

// The small pictures that come with the page, ready to draw.
export function makeThumbs({ tensors }) {
  if (!tensors.thumbs) return [];
  const { data, shape: [count, height, width, channels] } = tensors.thumbs;
  const size = height * width;
  return Array.from({ length: count }, (_, n) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const image = new ImageData(width, height);
    for (let i = 0; i < size; i++) {
      const at = (n * size + i) * channels;
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = data[at + (channels >= 3 ? k : 0)];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  });
}
