// Holds the model and runs it beside the page, which stays responsive meanwhile: on the GPU where the browser offers one
// (WebGPU), else by WebAssembly. What fails on the GPU is computed by WebAssembly, and why is handed to the page.
//   in   {id, values: Float32Array, dims, target, steps}
//   out  {id: null, result: {runtime}} once the model is open; {id, result}; {id, error}
//        runtime: {name, files, note}: what computes, its files of this folder, and why not the GPU, where it failed
import { gaussLegendre } from "./quadrature.js";

const NAMES = { webgpu: "WebGPU", wasm: "WebAssembly" };
let opening = open();
opening.then(
  ({ runtime }) => postMessage({ id: null, result: { runtime } }),
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
  const gpu = settings.runtimes.webgpu && (await navigator.gpu?.requestAdapter());
  if (!gpu) return openOn("wasm", settings, settings.note);
  return openOn("webgpu", settings).catch((error) => withoutGpu(error, settings));
}

async function openOn(provider, settings, note = "") {
  const files = settings.runtimes[provider];
  const ort = await import(`./${files[0]}`);
  ort.env.wasm.numThreads = 1; // more take headers that a static server does not send
  ort.env.wasm.wasmPaths = { wasm: new URL(files[1], import.meta.url).href };
  const session = await ort.InferenceSession.create("model.onnx", {
    logSeverityLevel: 3,
    executionProviders: [provider],
  });
  return { settings, ort, session, provider, runtime: { name: NAMES[provider], files, note } };
}

const withoutGpu = (error, settings) => openOn("wasm", settings, `WebGPU failed: ${error.message}`);

async function attribute(call) {
  const opened = await opening;
  try {
    return await attributeIn(opened, call);
  } catch (error) {
    if (opened.provider !== "webgpu") throw error;
    opening = withoutGpu(error, opened.settings);
    return attributeIn(await opening, call);
  }
}

async function attributeIn({ ort, session, runtime, settings }, { values, dims, target, steps }) {
  const { input, names } = settings;
  const { nodes, weights } = gaussLegendre(steps);
  const began = performance.now();
  const outputs = await session.run({
    [input.name]: new ort.Tensor("float32", values, dims),
    [names.target]: new ort.Tensor("int64", [BigInt(target)], [1]),
    [names.path_nodes]: new ort.Tensor("float32", nodes, [steps]),
    [names.path_weights]: new ort.Tensor("float32", weights, [steps]),
  });
  return {
    runtime,
    milliseconds: performance.now() - began,
    scores: outputs[names.scores].data,
    attribution: outputs[names.attribution].data,
    score: outputs[names.score].data[0],
    baselineScore: outputs[names.baseline_score].data[0],
    delta: outputs[names.convergence_delta].data[0],
  };
}
