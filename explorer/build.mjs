// Builds the page into the Python package. The same sources give the same bytes: nothing here looks at the clock or at paths.

import { build } from "esbuild";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = process.argv[2] ?? join(HERE, "../src/vaekit/deploy/explorer");
const WASM = "ort-wasm-simd-threaded.wasm";
const BUNDLED = new Set();

async function bundle(entry, more = {}) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: HERE, entryPoints: [entry], bundle: true, write: false, minify: true, format: "iife", target: "es2021",
    jsx: "automatic", jsxImportSource: "preact", legalComments: "none", charset: "utf8", metafile: true, outdir: "out",
    logLevel: "warning", define: { "process.env.NODE_ENV": '"production"' }, ...more,
  });
  for (const path of Object.keys(metafile.inputs)) {
    const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path);
    if (found) BUNDLED.add(found[1]);
  }
  const text = outputFiles[0].text.trim();
  // Inside a page, these would end the script or change how it is read.
  if (/<\/script|<!--/i.test(text)) throw new Error(`${entry}: the bundle holds text that a page cannot hold`);
  return text;
}

// What is bundled is of others, whose licences ask to be kept with it.
function licences() {
  const parts = [...BUNDLED].sort().map((name) => {
    const folder = join(HERE, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).sort().find((f) => /^licen[cs]e/i.test(f));
    // A package that comes without the text of its licence has it beside this file.
    const text = readFileSync(file ? join(folder, file) : join(HERE, "licences", `${name}.txt`), "utf8").replaceAll("\r\n", "\n").trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}

// The file's header names the system that wrote it: that byte is set to "unknown", and there is no time in it.
function zipped(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed.fill(0, 4, 8);
  packed[9] = 255;
  return packed;
}

mkdirSync(OUT, { recursive: true });
const write = (name, content) => writeFileSync(join(OUT, name), content);

write("page.js", `${await bundle("src/main.jsx")}\n`);
write("ort.js", `${await bundle("src/ort.js", { define: { "import.meta.url": '"file:///ort.js"' } })}\n`);
const css = `${readFileSync(join(HERE, "node_modules/uplot/dist/uPlot.min.css"), "utf8")}\n${readFileSync(join(HERE, "src/page.css"), "utf8")}`;
const { outputFiles } = await build({
  stdin: { contents: css, loader: "css", resolveDir: HERE }, write: false, minify: true, charset: "utf8", legalComments: "none",
});
write("page.css", outputFiles[0].text);
write("page.html", readFileSync(join(HERE, "src/page.html"), "utf8"));
write("LICENSES.txt", licences());
const { outputFiles: listed } = await build({
  absWorkingDir: HERE, entryPoints: ["src/engines/ops.js"], bundle: true, write: false, format: "esm",
});
const { ops } = await import(`data:text/javascript;base64,${Buffer.from(listed[0].text).toString("base64")}`);
write("plain-ops.json", `${JSON.stringify(Object.keys(ops).sort())}\n`);
write(`${WASM}.gz`, zipped(readFileSync(join(HERE, "node_modules/onnxruntime-web/dist", WASM))));
