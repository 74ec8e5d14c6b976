// Pictures: (channels, height, width) in model units.

import { Painted } from "./common.jsx";
import { modelValue, userValue } from "../forms.js";
import { readPicture } from "../files/picture.js";

const SMALL = 96; // pixels of a side, up to which each pixel stays a square

export function pictures(form, session) {
  const [channels, height, width] = form.event;
  const pixels = height * width;
  const range = form.white - form.black || 1;
  const grey = (value, c) => (255 * (userValue({ ...form, step: null }, value, c) - form.black)) / range;

  function image(x, colour = grey) {
    const data = new ImageData(width, height);
    for (let i = 0; i < pixels; i++) {
      for (let k = 0; k < 3; k++) {
        const c = channels >= 3 ? k : 0;
        data.data[4 * i + k] = colour(x[c * pixels + i], c, c * pixels + i);
      }
      data.data[4 * i + 3] = 255;
    }
    return data;
  }

  function put(canvas, data) {
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(data, 0, 0);
    canvas.classList.toggle("pixels", Math.max(width, height) <= SMALL);
  }

  const paint = (canvas, x) => put(canvas, image(x));

  function Whole({ x, beside, besideName }) {
    const label = `The decoded ${session.model.row}`;
    return (
      <div class="pair">
        {beside && (
          <figure>
            <Painted paint={(c) => paint(c, beside.x)} what={[beside.x]} label={`${besideName}, itself`} class="picture" />
            <figcaption>Itself</figcaption>
          </figure>
        )}
        <figure>
          <Painted paint={(c) => paint(c, x)} what={[x]} label={label} class="picture" />
          {beside && <figcaption>As the model shows it</figcaption>}
        </figure>
      </div>
    );
  }

  // Where the two differ: orange where the row is brighter than the model shows it, blue where it is darker.
  function difference(given, shown) {
    const data = new ImageData(width, height);
    for (let i = 0; i < pixels; i++) {
      let d = 0;
      for (let c = 0; c < channels; c++) d += (grey(given[c * pixels + i], c) - grey(shown[c * pixels + i], c)) / channels;
      const t = Math.min(1, Math.abs(d) / 160);
      const to = d > 0 ? [226, 112, 20] : [36, 98, 214];
      for (let k = 0; k < 3; k++) data.data[4 * i + k] = 245 + t * (to[k] - 245);
      data.data[4 * i + 3] = 255;
    }
    return data;
  }

  function Odd({ given, shown }) {
    return (
      <figure class="difference">
        <Painted paint={(c) => put(c, difference(given.x, shown))} what={[given.x, shown]} class="picture" label="Where the two differ" />
        <figcaption>Where they differ. Orange: brighter than the model shows it. Blue: darker.</figcaption>
      </figure>
    );
  }

  async function read(file) {
    const rgba = await readPicture(file, width, height, session.model.row);
    const x = new Float32Array(channels * pixels);
    for (let i = 0; i < pixels; i++) {
      const [r, g, b] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
      for (let c = 0; c < channels; c++) {
        const light = (channels >= 3 ? [r, g, b, 255][c] : 0.299 * r + 0.587 * g + 0.114 * b) / 255;
        const user = form.binarize ? (light > 0.5 ? form.white : form.black) : form.black + light * range;
        x[c * pixels + i] = modelValue(form, user, c);
      }
    }
    return { x, mask: null, name: file.name };
  }

  const mean = (x) => x.reduce((s, v, i) => s + grey(v, Math.floor(i / pixels)), 0) / x.length / 255;
  return {
    Whole, Odd, paint, read,
    say: (x) => `a ${session.model.row} of ${width} by ${height}, ${Math.round(100 * mean(x))} % bright`,
    accepts: "a picture (PNG or JPEG)",
    endings: ".png,.jpg,.jpeg,image/png,image/jpeg",
    ratio: width / height,
  };
}
