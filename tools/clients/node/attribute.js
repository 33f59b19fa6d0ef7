// Attributions of a picture from an exported model: one run. Needs onnxruntime-node.
//   onnx-ig export digits.onnx -o model.onnx --target predicted
//   node attribute.js model.onnx picture.f32        (picture.f32: raw float32, row by row)
"use strict";
const fs = require("fs");
const ort = require("onnxruntime-node");

const TOP = 5;

async function main(model, picture) {
  const session = await ort.InferenceSession.create(model);
  const [image] = session.inputMetadata; // baseline, path and target are baked in: the picture is the only input
  const shape = image.shape.map((size) => (typeof size === "number" ? size : 1));
  const pixels = new Float32Array(new Uint8Array(fs.readFileSync(picture)).buffer);
  const result = await session.run({ [image.name]: new ort.Tensor("float32", pixels, shape) });
  const attribution = result[`attribution_${image.name}`].data;
  if (!attribution.every(Number.isFinite)) {
    throw new Error("the attribution is not finite: the target or the input is not valid");
  }
  const [target, score, delta] = ["target_used", "score", "convergence_delta"].map((name) => result[name].data[0]);
  console.log(`target ${target} score ${score.toPrecision(6)} delta ${delta.toExponential(1)}`);
  [...attribution.keys()]
    .sort((a, b) => Math.abs(attribution[b]) - Math.abs(attribution[a]))
    .slice(0, TOP)
    .forEach((index) => console.log(`${index} ${attribution[index].toExponential(6)}`));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
