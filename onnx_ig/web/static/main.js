// The page: takes a picture, asks the worker for its attribution, shows it.
import { drawPanels, limitOf, perPixel } from "./heatmap.js";
import { keepOffline } from "./offline.js";
import { drawingPad, showOn } from "./pad.js";
import { axesOf, prepared, sized } from "./picture.js";

const SHOWN = 5; // classes, and strongest pixels
const PATIENCE = 400; // milliseconds before it is said that something is being computed
const element = (id) => document.getElementById(id);
addEventListener("unhandledrejection", (event) => fail(event.reason.message)); // what goes wrong is said in the page

const settings = await fetch("settings.json")
  .then((response) => response.json())
  .catch((error) => {
    fail(`settings.json is missing or damaged: ${error.message}`);
    throw error;
  });
const nameOf = (index) => settings.classes[index] ?? String(index);

let source = null; // the canvas or bitmap to explain
let seen = null; // {picture, scores}: the source as the model's input, and the model's output for it
let stale = true; // the source has changed since
let working = false;
let again = false;

// -- the worker, one call at a time -----------------------------------------------------------------------------------

const worker = new Worker("worker.js", { type: "module" });
const calls = new Map(); // by number; the worker's opening of the model is null
let asked = 0;
const opened = new Promise((resolve, reject) => calls.set(null, { resolve, reject }));
worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = calls.get(id);
  calls.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
};
worker.onerror = (event) => calls.get(null)?.reject(new Error(event.message || "worker.js could not be loaded"));

function attribute({ values, input }, target, steps) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    calls.set(id, { resolve, reject });
    worker.postMessage({ id, values, dims: input.dims, target, steps });
  });
}

// -- from a picture to its explanation --------------------------------------------------------------------------------

function changed() {
  stale = true;
  update();
}

/** Explain the source as the controls say; a change that comes meanwhile is explained next, the last one only. */
async function update() {
  again = true;
  if (!source || working) return;
  working = true;
  element("explanation").setAttribute("aria-busy", "true");
  const patience = setTimeout(() => (element("status").textContent = "Computing …"), PATIENCE);
  try {
    while (again && source) {
      again = false;
      await explain();
    }
  } catch (error) {
    fail(error.message);
  }
  clearTimeout(patience);
  working = false;
  element("explanation").setAttribute("aria-busy", "false");
}

async function explain() {
  const [steps, side] = [wholeNumber("steps", "Steps"), wholeNumber("side", "Longest side")];
  if (stale || !seen) {
    stale = false; // before waiting: what changes meanwhile makes it stale again
    seen = null;
    const input = sized(settings.input, source, side);
    const picture = { input, ...prepared(source, input, element("invert").checked) };
    const { scores } = await attribute(picture, 0, 1); // any target: the scores come with it
    seen = { picture, scores };
    offerTargets(scores.length);
  }
  const { picture, scores } = seen;
  const chosen = element("target").value;
  const target = chosen === "" ? scores.indexOf(Math.max(...scores)) : Number(chosen);
  const result = await attribute(picture, target, steps);
  if (![result.score, result.delta, ...result.attribution].every(Number.isFinite)) {
    throw new Error("The attribution is not finite: the model cannot take this picture or this class.");
  }
  if (source) show(picture, scores, target, result); // it may have been cleared meanwhile
}

function wholeNumber(id, label) {
  const control = element(id);
  if (!control.checkValidity()) throw new Error(`${label}: give a whole number from ${control.min} to ${control.max}.`);
  return control.valueAsNumber;
}

// -- what is shown ----------------------------------------------------------------------------------------------------

function show(picture, scores, target, result) {
  element("error").hidden = true;
  const sums = perPixel(result.attribution, picture.input);
  const limit = limitOf(sums);
  drawPanels({ seen: element("seen"), heatmap: element("heatmap"), overlay: element("overlay") }, picture, sums, limit);
  const order = [...sums.keys()].sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a])).slice(0, SHOWN);
  const strongest = order.map((i) => [Math.floor(i / picture.width), i % picture.width, sums[i]]);
  element("seen").ariaLabel = "The picture as the model sees it";
  element("heatmap").ariaLabel =
    `Attribution of each pixel, strongest in row ${strongest[0][0]}, column ${strongest[0][1]}`;
  element("overlay").ariaLabel = "Attribution over the picture";
  element("strongest").replaceChildren(...strongest.map(tableRow));
  element("low").textContent = signed(-limit);
  element("high").textContent = signed(limit);
  element("score").textContent = signed(result.score, 4);
  element("baseline-score").textContent = signed(result.baselineScore, 4);
  element("delta").textContent = signed(result.delta);
  const change = Math.abs(result.score - result.baselineScore);
  element("relative").textContent = change ? `${percent(Math.abs(result.delta) / change)} of F(x) − F(x′)` : "";
  element("time").textContent = duration(result.milliseconds);
  showRuntime(result.runtime);
  showClasses(probabilities(scores), target);
  const predicted = scores.indexOf(Math.max(...scores));
  element("status").textContent =
    `Predicted ${nameOf(predicted)}` + (target === predicted ? "" : `, explained ${nameOf(target)}`);
  element("result").hidden = false;
}

function showRuntime({ name, note }) {
  element("runtime").textContent = name;
  element("runtime-note").textContent = note;
}

function showClasses(shares, target) {
  const list = element("classes");
  const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
  const best = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, SHOWN);
  list.replaceChildren(
    ...best.map((index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", value: index });
      button.ariaPressed = String(index === target);
      button.style.setProperty("--share", `${100 * shares[index]}%`);
      button.append(
        nameOf(index),
        Object.assign(document.createElement("span"), { textContent: percent(shares[index]) }),
      );
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  list.querySelector(`[value="${focused}"]`)?.focus();
}

function offerTargets(count) {
  const select = element("target");
  if (select.length > 1) return;
  for (let index = 0; index < count; index++) select.add(new Option(nameOf(index), index));
}

function tableRow([row, column, value]) {
  const line = document.createElement("tr");
  for (const text of [row, column, signed(value)]) line.insertCell().textContent = text;
  line.lastChild.className = value > 0 ? "positive" : "negative";
  return line;
}

function fail(message) {
  Object.assign(element("error"), { textContent: message, hidden: false });
  element("result").hidden = true;
  element("status").textContent = "";
}

/** The scores as they are where they are probabilities already, else their softmax. */
function probabilities(scores) {
  const total = scores.reduce((a, b) => a + b, 0);
  if (Math.min(...scores) >= 0 && Math.abs(total - 1) < 1e-3) return scores;
  const largest = Math.max(...scores);
  const powers = Float32Array.from(scores, (score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const duration = (ms) => (ms < 1000 ? `${Number(ms.toPrecision(2))} ms` : `${Number((ms / 1000).toPrecision(3))} s`);

function signed(value, digits = 3) {
  const size = Math.abs(value);
  const text = size === 0 || size >= 1e-3 ? String(Number(size.toPrecision(digits))) : size.toExponential(1);
  return (value > 0 ? "+" : value < 0 ? "−" : "") + text.replace("e-", "e−");
}

// -- where pictures come from -----------------------------------------------------------------------------------------

async function take(file) {
  if (!file) return;
  try {
    source = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    fail(`${file.name || "The file"} is not a picture that this browser can read.`);
    return;
  }
  element("drawing").hidden = false;
  showOn(element("pad"), source);
  changed();
}

element("file").addEventListener("change", ({ target }) => {
  take(target.files[0]);
  target.value = ""; // the same file can be chosen again
});
document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("curtain").hidden = kind !== "dragover";
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
element("invert").addEventListener("change", changed);
element("target").addEventListener("change", update);
element("steps").addEventListener("change", update);
element("side").addEventListener("change", changed);
element("settings").addEventListener("submit", (event) => event.preventDefault());
element("classes").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  element("target").value = button.value;
  update();
});

// -- the start --------------------------------------------------------------------------------------------------------

document.title = `${settings.title}: what did the model see?`;
element("title").textContent = settings.title;
const { C, W } = axesOf(settings.input);
const drawable = C[0] === 1;
const invitation = drawable ? "Draw, or choose a picture." : "Choose a picture.";
const canvas = element("pad");
if (drawable) {
  const pad = drawingPad(canvas, W[0] ?? canvas.width, () => {
    source = canvas;
    changed();
  });
  element("clear").addEventListener("click", () => {
    pad.clear();
    source = null;
    element("result").hidden = true;
    element("status").textContent = invitation;
  });
  element("drawing").hidden = false;
} else {
  element("clear").remove();
  element("pad-help").remove();
  canvas.removeAttribute("tabindex");
  Object.assign(canvas, { role: "img", ariaLabel: "The picture that was chosen" });
}
element("open-size").hidden = !settings.input.dims.includes(null);
let runtime = null;
try {
  ({ runtime } = await opened);
  showRuntime(runtime);
  element("status").textContent = invitation;
} catch (error) {
  fail(`The model could not be opened: ${error.message}`);
}
element("explanation").setAttribute("aria-busy", String(working));
element("explanation").dataset.state = "open";
if (runtime) {
  const others = Object.values(settings.runtimes).flat().filter((file) => !runtime.files.includes(file));
  const needed = ["./", ...settings.files.filter((file) => !others.includes(file))];
  keepOffline(needed).then(
    (kept) => (element("offline").hidden = !kept),
    (error) => Object.assign(element("offline"), { hidden: false, textContent: `Not kept for use offline: ${error.message}` }),
  );
}
