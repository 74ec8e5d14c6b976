// Between model units and the values that people know, of forms that are arrays.

const of = (value, channel) => (Array.isArray(value) ? value[Math.min(channel, value.length - 1)] : value);

// Channels come first in model units: value i belongs to channel i / (values of one channel).
export function userValue(form, value, channel) {
  let user = value * of(form.scale, channel) + of(form.mean, channel);
  const [low, high, step] = [of(form.low, channel), of(form.high, channel), of(form.step, channel)];
  if (step) user = Math.round(user / step) * step;
  if (low !== null && low !== undefined) user = Math.max(user, low);
  if (high !== null && high !== undefined) user = Math.min(user, high);
  return user;
}

export const modelValue = (form, user, channel) => (user - of(form.mean, channel)) / of(form.scale, channel);

export const perChannel = (event) => event.slice(1).reduce((a, b) => a * b, 1);

export function userRow(form, x) {
  const each = perChannel(form.event);
  return Float64Array.from(x, (value, i) => userValue(form, value, Math.floor(i / each)));
}

// What the model sees of a row that it wrote itself: all of it, but of a text nothing beyond its end, and of a table no value
// of a cell that it left empty.
export function seenOf(form, x) {
  const mask = new Uint8Array(x.length).fill(1);
  if (form.type === "tokens") {
    const end = x.indexOf(0);
    if (end >= 0) mask.fill(0, end + 1);
  } else if (form.type === "columns") {
    form.gaps.forEach((column, i) => {
      if (x[form.columns.length + i] > 1.5) mask[column] = 0;
    });
  }
  return mask;
}

// A number of a table: its normal score lies on a line through knots, which goes on beyond its ends.
export function valueOfScore({ knots, scores, low, high, step }, score) {
  const value = onLine(scores, knots, score);
  const stepped = step ? Math.round(value / step) * step : value;
  return Math.min(Math.max(stepped, low ?? -Infinity), high ?? Infinity);
}

export const scoreOfValue = ({ knots, scores }, value) => onLine(knots, scores, value);

function onLine(from, to, at) {
  if (from.length < 2) return to[0];
  let i = 1;
  while (i < from.length - 1 && at > from[i]) i++;
  const width = from[i] - from[i - 1];
  return width ? to[i - 1] + ((at - from[i - 1]) / width) * (to[i] - to[i - 1]) : to[i];
}
