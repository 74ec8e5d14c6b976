// How normal a score is among the scores of rows that the model was made for.

export function pValue(score, calibration) {
  // How many of the sorted scores are at most this one.
  let [low, high] = [0, calibration.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (calibration[middle] <= score) low = middle + 1;
    else high = middle;
  }
  return (1 + low) / (calibration.length + 1);
}

const WORDS = [
  [0.01, "none", "Unlike anything the model has seen. Do not rely on it."],
  [0.05, "little", "Rare. Fewer than 1 in 20 normal rows are as unusual."],
  [0.2, "some", "On the unusual side, but such rows are there."],
  [1.01, "good", "As normal as the rows the model was made from."],
];

export function words(p, noun = "rows") {
  const [, level, text] = WORDS.find(([most]) => p < most);
  return { level, text: text.replaceAll("rows", noun) };
}
