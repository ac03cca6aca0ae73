// Loads the model, gives it a canvas, draws what comes back.
import init, { Groundglass, decodeMask } from "./groundglass.js";

const element = (id) => document.getElementById(id);
const say = (text) => (element("status").textContent = text);
const canvas = element("slice");
const context = canvas.getContext("2d", { willReadFrequently: true });
let abort;

async function start() {
  await init();
  const groundglass = await Groundglass.load({
    models: "../models",
    onProgress: (received, total) => say(`Loading: ${Math.round((100 * received) / total)} %`),
  });
  const picture = await createImageBitmap(await (await fetch("../samples/phantom-covid19.png")).blob());
  [canvas.width, canvas.height] = [picture.width, picture.height];
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  element("cancel").onclick = () => abort?.abort(new Error("cancelled by hand"));
  element("run").onclick = async () => {
    abort = new AbortController();
    element("cancel").disabled = false;
    try {
      const { signal } = abort;
      const report = await groundglass.predict(pixels, { name: "phantom", signal, onStage: say });
      draw(report, pixels);
      element("report").textContent = JSON.stringify({ ...report, regions: undefined }, null, 2);
      say(`lesions: ${report.lesions.length}, ${report.milliseconds.total.toFixed(0)} ms`);
    } catch (error) {
      say(error.message);
    }
    element("cancel").disabled = true;
  };
  element("run").disabled = false;
  say(`Ready: ${groundglass.model}.`);
}

function draw(report, pixels) {
  const marked = new ImageData(new Uint8ClampedArray(pixels.data), pixels.width);
  for (const lesion of report.lesions) {
    decodeMask(lesion.mask).forEach((inside, index) => {
      if (inside) marked.data[4 * index] = 255;
    });
  }
  context.putImageData(marked, 0, 0);
}

start().catch((error) => say(error.message));
