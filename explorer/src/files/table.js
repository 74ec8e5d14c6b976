// A CSV file: its names (if the first line has no numbers, or the wanted names) and its rows.

import Papa from "papaparse";

const LARGEST = 20_000_000; // bytes

export async function readTable(file, expected) {
  if (!/\.(csv|tsv|txt)$/i.test(file.name) && !/csv|plain/.test(file.type)) {
    throw new Error(`"${file.name}" is of another kind: ${expected} was expected.`);
  }
  if (file.size > LARGEST) throw new Error(`"${file.name}" is larger than this page reads (20 MB). A few rows are enough.`);
  const { data } = Papa.parse((await file.text()).replace(/^\ufeff/, ""), { skipEmptyLines: "greedy" });
  if (!data.length) throw new Error(`"${file.name}" is empty: ${expected} was expected.`);
  const first = data[0].map((cell) => cell.trim());
  const named = first.some((cell) => cell !== "" && Number.isNaN(Number(cell)));
  return { names: named ? first : null, rows: named ? data.slice(1) : data };
}
