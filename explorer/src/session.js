// All that the page knows at a moment, and what can be done to it. Parts of the page listen for what they show.

import { makeGraphs, rowsOf } from "./graphs.js";
import { makeLayout, variances } from "./maths/places.js";
import { makeCells } from "./maths/cells.js";
import { pValue } from "./maths/trust.js";
import { extentOf } from "./map/view.js";
import { ways } from "./maths/ways.js";
import { startOf, conditionsOfRow } from "./conditions.js";

const REST = 140; // milliseconds that the hand rests before what is shown is scored
const FINE = 48; // places along the longer side of the ground that are scored
const LONGEST = 200; // places that the history remembers

export class Session {
  constructor(model, tensors, engine) {
    Object.assign(this, { model, tensors, engine, graphs: makeGraphs(model, engine), listeners: new Set() });
    this.layouts = model.map.layouts.map((about, i) => (about.cells ? makeCells : makeLayout)(i, about, tensors));
    this.codes = rowsOf(tensors.codes);
    this.rows = tensors["shown.x"] ? rowsOf(tensors["shown.x"]) : [];
    this.masks = tensors["shown.mask"] ? rowsOf(tensors["shown.mask"]) : null;
    this.seed = 1;
    this.wanted = null;
    this.busy = false;
    this.state = {
      layout: 0,
      colour: model.map.colours[0]?.name ?? null,
      tool: "look",
      pinned: null,
      y: startOf(model, tensors),
      live: null,
      shown: null,
      trust: null,
      drawn: model.mean_samples === false && this.graphs.has("draw"),
      noise: 1,
      a: null,
      b: null,
      way: "straight",
      playing: false,
      history: [],
      at: -1,
      selected: null,
      message: null,
    };
  }

  set(change) {
    this.state = { ...this.state, ...change };
    for (const listen of this.listeners) listen();
  }

  listen(hear) {
    this.listeners.add(hear);
    return () => this.listeners.delete(hear);
  }

  get layout() {
    return this.layouts[this.state.layout];
  }

  say(text, kind = "error") {
    this.set({ message: text ? { text, kind } : null });
  }

  // Of a step that may fail: what went wrong is said on the page.
  async attempt(doIt) {
    try {
      return await doIt();
    } catch (e) {
      this.say(e.message || String(e));
      return undefined;
    }
  }

  // ---- What is under the hand. The newest place wins, and at most one decode is under way.

  look(z, live, y = this.state.y) {
    this.wanted = { z, live, y };
    if (!this.frame) this.frame = requestAnimationFrame(() => this.follow());
  }

  // A place of the map: in an archive, the elite whose cell it is in, with its own conditions.
  lookAt(u, v) {
    const { layout, state, codes } = this;
    const row = layout.rowAt?.(u, v) ?? null;
    const base = state.pinned?.z ?? layout.origin ?? codes[0];
    this.look(layout.code(u, v, base), { u, v, row }, row === null ? state.y : conditionsOfRow(this, row));
  }

  async follow() {
    this.frame = 0;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      const { z, live, y } = this.wanted;
      this.wanted = null;
      try {
        const shown = await this.decoded(z, y);
        this.set({ live, shown, trust: null });
      } catch (e) {
        this.say(e.message);
      }
    }
    this.busy = false;
    this.rest();
  }

  async decoded(z, y) {
    const { x, bins } = await this.graphs.decode([z], y);
    const drawn = this.state.drawn ? (await this.graphs.draw([z], y, this.state.noise))[0] : null;
    return { z, y, x: drawn ?? x[0], typical: x[0], bins: bins?.[0] ?? null };
  }

  // Rows of several places, as they are shown: drawn, or typical.
  async rowsAt(z, y) {
    const { x, bins } = await this.graphs.decode(z, y);
    return { x: this.state.drawn ? await this.graphs.draw(z, y, this.state.noise) : x, bins };
  }

  leave() {
    const { pinned } = this.state;
    if (pinned) this.look(pinned.z, null);
  }

  again() {
    const { shown, live } = this.state;
    if (shown) this.look(shown.z, live);
  }

  rest() {
    clearTimeout(this.resting);
    if (this.judges) this.resting = setTimeout(() => this.judge(), REST);
  }

  async judge() {
    const { shown, live, pinned } = this.state;
    if (!shown || !this.judges) return;
    const at = live ? [live.u, live.v] : pinned?.place?.layout === this.layout.name ? pinned.place.at : null;
    await this.attempt(async () => {
      // What an empty place of a bent map decodes to is the mean of codes from elsewhere, however normal that is.
      const empty = at && this.layout.empty(...at);
      const [trust] = empty ? [this.trustOf(-Infinity, this.tensors["calibration.place"]?.data)] : await this.trustOfPlaces([shown], shown.y);
      if (this.state.shown === shown) this.set({ trust });
    });
  }

  get judges() {
    return Boolean(this.tensors["calibration.place"] && this.graphs.has("encoder")) || this.graphs.has("score");
  }

  // How normal places are: whether the model reads what it wrote there as the same place again, as it does with the codes of
  // normal rows. The score of what is decoded would not do: a decoded row is smoother than any real one, which some scores
  // find odd wherever it is from. It is what is left where there is nothing better.
  async trustOfPlaces(shown, y) {
    const usual = this.tensors["calibration.place"]?.data;
    if (!usual || !this.graphs.has("encoder")) {
      const scores = await this.graphs.score(shown.map((s) => s.x), null, y);
      return Array.from(scores, (score) => this.trustOf(score));
    }
    const again = await this.graphs.encode(shown.map((s) => s.typical), null, y);
    this.weights ??= this.tensors["calibration.weights"]?.data ?? variances(this.codes);
    return shown.map(({ z }, i) => {
      const score = -this.weights.reduce((sum, weight, j) => sum + weight * (again[i][j] - z[j]) ** 2, 0);
      return this.trustOf(score, usual);
    });
  }

  trustOf(score, usual = this.tensors.calibration.data) {
    return { score, p: pValue(score, usual) };
  }

  // ---- Pins: places that stay, each of which is a step in the history.

  pin(z, { row = null, given = null, place = null, y = this.state.y } = {}) {
    const pinned = { z: Float32Array.from(z), row, given: given ?? this.rowItself(row), place, y };
    const history = [...this.state.history.slice(0, this.state.at + 1), pinned].slice(-LONGEST);
    this.set({ pinned, y, history, at: history.length - 1, playing: false });
    this.look(pinned.z, null);
  }

  pinRow(row) {
    const y = conditionsOfRow(this, row);
    this.pin(this.codes[row], { row, y });
  }

  rowItself(row) {
    if (row === null || row >= this.rows.length) return null;
    return { x: this.rows[row], mask: this.masks?.[row] ?? null, name: this.nameOf(row) };
  }

  nameOf(row) {
    const { names } = this.model.map;
    return names ? String(names[row] ?? row + 1) : `${this.model.row} ${row + 1}`;
  }

  go(at) {
    const pinned = this.state.history[at];
    if (!pinned) return;
    this.set({ at, pinned, y: pinned.y, playing: false });
    this.look(pinned.z, null);
  }

  condition(name, value) {
    const y = { ...this.state.y, [name]: value };
    this.set({ y, pinned: this.state.pinned && { ...this.state.pinned, y } });
    this.look(this.state.shown?.z ?? this.state.pinned.z, null);
  }

  async sample(temperature) {
    await this.attempt(async () => {
      const [z] = await this.graphs.sample(1, this.state.y, this.seed++, temperature);
      this.pin(z);
    });
  }

  // ---- The hatching of the ground, for the plane through the pin and the conditions of now.

  async shade() {
    const { layout, state: { pinned, y, shading } } = this;
    if (shading || !pinned) return;
    this.set({ shading: true });
    await this.attempt(async () => {
      const extent = extentOf(layout);
      const [u0, u1, v0, v1] = extent;
      const size = Math.max(u1 - u0, v1 - v0);
      const [width, height] = [u1 - u0, v1 - v0].map((side) => Math.max(2, Math.round((FINE * side) / size)));
      const trust = new Uint8Array(width * height);
      for (let row = 0; row < height; row++) {
        const v = v0 + ((row + 0.5) / height) * (v1 - v0);
        const z = Array.from({ length: width }, (_, i) => layout.code(u0 + ((i + 0.5) / width) * (u1 - u0), v, pinned.z));
        const { x } = await this.graphs.decode(z, y);
        const drawn = this.state.drawn ? await this.graphs.draw(z, y, this.state.noise) : x;
        const found = await this.trustOfPlaces(z.map((code, i) => ({ z: code, x: drawn[i], typical: x[i] })), y);
        const there = (i) => !layout.empty(u0 + ((i + 0.5) / width) * (u1 - u0), v);
        trust.set(found.map(({ p }, i) => (there(i) ? Math.round(255 * p) : 0)), row * width);
        if (row % 4 === 0) await new Promise((go) => setTimeout(go)); // the hand comes first
      }
      Object.assign(layout, { trust: { data: trust, shape: [height, width] }, extent: Float32Array.from(extent), ofPin: true });
    });
    this.set({ shading: false, shaded: (this.state.shaded ?? 0) + 1 });
  }

  // ---- The way from A to B.

  along(t) {
    const { a, b, way } = this.state;
    return ways[way](a, b, t);
  }

  // ---- A file that is dropped in: where it lies, what the model makes of it, and how normal it is.

  async receive(given) {
    await this.attempt(async () => {
      if (!this.graphs.has("encoder")) throw new Error(`This page has no encoder, so it cannot place a ${this.model.row} of yours.`);
      const { y } = this.state;
      const [z] = await this.graphs.encode([given.x], given.mask ? [given.mask] : null, y);
      this.say(null);
      this.pin(z, { given });
    });
  }

  // How normal a row itself is, and which of its values surprise.
  async examine({ x, mask }, y) {
    if (!this.graphs.has("score")) return null;
    const seen = mask ? [mask] : null;
    const score = await this.graphs.score([x], seen, y);
    const surprise = await this.graphs.surprise([x], seen, y);
    return { ...this.trustOf(score[0]), surprise: surprise?.[0] ?? null };
  }
}
