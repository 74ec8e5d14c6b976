// Which part of the map is seen: the place in the middle, and pixels for a unit.

export class View {
  constructor() {
    Object.assign(this, { u: 0, v: 0, scale: 1, width: 1, height: 1, whole: 1 });
  }

  fit(extent) {
    const [u0, u1, v0, v1] = extent;
    this.u = (u0 + u1) / 2;
    this.v = (v0 + v1) / 2;
    this.scale = this.whole = Math.min(this.width / (u1 - u0 || 1), this.height / (v1 - v0 || 1)) * 0.96;
  }

  resize(width, height) {
    const factor = Math.min(width / this.width, height / this.height);
    Object.assign(this, { width, height, scale: this.scale * factor, whole: this.whole * factor });
  }

  get zoom() {
    return this.scale / this.whole;
  }

  toScreen(u, v) {
    return [this.width / 2 + (u - this.u) * this.scale, this.height / 2 - (v - this.v) * this.scale];
  }

  toMap(x, y) {
    return [this.u + (x - this.width / 2) / this.scale, this.v - (y - this.height / 2) / this.scale];
  }

  pan(dx, dy) {
    this.u -= dx / this.scale;
    this.v += dy / this.scale;
  }

  // Nearer or farther, with the place under (x, y) staying where it is.
  zoomAt(factor, x = this.width / 2, y = this.height / 2) {
    const [u, v] = this.toMap(x, y);
    this.scale = Math.min(Math.max(this.scale * factor, this.whole / 3), this.whole * 400);
    const [nowU, nowV] = this.toMap(x, y);
    this.u += u - nowU;
    this.v += v - nowV;
  }
}

// All of the points and the shaded ground, with a little room around.
export function extentOf({ points, extent }) {
  const found = extent ? [...extent] : [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 2) {
    found[0] = Math.min(found[0], points[i]);
    found[1] = Math.max(found[1], points[i]);
    found[2] = Math.min(found[2], points[i + 1]);
    found[3] = Math.max(found[3], points[i + 1]);
  }
  if (extent) return found;
  const [du, dv] = [0.04 * (found[1] - found[0]), 0.04 * (found[3] - found[2])];
  return [found[0] - du, found[1] + du, found[2] - dv, found[3] + dv];
}
