// Answers one request (see answer.mjs) with onnxruntime-node: JSON on stdin, the answer with a version on stdout.
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

async function main() {
  const { answer } = await import("./answer.mjs");
  const answered = await answer(ort, JSON.parse(fs.readFileSync(0, "utf8")));
  process.stdout.write(JSON.stringify({ ...answered, version: ort.env.versions.node }));
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
