// Files that leave the page, and lists of values as CSV.

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const cell = (value) => {
  const text = String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csv = (rows) => new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], { type: "text/csv" });

// The rows of the map that were chosen: which they are, what is known of them, and their codes.
export function rowsAsCsv({ model, tensors, codes }, rows) {
  const colours = model.map.colours.filter((c) => tensors[`colour.${c.name}`]);
  const known = (colour, row) => {
    const value = tensors[`colour.${colour.name}`].data[row];
    if (colour.kind !== "label") return Number.isNaN(value) ? "" : value;
    return colour.classes[value] ?? "";
  };
  const named = model.map.names !== null && model.map.names !== undefined;
  const head = ["row", ...(named ? ["name"] : []), ...colours.map((c) => c.name), ...Array.from(codes[0], (_, i) => `z${i + 1}`)];
  const number = tensors.rows?.data; // of the row in the data, where the map has only some
  const line = (row) => [number ? number[row] : row, ...(named ? [model.map.names[row]] : []), ...colours.map((c) => known(c, row)), ...codes[row]];
  return csv([head, ...rows.map(line)]);
}
