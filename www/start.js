// Starts the page. A file of its own, so that the policy of index.html can forbid inline scripts.
import init from "./app.js";

init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) }).catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.textContent = `This page could not start: ${error}`;
  document.body.append(message);
});

// Without it (forbidden storage, no secure origin) the page works, but not offline. It comes late, so that
// what it keeps does not compete with what a first visit waits for.
const LATE_MS = 8000;
setTimeout(() => {
  navigator.serviceWorker?.register("service-worker.js").catch((error) => {
    console.warn("this page will not work offline:", error);
  });
}, LATE_MS);
