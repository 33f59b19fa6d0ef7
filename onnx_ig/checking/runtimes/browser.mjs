// Asks the server this page came from for requests, answers them with onnxruntime-web, and brings the answers back.
import * as ort from "./ort.mjs";
import { answer } from "./answer.mjs";

ort.env.wasm.numThreads = 1;
fetch("alive"); // never ends; the server sees it break off when this page dies
for (let answered = null; ;) {
  const request = await (await fetch("next", { method: "POST", body: JSON.stringify(answered) })).json();
  answered = await answer(ort, request).catch((error) => ({ error: error.message }));
  answered.mark = request.mark;
}
