// onnxruntime for pages that need it: a bundle of its own, because it is large.

import * as ort from "onnxruntime-web/wasm";

window.ort = ort;
