// How rows are shown, read from files and explained: one way for each form that a row can have.
//
// A view has
//   Whole({x, bins, beside})  the row in full; `beside` is a row to compare it with, or null
//   paint(canvas, x, bins, size)  a small picture of it
//   say(x)                  the row in words, for those who do not see it
//   accepts, endings        what kind of file it reads, in words and for the file picker
//   read(file)              -> {x, mask, name}, or an error that says what was expected
//   Odd({given, shown, found, usual})  what makes a row unusual

import { pictures } from "./pictures.jsx";
import { curves } from "./curves.jsx";
import { numbers } from "./numbers.jsx";
import { columns } from "./columns.jsx";
import { text } from "./text.jsx";
import { clips } from "./clips.jsx";
import { fan } from "./fan.jsx";

const VIEWS = { picture: pictures, curves, numbers, fan, columns, tokens: text, clips, chunk: fan };

export function viewOf(session) {
  const { form } = session.model;
  // Rows of a form that nobody has described are the numbers that the model sees.
  if (form.type === "none") return numbers({ ...form, mean: [0], scale: [1], columns: null, unread: true }, session);
  const make = VIEWS[form.type === "array" ? form.view : form.type];
  if (!make) throw new Error(`This page cannot show rows of the form "${form.type}". It is older than the model.`);
  return make(form, session);
}
