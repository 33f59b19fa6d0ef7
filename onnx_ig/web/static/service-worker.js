// Keeps the page on the device, so that it opens without a network: what the server gives is kept, and given when the
// server cannot be reached. With a network the server is always asked, so that another model is seen at once.
//   in   {files}: addresses to keep at once, asked for by a page that has opened its model
//   out  {kept: true}, or {error}
const KEPT = "onnx-ig page";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => event.waitUntil(keep(event)));
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event));
});

async function keep({ data, ports: [port] }) {
  try {
    const cache = await caches.open(KEPT);
    await cache.addAll(data.files);
    port.postMessage({ kept: true });
  } catch (error) {
    port.postMessage({ error: error.message });
  }
}

async function answer(event) {
  const { request } = event;
  try {
    const response = await fetch(request);
    if (response.status === 200) event.waitUntil(remember(request, response.clone()));
    return response;
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true, cacheName: KEPT }).catch(() => undefined);
    if (kept) return kept;
    throw error;
  }
}

// beside the answer: where there is no room, or nothing may be kept, the page works as it would without this file
const remember = (request, response) =>
  caches.open(KEPT).then((cache) => cache.put(request, response)).catch(() => undefined);
