// Texts: codes of tokens, of which 0 ends a text.

import { codesOf, textOf } from "../files/tokens.js";
import { look, sharp } from "../look.js";
import { SurpriseList, surprises } from "./common.jsx";

export function text(form, session) {
  const words = (x) => textOf(form, x);

  function Whole({ x, beside }) {
    return (
      <div class="texts">
        {beside && <figure><blockquote>{words(beside.x)}</blockquote><figcaption>Itself</figcaption></figure>}
        <figure>
          <blockquote class="shown">{words(x).trim() ? words(x) : <em class="quiet">an empty text</em>}</blockquote>
          {beside && <figcaption>As the model writes it</figcaption>}
        </figure>
      </div>
    );
  }

  function paint(canvas, x) {
    const context = sharp(canvas, 120, 72);
    context.fillStyle = look().ink;
    context.font = `10px ${look().font}`;
    if (!words(x).trim()) {
      context.fillStyle = look().soft;
      context.fillText("(empty)", 4, 13);
      return;
    }
    let [line, y] = ["", 13];
    for (const word of `${words(x)} `.split(/(?<=\s)/)) {
      if (context.measureText(line + word).width > 112 && line) {
        context.fillText(line, 4, y);
        [line, y] = ["", y + 13];
        if (y > 70) return;
      }
      line += word;
    }
    context.fillText(line, 4, y, 112);
  }

  async function read(file) {
    if (!/\.txt$/i.test(file.name) && !/^text\/plain/.test(file.type)) {
      throw new Error(`"${file.name}" is of another kind: a TXT file was expected.`);
    }
    const first = (await file.text()).replace(/^\ufeff/, "").trim();
    if (!first) throw new Error(`"${file.name}" is empty: a TXT file with a text was expected.`);
    return { x: codesOf(form, first), mask: null, name: file.name };
  }

  function Odd({ given, found, usual }) {
    const items = surprises(found, usual).map(({ i, above }) => ({
      name: `part ${i + 1}`, value: textOf(form, given.x.subarray(i, i + 1)) || "the end", above,
    }));
    return found.surprise ? <SurpriseList items={items} /> : <p class="quiet">Compare the two texts: what the model could not keep is what it does not know.</p>;
  }

  return {
    Whole, Odd, paint, read, say: (x) => words(x).slice(0, 300),
    accepts: form.level === "own" ? null : "a text (TXT)", endings: ".txt,text/plain", ratio: 120 / 72, discrete: true,
  };
}
