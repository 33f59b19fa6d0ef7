// Runs one model once: the request is JSON on stdin, the answer JSON on stdout, tensors are raw files.
//   request  {model: path | null, feeds: [{name, type, dims, file}], scratch: folder | null}
//   answer   {version, outputs: [{name, type, dims, file}]}
"use strict";
const fs = require("fs");
const path = require("path");

const NOT_INSTALLED = 3;
const folders = [process.cwd(), ...(process.env.NODE_PATH || "").split(path.delimiter).filter(Boolean)];
let ort;
try {
  ort = require(require.resolve("onnxruntime-node", { paths: folders }));
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(NOT_INSTALLED);
}

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array,
  int16: Int16Array, int8: Int8Array, uint8: Uint8Array, uint16: Uint16Array, bool: Uint8Array,
};

function read({ type, dims, file }) {
  const bytes = fs.readFileSync(file);
  // a copy of its own: a view must begin at a multiple of its element size
  return new ort.Tensor(type, new ARRAYS[type](new Uint8Array(bytes).buffer), dims);
}

function write(name, tensor, file) {
  const { buffer, byteOffset, byteLength } = tensor.data;
  fs.writeFileSync(file, Buffer.from(buffer, byteOffset, byteLength));
  return { name, type: tensor.type, dims: tensor.dims, file };
}

async function main() {
  const request = JSON.parse(fs.readFileSync(0, "utf8"));
  const answer = { version: ort.env.versions.node, outputs: [] };
  if (request.model) {
    const session = await ort.InferenceSession.create(request.model, { logSeverityLevel: 3 });
    if (request.scratch) {
      const feeds = Object.fromEntries(request.feeds.map((entry) => [entry.name, read(entry)]));
      const results = await session.run(feeds);
      answer.outputs = session.outputNames.map((name, i) =>
        write(name, results[name], path.join(request.scratch, `output_${i}`)));
    }
  }
  process.stdout.write(JSON.stringify(answer));
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
