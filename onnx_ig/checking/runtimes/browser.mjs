// Answers the requests of the program that drives this page with onnxruntime-web; the models are files chosen here.
import * as ort from "./ort.mjs";
import { answer } from "./answer.mjs";

ort.env.wasm.numThreads = 1;
globalThis.chosen = () => URL.createObjectURL(document.querySelector("input").files[0]);
globalThis.answered = (request) => answer(ort, request).catch((error) => ({ error: error.message }));
