// Attributions as colours, as in the report of `onnx-ig attribute`: red raises the score, blue lowers it, on a scale
// that is symmetric and ends at the 99th percentile of the magnitudes.
import { axesOf } from "./picture.js";

const STOPS = ["#0b3c7d", "#1f6fc4", "#f7f7f7", "#c9242f", "#7d0b17"].map((colour) =>
  [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255),
);
const [, NEGATIVE, , POSITIVE] = STOPS;
const TINY = 64; // up to this many pixels a side every pixel is shown as a square

/** The attribution of each pixel, summed over the channels, row by row. */
export function perPixel(attribution, input) {
  const {
    C: [channels, c],
    H: [height, h],
    W: [width, w],
  } = axesOf(input);
  const sums = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < channels; channel++) {
        sums[y * width + x] += attribution[channel * c + y * h + x * w];
      }
    }
  }
  return sums;
}

/** Where the scale ends: the 99th percentile, the maximum where that is zero, else 1. */
export function limitOf(sums) {
  const sizes = sums.map(Math.abs).sort();
  return sizes[Math.floor(0.99 * (sizes.length - 1))] || sizes.at(-1) || 1;
}

/** The three panels: what the model saw, its attribution, and both. */
export function drawPanels({ seen, heatmap, overlay }, picture, sums, limit) {
  const rgb = (i) => picture.shown.subarray(3 * i, 3 * i + 3);
  paint(seen, picture, rgb);
  paint(heatmap, picture, (i) => signed(sums[i] / limit));
  paint(overlay, picture, (i) => {
    const [red, green, blue] = rgb(i);
    const grey = 0.3 + 0.6 * (0.299 * red + 0.587 * green + 0.114 * blue); // pale: both colours stay visible
    const opacity = 0.9 * Math.sqrt(Math.min(Math.abs(sums[i]) / limit, 1));
    return (sums[i] > 0 ? POSITIVE : NEGATIVE).map((part) => grey * (1 - opacity) + part * opacity);
  });
}

/** The colour of a value in [−1, 1]. */
function signed(value) {
  const place = (Math.min(Math.max(value, -1), 1) + 1) * 2;
  const stop = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[stop].map((part, i) => part + (place - stop) * (STOPS[stop + 1][i] - part));
}

function paint(canvas, { width, height }, colourOf) {
  Object.assign(canvas, { width, height });
  canvas.classList.toggle("tiny", Math.max(width, height) <= TINY);
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    image.data.set(
      [...colourOf(i)].map((part) => part * 255),
      4 * i,
    );
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
