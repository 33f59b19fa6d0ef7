// Holds the model and runs it beside the page, which stays responsive meanwhile.
//   in   {id, values: Float32Array, target, steps}
//   out  {id: null} once the model is open; {id, result}; {id, error}
import * as ort from "./ort.js";
import { gaussLegendre } from "./quadrature.js";

ort.env.wasm.numThreads = 1; // more take headers that a static server does not send
const opening = open();
opening.then(
  () => postMessage({ id: null }),
  (error) => postMessage({ id: null, error: error.message }),
);

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, result: await attribute(data) });
  } catch (error) {
    postMessage({ id: data.id, error: error.message });
  }
};

async function open() {
  const settings = await (await fetch("settings.json")).json();
  return { settings, session: await ort.InferenceSession.create("model.onnx", { logSeverityLevel: 3 }) };
}

async function attribute({ values, target, steps }) {
  const {
    settings: { input, names },
    session,
  } = await opening;
  const { nodes, weights } = gaussLegendre(steps);
  const began = performance.now();
  const outputs = await session.run({
    [input.name]: new ort.Tensor("float32", values, input.dims),
    [names.target]: new ort.Tensor("int64", [BigInt(target)], [1]),
    [names.path_nodes]: new ort.Tensor("float32", nodes, [steps]),
    [names.path_weights]: new ort.Tensor("float32", weights, [steps]),
  });
  return {
    milliseconds: performance.now() - began,
    scores: outputs[names.scores].data,
    attribution: outputs[names.attribution].data,
    score: outputs[names.score].data[0],
    baselineScore: outputs[names.baseline_score].data[0],
    delta: outputs[names.convergence_delta].data[0],
  };
}
