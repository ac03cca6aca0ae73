// Starts the page. A file of its own, so that the policy of index.html can forbid inline scripts.
import init from "./app.js";

init({ module_or_path: "./app_bg.wasm" }).catch((error) => {
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  message.textContent = `This page could not start: ${error}`;
  document.body.append(message);
});
