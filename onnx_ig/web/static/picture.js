// Pictures as model inputs, by the rules of `onnx-ig attribute`: (pixel / white − mean) / std, transparency on white,
// grey as ITU-R 601, sizes by a triangle filter over the area that a pixel covers.

/** How far apart neighbours along each axis of the input lie, and its sizes: {C: [size, stride], H, W}. */
export function axesOf({ axes, dims }) {
  const found = { C: [1, 0] };
  let stride = 1;
  for (let i = axes.length - 1; i >= 0; i--) {
    found[axes[i]] = [dims[i], stride];
    stride *= dims[i];
  }
  return found;
}

/** The input with the sizes that it leaves open (null) as the picture has them, none above ``longest``. */
export function sized(input, source, longest) {
  const scale = Math.min(1, longest / Math.max(source.width, source.height));
  const own = { H: source.height, W: source.width };
  const dims = input.dims.map((size, i) => size ?? Math.max(1, Math.round(own[input.axes[i]] * scale)));
  return { ...input, dims };
}

/** The values for an input of known sizes of what a canvas can draw, and the picture as the model sees it, in [0, 1]. */
export function prepared(source, input, invert) {
  const {
    C: [channels, c],
    H: [height, h],
    W: [width, w],
  } = axesOf(input);
  const pixels = pixelsOf(source);
  const planes = Array.from({ length: channels }, (_, k) => resized(planeOf(pixels, channels, k), width, height));
  const values = new Float32Array(input.dims.reduce((a, b) => a * b));
  const shown = new Float32Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        const k = Math.min(channel, channels - 1);
        const light = planes[k].values[y * width + x];
        const value = invert ? 1 - light : light;
        shown[(y * width + x) * 3 + channel] = value;
        values[k * c + y * h + x * w] = (value - at(input.mean, k)) / at(input.std, k);
      }
    }
  }
  return { values, shown, height, width };
}

const at = (numbers, channel) => numbers[numbers.length > 1 ? channel : 0];

function pixelsOf(source) {
  const { width, height } = source;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** One channel in [0, 1]: red, green or blue, or grey where the input has one channel only. */
function planeOf({ data, width, height }, channels, channel) {
  const values = new Float32Array(width * height);
  for (let i = 0, p = 0; i < values.length; i++, p += 4) {
    values[i] =
      channels > 1 ? data[p + channel] / 255 : (0.299 * data[p] + 0.587 * data[p + 1] + 0.114 * data[p + 2]) / 255;
  }
  return { values, width, height };
}

function resized(plane, width, height) {
  return transposed(rowsResized(transposed(rowsResized(plane, width)), height));
}

/** Each row brought to ``width``: a triangle two target pixels wide, never narrower than two source pixels. */
function rowsResized({ values, width: from, height }, width) {
  if (from === width) return { values, width, height };
  const scale = from / width;
  const support = Math.max(scale, 1);
  const result = new Float32Array(width * height);
  for (let x = 0; x < width; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.round(centre - support));
    const end = Math.min(from, Math.round(centre + support));
    const weights = Array.from({ length: end - first }, (_, i) =>
      Math.max(0, 1 - Math.abs(first + i + 0.5 - centre) / support),
    );
    const total = weights.reduce((a, b) => a + b);
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * values[y * from + first + i];
      result[y * width + x] = sum / total;
    }
  }
  return { values: result, width, height };
}

function transposed({ values, width, height }) {
  const result = new Float32Array(values.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) result[x * height + y] = values[y * width + x];
  return { values: result, width: height, height: width };
}
