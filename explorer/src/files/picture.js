// A picture file, brought to the size that the model sees.

export async function readPicture(file, width, height, noun) {
  if (!/^image\/(png|jpe?g)$/.test(file.type) && !/\.(png|jpe?g)$/i.test(file.name)) {
    throw new Error(`"${file.name}" is not a ${noun} that this page can read: a PNG or JPEG file was expected.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`"${file.name}" could not be read as a picture: a PNG or JPEG file was expected.`);
  }
  // Halved again and again, because one big step skips most of the pixels.
  let [w, h] = [bitmap.width, bitmap.height];
  let from = bitmap;
  while (w > 2 * width || h > 2 * height) {
    [w, h] = [Math.max(width, Math.ceil(w / 2)), Math.max(height, Math.ceil(h / 2))];
    from = drawn(from, w, h);
  }
  return drawn(from, width, height).getContext("2d").getImageData(0, 0, width, height).data;
}

function drawn(from, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // what is see-through lies on white paper
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(from, 0, 0, width, height);
  return canvas;
}
