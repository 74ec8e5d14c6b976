// The safetensors format: eight bytes with the length of a JSON header, the header, then the numbers.

const KINDS = { F32: Float32Array, F64: Float64Array, I32: Int32Array, U8: Uint8Array, BOOL: Uint8Array };

export function readTensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = entry.data_offsets;
    // A copy, because typed arrays want their numbers aligned.
    const own = bytes.slice(8 + length + from, 8 + length + to).buffer;
    tensors[name] = { data: numbers(entry.dtype, own), shape: entry.shape };
  }
  return tensors;
}

function numbers(dtype, buffer) {
  if (KINDS[dtype]) return new KINDS[dtype](buffer);
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), halfToFloat);
  if (dtype === "I64") return Int32Array.from(new BigInt64Array(buffer), clampToInt);
  throw new Error(`a tensor of type ${dtype} cannot be read`);
}

// Whole numbers of 64 bits stand for places and lengths; "to the end" is written as the greatest of them.
export function clampToInt(value) {
  const most = 2147483647n;
  return Number(value > most ? most : value < -most ? -most : value);
}

function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const part = bits & 1023;
  if (exponent === 31) return part ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : 2 ** -14 * (part / 1024));
}

const NAMES = { f32: "F32", i32: "I32", bool: "BOOL", u8: "U8" };

export function writeTensors(tensors, dtypes) {
  const header = {};
  let at = 0;
  for (const [name, { data, shape }] of Object.entries(tensors)) {
    header[name] = { dtype: NAMES[dtypes[name]], shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const encoded = new TextEncoder().encode(text);
  // Names may have letters of more than one byte: what counts is the length in bytes.
  const bytes = new Uint8Array(8 + encoded.length + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(encoded.length), true);
  bytes.set(encoded, 8);
  at = 8 + encoded.length;
  for (const { data } of Object.values(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}
