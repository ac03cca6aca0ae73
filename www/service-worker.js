// Keeps the site usable offline. The build writes VERSION, FOLDER, SHELL and PROGRAMS.
//
// It answers for files of this site alone, which it knows by name; for anything else below the same address it
// does not exist. Programs lie in a folder named after their content, so a page only ever loads what belongs to
// it. The page itself and lists that may change come from the network while there is one. Weights are kept by
// the page, under their hash; nothing of a user is ever stored here.
const VERSION = "development";
const FOLDER = "";
const SHELL = [];
const PROGRAMS = [];

const PREFIX = "groundglass-app-";
// Sites of one origin share its caches: each has its own names.
const OWN = `${PREFIX}${new URL(self.registration.scope).pathname}`;
const CACHE = `${OWN} ${VERSION}`;
const PATIENCE_MS = 4000;

const isProgram = (path) => /^app-[0-9a-f]+\/[\w./-]+$/.test(path);
const isList = (path) => /^models\/[\w.-]+\.(json|md)$/.test(path);
const isOurs = (path) =>
  ["", "index.html", "icon.svg", "manifest.webmanifest"].includes(path) ||
  /^samples\/[\w.-]+$/.test(path) || isList(path) || isProgram(path);

// The path within this site, without a query; none for what lies elsewhere.
function within(address) {
  const scope = new URL(self.registration.scope);
  const url = new URL(address);
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return undefined;
  const path = url.pathname.slice(scope.pathname.length);
  return path === "index.html" ? "" : path;
}

const addressOf = (path) => new URL(path || "./", self.registration.scope).href;

// Caches of other versions of this site.
async function others() {
  const names = await caches.keys();
  const own = names.filter((name) => name.startsWith(`${OWN} `) && name !== CACHE);
  // Versions before this scheme had no path in the name: theirs are known by what is in them.
  for (const name of names.filter((name) => /^groundglass-app-[0-9a-z]+$/.test(name))) {
    const requests = await (await caches.open(name)).keys();
    if (requests.every((request) => within(request.url) !== undefined)) own.push(name);
  }
  return own;
}

// What the user used of another version, in this one.
async function used() {
  const wanted = new Set(SHELL);
  for (const name of await others()) {
    for (const request of await (await caches.open(name)).keys()) {
      const path = within(request.url);
      if (path === undefined) continue;
      const file = path.replace(/^app-[0-9a-f]+\//, "");
      if (file !== path && PROGRAMS.includes(file)) wanted.add(`${FOLDER}/${file}`);
      if (isList(path) || path.startsWith("samples/")) wanted.add(path);
    }
  }
  return [...wanted];
}

async function fetchInto(cache, path) {
  // Programs never change under their name.
  const response = await fetch(addressOf(path), { cache: isProgram(path) ? "default" : "reload" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  if (isProgram(path) || SHELL.includes(path) || mayKeep(response)) await cache.put(addressOf(path), response);
}

// Whole or not at all: until everything is there the version before continues.
self.addEventListener("install", (event) => {
  const install = async () => {
    const cache = await caches.open(CACHE);
    await Promise.all(SHELL.map((path) => fetchInto(cache, path)));
    // A list or program that is gone with the version before is no reason to stay with it.
    const more = (await used()).filter((path) => !SHELL.includes(path));
    await Promise.all(more.map((path) => fetchInto(cache, path).catch((error) => console.warn(error))));
  };
  event.waitUntil(install());
});

self.addEventListener("activate", (event) => {
  const activate = async () => {
    await Promise.all((await others()).map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(activate());
});

// The page names what it uses beyond the shell, such as the program for its device.
self.addEventListener("message", (event) => {
  const paths = (event.data?.keep ?? []).map((path) => within(addressOf(path)));
  const keep = async () => {
    const cache = await caches.open(CACHE);
    for (const path of paths) {
      if (path === undefined || !isOurs(path)) continue;
      // A version keeps its own programs; those of the next are the next one's.
      if (isProgram(path) && !path.startsWith(`${FOLDER}/`)) continue;
      if (!(await cache.match(addressOf(path)))) await fetchInto(cache, path);
    }
    event.source?.postMessage({ kept: paths });
  };
  event.waitUntil(keep().catch((error) => console.warn("not kept for offline use:", error)));
});

const mayKeep = (response) =>
  response.ok && !/no-store|private/.test(response.headers.get("Cache-Control") ?? "");

// From the network; what is kept stands in if there is none, or if it does not answer for long. An answer that
// has begun is never cut off.
async function fromNetwork(event, path) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(addressOf(path));
  let keep;
  // Asked for while the event lasts: it may be over when a slow answer comes.
  event.waitUntil(new Promise((resolve) => (keep = resolve)));
  const network = fetch(event.request).then(
    (response) => {
      // The page of another version is that version's to keep.
      const may = mayKeep(response) && path !== "";
      keep(may ? cache.put(addressOf(path), response.clone()).catch(() => {}) : undefined);
      return response;
    },
    (error) => {
      keep();
      throw error;
    },
  );
  if (!known) return network;
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, known));
  return Promise.race([network.then((response) => (response.ok ? response : known)), late]).catch(() => known);
}

async function fromCache(event, path) {
  return (await caches.match(addressOf(path))) ?? fetch(event.request);
}

self.addEventListener("fetch", (event) => {
  const path = within(event.request.url);
  if (event.request.method !== "GET" || path === undefined || !isOurs(path)) return;
  event.respondWith(isProgram(path) ? fromCache(event, path) : fromNetwork(event, path));
});
