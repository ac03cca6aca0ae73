//! The predictor for other people's pages: `groundglass.js` with its types. It computes where it is loaded,
//! so a page that should stay fluent loads it in a worker.

#[cfg(target_arch = "wasm32")]
mod package {
    use groundglass::detection::mask::rle::Rle;
    use groundglass::image::decode::from_rgba;
    use groundglass::image::{CtSlice, decode_slice};
    use groundglass::inference::{
        Cancelled, CpuBackend, PredictError, Predictor, Progress, Settings, Stage,
    };
    use groundglass::web::weights::fetch_model;
    use groundglass::web::yielder::Yielder;
    use js_sys::{Error, Function, Reflect, Uint8Array};
    use serde::Serialize;
    use wasm_bindgen::prelude::*;
    use web_sys::ImageData;

    #[wasm_bindgen(typescript_custom_section)]
    const TYPES: &str = include_str!("package.d.ts");

    #[wasm_bindgen]
    extern "C" {
        /// See `package.d.ts`.
        #[wasm_bindgen(typescript_type = "LoadOptions")]
        pub type LoadOptions;
        /// See `package.d.ts`.
        #[wasm_bindgen(typescript_type = "PredictOptions")]
        pub type PredictOptions;
        /// See `package.d.ts`.
        #[wasm_bindgen(typescript_type = "ImageData | Uint8Array")]
        pub type Input;
        /// See `package.d.ts`.
        #[wasm_bindgen(typescript_type = "RunLengths")]
        pub type RunLengths;
    }

    /// A loaded model.
    #[wasm_bindgen]
    pub struct Groundglass {
        predictor: Predictor<CpuBackend>,
        name: String,
        licence: String,
    }

    fn failed(message: impl ToString) -> JsValue {
        Error::new(&message.to_string()).into()
    }

    fn option(options: &JsValue, name: &str) -> Option<JsValue> {
        let value = Reflect::get(options, &name.into()).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    fn number(options: &JsValue, name: &str) -> Option<f32> {
        option(options, name).and_then(|value| value.as_f64()).map(|value| value as f32)
    }

    /// Tells the caller of each stage, and stops at its signal.
    struct Caller {
        signal: Option<JsValue>,
        on_stage: Option<Function>,
        yielder: Yielder,
    }

    impl Progress for Caller {
        async fn enter(&mut self, stage: Stage) -> Result<(), Cancelled> {
            if let Some(on_stage) = &self.on_stage
                && let Err(error) = on_stage.call1(&JsValue::NULL, &stage.name().into())
            {
                web_sys::console::error_1(&error);
            }
            self.yielder.yield_if_due().await;
            let aborted = self.signal.as_ref().and_then(|signal| option(signal, "aborted"));
            if aborted.is_some_and(|aborted| aborted.is_truthy()) { Err(Cancelled) } else { Ok(()) }
        }
    }

    #[wasm_bindgen]
    impl Groundglass {
        /// Fetches a model, checks it against its hashes, and checks that this machine computes it right.
        pub async fn load(options: Option<LoadOptions>) -> Result<Groundglass, JsValue> {
            console_error_panic_hook::set_once();
            let options: JsValue = options.map(JsValue::from).unwrap_or_default();
            let text = |name: &str| option(&options, name).and_then(|value| value.as_string());
            let folder = text("models").unwrap_or_else(|| "models".into());
            let on_progress =
                option(&options, "onProgress").and_then(|value| value.dyn_into::<Function>().ok());
            let progress = |received: u64, total: u64| {
                let (received, total) = (received as f64, total as f64);
                if let Some(call) = &on_progress
                    && let Err(error) = call.call2(&JsValue::NULL, &received.into(), &total.into())
                {
                    web_sys::console::error_1(&error);
                }
            };
            let model = text("model");
            let folder = folder.trim_end_matches('/');
            let loaded = fetch_model(folder, model.as_deref(), &progress).await.map_err(failed)?;
            let predictor =
                Predictor::on_cpu(&loaded.model, "cpu (WebAssembly)").map_err(failed)?;
            if let Some(test) = &loaded.self_test {
                predictor.check(test).await.map_err(failed)?;
            }
            Ok(Self { predictor, name: loaded.name, licence: loaded.licence })
        }

        /// Name of the model.
        #[wasm_bindgen(getter)]
        pub fn model(&self) -> String {
            self.name.clone()
        }

        /// Licence of its weights.
        #[wasm_bindgen(getter)]
        pub fn licence(&self) -> String {
            self.licence.clone()
        }

        /// Finds and outlines lesions on a slice and classifies it. `input` is a picture's pixels, or the
        /// bytes of a PNG, JPEG, DICOM or NIfTI file with one slice.
        #[wasm_bindgen(unchecked_return_type = "SliceReport")]
        pub async fn predict(
            &self,
            input: Input,
            options: Option<PredictOptions>,
        ) -> Result<JsValue, JsValue> {
            let options: JsValue = options.map(JsValue::from).unwrap_or_default();
            let name = option(&options, "name").and_then(|value| value.as_string());
            let slice = slice(input.into(), name.as_deref().unwrap_or("slice"))?;
            let settings = Settings {
                score_threshold: number(&options, "scoreThreshold")
                    .unwrap_or(Settings::default().score_threshold),
                force: option(&options, "force").is_some_and(|value| value.is_truthy()),
                ..Settings::default()
            };
            let settings = settings.checked().map_err(failed)?;
            let signal = option(&options, "signal");
            let mut caller = Caller {
                signal: signal.clone(),
                on_stage: option(&options, "onStage").and_then(|value| value.dyn_into().ok()),
                yielder: Yielder::default(),
            };
            match self.predictor.predict(&slice, &settings, &mut caller).await {
                Ok(report) => {
                    let plain = serde_wasm_bindgen::Serializer::json_compatible();
                    report.serialize(&plain).map_err(failed)
                }
                // What the caller gave to `abort`, as browsers' own functions do.
                Err(PredictError::Cancelled(cancelled)) => Err(signal
                    .and_then(|s| option(&s, "reason"))
                    .unwrap_or_else(|| failed(cancelled))),
                Err(error) => Err(failed(error)),
            }
        }
    }

    /// The pixels of a mask, row by row: 1 inside, 0 outside.
    #[wasm_bindgen(js_name = decodeMask)]
    pub fn decode_mask(mask: RunLengths) -> Result<Vec<u8>, JsValue> {
        let mask: Rle = serde_wasm_bindgen::from_value(mask.into()).map_err(failed)?;
        let mask = mask.decode().map_err(failed)?;
        Ok(mask.pixels.into_iter().map(u8::from).collect())
    }

    fn slice(input: JsValue, name: &str) -> Result<CtSlice, JsValue> {
        if let Some(pixels) = input.dyn_ref::<ImageData>() {
            let (width, height) = (pixels.width() as usize, pixels.height() as usize);
            let raw = from_rgba(width, height, pixels.data().0).map_err(failed)?;
            return Ok(raw.windowed(name, None));
        }
        let bytes = input.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec);
        let bytes = bytes.ok_or_else(|| failed("predict takes an ImageData or a Uint8Array"))?;
        decode_slice(name, &bytes, None).map_err(failed)
    }
}

fn main() {}
