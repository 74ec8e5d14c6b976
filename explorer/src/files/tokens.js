// Between texts and codes of tokens. Token i has code i + 1; 0 ends a text.

// The byte alphabet of GPT-2: bytes that print stand for themselves, the others for letters from 256 on.
const [LETTER, BYTE] = (() => {
  const letters = [];
  let next = 256;
  for (let b = 0; b < 256; b++) {
    const prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    letters.push(String.fromCodePoint(prints ? b : next++));
  }
  return [letters, new Map(letters.map((letter, b) => [letter, b]))];
})();

const PIECES = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export function textOf({ level, tokens, own }, codes) {
  const end = codes.indexOf(0);
  const found = Array.from(end < 0 ? codes : codes.subarray(0, end), (code) => tokens[code - 1] ?? "");
  const way = level === "own" ? own?.decoder?.type : level;
  if (way === "char") return found.join("");
  if (way === "Metaspace") return found.join("").replaceAll("\u2581", " ").trim();
  if (way === "WordPiece") return found.join(" ").replaceAll(" ##", "");
  if (way !== "bpe" && way !== "ByteLevel") return found.join(" ");
  const bytes = [...found.join("")].map((letter) => BYTE.get(letter)).filter((b) => b !== undefined);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

export function codesOf(form, text) {
  const { level, longest, tokens, unknown } = form;
  form.index ??= new Map(tokens.map((token, i) => [token, i + 1]));
  const parts = level === "bpe" ? pieces(form, text) : level === "char" ? [...text] : text.split(/\s+/);
  const codes = parts.map((part) => form.index.get(part) ?? unknown).filter((code) => code !== null && code !== undefined);
  const out = new Int32Array(longest);
  out.set(codes.slice(0, longest));
  return out;
}

function pieces(form, text) {
  form.ranks ??= new Map(form.merges.map((pair, i) => [Array.isArray(pair) ? pair.join(" ") : pair, i]));
  const encoder = new TextEncoder();
  return (text.match(PIECES) ?? []).flatMap((piece) => {
    let parts = Array.from(encoder.encode(piece), (b) => LETTER[b]);
    for (;;) {
      // The pair that was joined first when the tokens were learnt is joined first here.
      let [best, rank] = [-1, Infinity];
      for (let i = 0; i + 1 < parts.length; i++) {
        const found = form.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (found < rank) [best, rank] = [i, found];
      }
      if (best < 0) return parts;
      parts = [...parts.slice(0, best), parts[best] + parts[best + 1], ...parts.slice(best + 2)];
    }
  });
}
