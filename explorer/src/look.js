// Colours for what is drawn on canvases, from the page's own style; and scales of colour for data.

let kept = null;

export function look() {
  kept ??= read();
  return kept;
}

export const forgetLook = () => (kept = null);

function read() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(["ground", "card", "ink", "soft", "line", "accent", "tint", "hatch", "font"].map((n) => [n, value(n)]));
}

// Twelve colours that are told apart on light and on dark ground, also by most who see few colours.
export const CLASSES = [
  "#3f82e0", "#e08a2e", "#2f9e6e", "#c9485b", "#8a63d2", "#8c6d52", "#d76fb0", "#6f8f2f", "#1fa3b5", "#d0b13a", "#5f6b7a", "#a33d8f",
];
export const NONE = "#8b929c";

const RAMP = [[48, 52, 128], [40, 108, 142], [31, 150, 139], [90, 186, 100], [196, 200, 60], [250, 206, 80]];

export function ramp(t) {
  const at = Math.min(Math.max(Number.isFinite(t) ? t : 0, 0), 1) * (RAMP.length - 1);
  const i = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[i].map((c, k) => Math.round(c + (at - i) * (RAMP[i + 1][k] - c)));
}

export const hex = (rgb) => `#${rgb.map((c) => c.toString(16).padStart(2, "0")).join("")}`;

// A canvas that is sharp on fine screens: its context works in CSS pixels.
export function sharp(canvas, width, height) {
  const fine = Math.min(window.devicePixelRatio || 1, 3);
  const [w, h] = [Math.max(1, Math.round(width * fine)), Math.max(1, Math.round(height * fine))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(fine, 0, 0, fine, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
