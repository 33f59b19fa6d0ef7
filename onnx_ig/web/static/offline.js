// The page without a network: the service worker keeps the files that this page needs.

/** Asks that ``files`` be kept; whether they are, false where the browser keeps none (it wants https or localhost). */
export async function keepOffline(files) {
  if (!navigator.serviceWorker) return false;
  await navigator.serviceWorker.register("service-worker.js");
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  const answered = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
  active.postMessage({ files }, [port2]);
  const { error } = await answered;
  if (error !== undefined) throw new Error(error);
  return true;
}
