// Times the exported graphs in onnxruntime-web: ?provider=wasm|webgpu &threads=N &runs=N. The answer is left in
// `window.answer`: milliseconds of every run by graph, those from the page's start to the first result, and the logits.
// The smaller bundle where it will do.
const webgpu = new URLSearchParams(location.search).get("provider") === "webgpu";
const ort = await import(webgpu ? "./ort/ort.webgpu.bundle.min.mjs" : "./ort/ort.wasm.bundle.min.mjs");

async function numbers(name) {
  const { dims } = (await (await fetch("graphs/inputs.json")).json())[name];
  const values = new Float32Array(await (await fetch(`graphs/${name}.bin`)).arrayBuffer());
  return new ort.Tensor("float32", values, dims);
}

async function race() {
  const asked = new URLSearchParams(location.search);
  const runs = Number(asked.get("runs"));
  const provider = asked.get("provider");
  const onGpu = provider === "webgpu";
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = Number(asked.get("threads"));
  const open = (name, more = {}) =>
    ort.InferenceSession.create(`graphs/${name}.onnx`, { executionProviders: [provider], ...more });
  // What only the next graph reads stays where it is.
  const kept = onGpu ? { preferredOutputLocation: { pyramid: "gpu-buffer", objectness: "cpu", deltas: "cpu" } } : {};
  const [features, regions, classifier] = [await open("features", kept), await open("regions"), await open("classifier")];
  const [image, boxes, maskBoxes, none, images] = await Promise.all(
    ["image", "boxes", "mask_boxes", "no_box", "images"].map(numbers),
  );
  const read = async (values) => Promise.all(Object.values(values).map((value) => value.getData()));
  const times = { features: [], boxes: [], masks: [], classification: [] };
  let first, logits;
  for (let run = 0; run <= runs; run++) {
    const at = [performance.now()];
    const { pyramid, objectness, deltas } = await features.run({ image });
    await read({ objectness, deltas });
    at.push(performance.now());
    const found = await regions.run({ pyramid, boxes, mask_boxes: none }, ["logits", "deltas"]);
    [logits] = await read({ logits: found.logits, deltas: found.deltas });
    at.push(performance.now());
    await read(await regions.run({ pyramid, boxes: none, mask_boxes: maskBoxes }, ["masks"]));
    at.push(performance.now());
    await read(await classifier.run({ images }));
    at.push(performance.now());
    first ??= at[4];
    pyramid.dispose?.();
    if (run > 0) Object.keys(times).forEach((stage, k) => times[stage].push(at[k + 1] - at[k]));
  }
  return { times, first, logits: Array.from(logits), version: ort.env.versions.web };
}

window.addEventListener("error", (event) => { window.answer ??= { error: event.message }; });
window.answer = await race().catch((error) => ({ error: String(error) }));
