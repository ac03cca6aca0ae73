//! A program in a web worker, seen from the page.

use gloo::timers::callback::Timeout;
use js_sys::{Array, JSON};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, BlobPropertyBag, ErrorEvent, MessageEvent, Url, Worker, WorkerOptions};

use crate::web::browser;
use crate::web::messages::{self, Transfer};
use crate::web::session::watchdog::Watchdog;
use crate::web::texts::text;

/// A worker that has not answered this long after its start counts as failed. Its files may still be on
/// their way, over a slow line.
const START_TIMEOUT_MS: u32 = 120_000;

/// The browser does not start a worker.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct StartError(String);

/// The worker; dropping it terminates it.
pub struct WorkerHandle {
    worker: Worker,
    /// Runs out if the worker never answers.
    start_timeout: Option<Watchdog>,
    /// Kept alive as long as the worker calls them.
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl WorkerHandle {
    /// Starts the program of a script and its wasm. `on_event` is called for each event with the bytes beside it,
    /// `failed` if the program breaks or never answers.
    pub fn start<E: DeserializeOwned + 'static>(
        files: [&str; 2],
        on_event: impl Fn(E, Vec<u8>) + 'static,
        failed: impl Fn(&str) + Clone + 'static,
    ) -> Result<Self, StartError> {
        let worker = start(files).map_err(|error| StartError(browser::describe(&error)))?;
        let not_understood = failed.clone();
        let on_message =
            Closure::<dyn Fn(MessageEvent)>::new(
                move |event: MessageEvent| match messages::decode::<E>(&event.data()) {
                    Ok(envelope) => on_event(envelope.message, envelope.bytes),
                    Err(error) => not_understood(&browser::describe(&error)),
                },
            );
        let broken = failed.clone();
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            event.prevent_default();
            broken(&event.message());
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let start_timeout =
            Watchdog::new(START_TIMEOUT_MS, move || failed(&text!("session.no_start")));
        let start_timeout = Some(start_timeout);
        Ok(Self { worker, start_timeout, _on_message: on_message, _on_error: on_error })
    }

    /// The program has answered.
    pub fn has_started(&mut self) {
        self.start_timeout = None;
    }

    /// Sends a request.
    pub fn send<R: Serialize>(&self, request: &R, transfer: Transfer<'_>) {
        let sent = messages::encode(request, transfer).and_then(|(envelope, moved)| {
            self.worker.post_message_with_transfer(&envelope, &moved)
        });
        if let Err(error) = sent {
            web_sys::console::error_1(&error);
        }
    }
}

/// Starts a worker from a script of the page's own making. A worker that is fetched has the policy that its
/// host sends, or none; one that the page makes inherits the page's, which forbids it every other origin.
fn start([script, wasm]: [&str; 2]) -> Result<Worker, JsValue> {
    let address = |file: &str| {
        let absolute = browser::absolute(&browser::program(file))?;
        // As JavaScript writes a text.
        JSON::stringify(&JsValue::from(absolute))
    };
    let (script_address, wasm) = (address(script)?, address(wasm)?);
    let text = format!(
        "importScripts({script_address});wasm_bindgen({{module_or_path:{wasm}}}).catch((error)=>setTimeout(()=>{{throw error}}));"
    );
    let kind = BlobPropertyBag::new();
    kind.set_type("text/javascript");
    let parts = Array::of1(&JsValue::from(text));
    let url =
        Url::create_object_url_with_blob(&Blob::new_with_str_sequence_and_options(&parts, &kind)?)?;
    let options = WorkerOptions::new();
    options.set_name(script);
    let worker = Worker::new_with_options(&url, &options);
    // Not at once: some browsers fetch the script later.
    Timeout::new(START_TIMEOUT_MS, move || drop(Url::revoke_object_url(&url))).forget();
    worker
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}
