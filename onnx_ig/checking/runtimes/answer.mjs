// Answers one request with an ONNX Runtime for JavaScript, in Node and in a page alike; tensors travel as base64.
//   request  {model: path or address | null, feeds: [{name, type, dims, data}] | null, runs: 1 where left out,
//             provider: the runtime's own choice where left out}
//   answer   {outputs: [{name, type, dims, data}], milliseconds: of one run, the median}
// Without feeds the model is opened only. The model opened last stays open for the requests that follow.
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: globalThis.Float16Array ?? Uint16Array, int64: BigInt64Array,
  int32: Int32Array, int16: Int16Array, int8: Int8Array, uint8: Uint8Array, uint16: Uint16Array, bool: Uint8Array,
};
let opened = null; // {model, session}

function read(ort, { type, dims, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return new ort.Tensor(type, new ARRAYS[type](bytes.buffer), dims);
}

function written(name, { type, dims, data }) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, type, dims, data: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
}

export async function answer(ort, { model, feeds, runs = 1, provider }) {
  if (model && model !== opened?.model) {
    const previous = opened;
    opened = null;
    await previous?.session.release();
    const options = { logSeverityLevel: 3, ...(provider && { executionProviders: [provider] }) };
    opened = { model, session: await ort.InferenceSession.create(model, options) };
  }
  if (!feeds) return { outputs: [] };
  const inputs = Object.fromEntries(feeds.map((feed) => [feed.name, read(ort, feed)]));
  const times = [];
  let results;
  while (times.length < runs) {
    const began = performance.now();
    results = await opened.session.run(inputs);
    times.push(performance.now() - began);
  }
  const milliseconds = times.sort((a, b) => a - b)[times.length >> 1];
  return { outputs: opened.session.outputNames.map((name) => written(name, results[name])), milliseconds };
}
