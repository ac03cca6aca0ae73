// Keeps the site usable offline. The build writes VERSION and SHELL.
//
// Programs lie in a folder named after their content, so a page only ever loads what belongs to it.
// The page itself and lists that may change come from the network while there is one. Weights are kept
// by the page, under their hash; nothing of a visitor is ever stored here.
const VERSION = "development";
const SHELL = [];

const CACHE = `groundglass-app-${VERSION}`;
const PATIENCE_MS = 4000;

self.addEventListener("install", (event) => {
  const fresh = SHELL.map((path) => new Request(path, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith("groundglass-app-") && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

// The page names what it uses beyond the shell, such as the program for its device.
self.addEventListener("message", (event) => {
  const paths = event.data?.keep ?? [];
  const keep = async () => {
    const cache = await caches.open(CACHE);
    for (const path of paths) {
      if (!(await cache.match(path))) await cache.add(path);
    }
    event.source?.postMessage({ kept: paths });
  };
  event.waitUntil(keep().catch((error) => console.warn("not kept for offline use:", error)));
});

async function fromNetwork(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) await cache.put(request, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const known = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
    if (known) return known;
    throw error;
  }
}

async function fromCache(request) {
  return (await caches.match(request)) ?? fetch(request);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const scope = new URL(self.registration.scope);
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return;
  const path = url.pathname.slice(scope.pathname.length);
  if (path.endsWith(".bpk")) return;
  event.respondWith(/^app-[0-9a-f]+\//.test(path) ? fromCache(request) : fromNetwork(request));
});
