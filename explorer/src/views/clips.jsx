// Clips of sound, as log magnitudes (1, frequencies, times): low frequencies below, and a button that plays them.

import { useRef, useState } from "preact/hooks";
import { logMagnitudes, soundOf, wavFile } from "../maths/sound.js";
import { ramp } from "../look.js";
import { readSound } from "../files/sound.js";
import { save } from "../saving.js";
import { Painted } from "./common.jsx";

export function clips(form, session) {
  const [, frequencies, times] = form.event;
  // One scale of brightness for all clips: from silence to the loudest.
  const quiet = (Math.log(form.floor) - form.mean) / form.scale;
  const loud = (Math.log(0.5) - form.mean) / form.scale;

  function paint(canvas, x, _, colour = (value) => ramp((value - quiet) / (loud - quiet))) {
    const data = new ImageData(times, frequencies);
    for (let f = 0; f < frequencies; f++) {
      for (let t = 0; t < times; t++) {
        const i = 4 * ((frequencies - 1 - f) * times + t);
        data.data.set(colour(x[f * times + t]), i);
        data.data[i + 3] = 255;
      }
    }
    if (canvas.width !== times || canvas.height !== frequencies) [canvas.width, canvas.height] = [times, frequencies];
    canvas.getContext("2d").putImageData(data, 0, 0);
  }

  function Player({ x, name }) {
    const audio = useRef();
    const [busy, setBusy] = useState(false);
    const make = () => wavFile(soundOf(x, form), form.rate);
    const play = () => {
      setBusy(true);
      // A moment, so that the button can say that the sound is being made.
      setTimeout(() => {
        const url = URL.createObjectURL(make());
        audio.current?.pause();
        audio.current = new Audio(url);
        audio.current.onended = () => URL.revokeObjectURL(url);
        audio.current.play().catch((e) => session.say(`The sound cannot be played here: ${e.message}`));
        setBusy(false);
      }, 20);
    };
    return (
      <span class="buttons">
        <button onClick={play} aria-label={`Play ${name}`}>{busy ? "…" : "▶ Play"}</button>
        <button class="plain" onClick={() => save(make(), "clip.wav")} aria-label={`Save ${name} as a WAV file`}>Save as WAV</button>
      </span>
    );
  }

  function Whole({ x, beside }) {
    return (
      <div class="pair">
        {beside && (
          <figure>
            <Painted paint={(c) => paint(c, beside.x)} what={[beside.x]} label="The clip itself, as a spectrogram" class="spectrogram" />
            <figcaption>Itself <Player x={beside.x} name="the clip itself" /></figcaption>
          </figure>
        )}
        <figure>
          <Painted paint={(c) => paint(c, x)} what={[x]} label="The decoded clip, as a spectrogram" class="spectrogram" />
          <figcaption>{beside ? "As the model plays it" : ""} <Player x={x} name="the decoded clip" /></figcaption>
        </figure>
      </div>
    );
  }

  function Odd({ given, shown }) {
    const apart = given.x.map((value, i) => value - shown[i]);
    const colour = (d) => {
      const t = Math.min(1, Math.abs(d * form.scale) / 4);
      const to = d > 0 ? [226, 112, 20] : [36, 98, 214];
      return to.map((c) => Math.round(245 + t * (c - 245)));
    };
    return (
      <figure class="difference">
        <Painted paint={(c) => paint(c, apart, null, colour)} what={[given.x, shown]} label="Where the two differ" class="spectrogram" />
        <figcaption>Where they differ. Orange: louder than the model plays it. Blue: softer.</figcaption>
      </figure>
    );
  }

  async function read(file) {
    const sound = await readSound(file, form.rate, form.samples);
    return { x: logMagnitudes(sound, form), mask: null, name: file.name };
  }

  const say = (x) => {
    const at = x.reduce((best, v, i) => (v > x[best] ? i : best), 0);
    const hertz = (Math.floor(at / times) * form.rate) / form.frame;
    return `a clip of ${(form.samples / form.rate).toPrecision(2)} seconds, loudest near ${Math.round(hertz)} hertz`;
  };
  return { Whole, Odd, paint, read, say, accepts: "a sound (WAV)", endings: ".wav,audio/wav", ratio: 1.6 };
}
