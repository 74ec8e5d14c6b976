// A sound file as samples at the model's rate, all channels mixed, of the model's length.

export async function readSound(file, rate, samples) {
  if (!/\.(wav|flac|mp3|ogg)$/i.test(file.name) && !/^audio\//.test(file.type)) {
    throw new Error(`"${file.name}" is of another kind: a sound (WAV) was expected.`);
  }
  const Context = window.OfflineAudioContext;
  if (!Context) throw new Error("This browser cannot decode sounds.");
  let decoded;
  try {
    decoded = await new Context(1, samples, rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`"${file.name}" could not be decoded as a sound: a WAV file was expected.`);
  }
  const out = new Float32Array(samples);
  for (let c = 0; c < decoded.numberOfChannels; c++) {
    const data = decoded.getChannelData(c);
    for (let i = 0; i < Math.min(samples, data.length); i++) out[i] += data[i] / decoded.numberOfChannels;
  }
  return out;
}
