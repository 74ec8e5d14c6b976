// Sounds as log magnitudes and back, as the model sees them: frames a quarter of their length apart, a Hann window,
// the sound continued at its ends by its own mirror image.

import { uniforms } from "./random.js";

const [ITERATIONS, MOMENTUM] = [60, 0.99];

const turns = new Map(); // cosines and sines of the parts of a circle, by how many parts it has

function circle(n) {
  if (!turns.has(n)) {
    const at = (f) => Float64Array.from({ length: n / 2 }, (_, k) => f((2 * Math.PI * k) / n));
    turns.set(n, [at(Math.cos), at(Math.sin)]);
  }
  return turns.get(n);
}

// Fourier transform in place, of 2^k complex numbers.
function transform(re, im, backwards) {
  const n = re.length;
  const [cosines, sines] = circle(n);
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const [half, step] = [size / 2, n / size];
    for (let k = 0; k < half; k++) {
      const c = cosines[k * step];
      const s = backwards ? sines[k * step] : -sines[k * step];
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const [x, y] = [c * re[j] - s * im[j], s * re[j] + c * im[j]];
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}

const hann = (n) => Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n));

const mirrored = (i, n) => {
  const period = 2 * (n - 1);
  const at = ((i % period) + period) % period;
  return at < n ? at : period - at;
};

// (samples) -> real and imaginary parts, (frame / 2 + 1) rows of `times`; a sine of full scale has magnitude 1.
function spectrum(sound, frame) {
  const [window, hop, half] = [hann(frame), frame / 4, frame / 2];
  const times = 1 + Math.floor(sound.length / hop);
  const scale = 2 / window.reduce((a, b) => a + b);
  const [real, imaginary] = [new Float64Array((half + 1) * times), new Float64Array((half + 1) * times)];
  const [re, im] = [new Float64Array(frame), new Float64Array(frame)];
  for (let t = 0; t < times; t++) {
    for (let i = 0; i < frame; i++) re[i] = window[i] * sound[mirrored(t * hop + i - half, sound.length)];
    im.fill(0);
    transform(re, im, false);
    for (let f = 0; f <= half; f++) {
      real[f * times + t] = re[f] * scale;
      imaginary[f * times + t] = im[f] * scale;
    }
  }
  return { real, imaginary, times };
}

function unspectrum({ real, imaginary, times }, frame, samples) {
  const [window, hop, half] = [hann(frame), frame / 4, frame / 2];
  const scale = window.reduce((a, b) => a + b) / 2;
  const long = frame + hop * (times - 1);
  const [sum, weight] = [new Float64Array(long), new Float64Array(long)];
  const [re, im] = [new Float64Array(frame), new Float64Array(frame)];
  for (let t = 0; t < times; t++) {
    for (let f = 0; f <= half; f++) {
      re[f] = real[f * times + t] * scale;
      im[f] = f === 0 || f === half ? 0 : imaginary[f * times + t] * scale;
      if (f > 0 && f < half) {
        re[frame - f] = re[f];
        im[frame - f] = -im[f];
      }
    }
    transform(re, im, true);
    for (let i = 0; i < frame; i++) {
      sum[t * hop + i] += (window[i] * re[i]) / frame;
      weight[t * hop + i] += window[i] * window[i];
    }
  }
  return Float64Array.from({ length: samples }, (_, i) => sum[half + i] / Math.max(weight[half + i] ?? 0, 1e-11) || 0);
}

export function logMagnitudes(sound, { frame, mean, scale, floor }) {
  const { real, imaginary, times } = spectrum(sound, frame);
  const out = new Float32Array((frame / 2) * times);
  for (let i = 0; i < out.length; i++) out[i] = (Math.log(Math.hypot(real[i], imaginary[i]) + floor) - mean) / scale;
  return out;
}

// The phases that fit best, found by going back and forth (Griffin and Lim 1984, with the momentum of Perraudin 2013).
export function soundOf(x, { frame, samples, mean, scale, floor }) {
  const times = x.length / (frame / 2);
  const size = (frame / 2 + 1) * times;
  const magnitude = new Float64Array(size);
  for (let i = 0; i < x.length; i++) magnitude[i] = Math.max(0, Math.exp(x[i] * scale + mean) - floor);
  const next = uniforms(0);
  const [p, q] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0; i < size; i++) {
    const angle = 2 * Math.PI * next();
    [p[i], q[i]] = [Math.cos(angle), Math.sin(angle)];
  }
  const guess = () =>
    unspectrum({ real: magnitude.map((m, i) => m * p[i]), imaginary: magnitude.map((m, i) => m * q[i]), times }, frame, samples);
  let before = { real: new Float64Array(size), imaginary: new Float64Array(size) };
  for (let i = 0; i < ITERATIONS; i++) {
    const found = spectrum(guess(), frame);
    for (let k = 0; k < size; k++) {
      const a = found.real[k] + MOMENTUM * (found.real[k] - before.real[k]);
      const b = found.imaginary[k] + MOMENTUM * (found.imaginary[k] - before.imaginary[k]);
      const length = Math.hypot(a, b) || 1;
      [p[k], q[k]] = [a / length, b / length];
    }
    before = found;
  }
  return Float32Array.from(guess(), (v) => Math.min(1, Math.max(-1, v)));
}

export function wavFile(sound, rate) {
  const bytes = new ArrayBuffer(44 + 2 * sound.length);
  const view = new DataView(bytes);
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  const long = (at, value) => view.setUint32(at, value, true);
  const short = (at, value) => view.setUint16(at, value, true);
  text(0, "RIFF");
  long(4, 36 + 2 * sound.length);
  text(8, "WAVEfmt ");
  long(16, 16);
  short(20, 1);
  short(22, 1);
  long(24, rate);
  long(28, 2 * rate);
  short(32, 2);
  short(34, 16);
  text(36, "data");
  long(40, 2 * sound.length);
  for (let i = 0; i < sound.length; i++) view.setInt16(44 + 2 * i, Math.round(sound[i] * 32767), true);
  return new Blob([bytes], { type: "audio/wav" });
}
