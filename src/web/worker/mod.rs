//! The worker: fetches a model, checks its device, predicts slices.

mod device;
mod weights;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo::timers::future::TimeoutFuture;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};
use web_time::{Duration, Instant};

pub use device::DeviceKind;

use super::environment;
use super::protocol::{self, Event, Request};
use crate::image::decode_slice;
use crate::predict::{Cancelled, Monitor, PredictError, Predictor, Settings, Stage};

/// Work for this long before returning to the event loop to hear of a cancellation.
const YIELD_AFTER: Duration = Duration::from_millis(30);

/// Starts listening. `kind` is what this binary computes on.
pub fn run(kind: DeviceKind) {
    std::panic::set_hook(Box::new(|info| {
        // A panic ends this worker without an event that the page could see.
        console_error_panic_hook::hook(info);
        post(&Event::DeviceFailed { message: format!("the worker stopped ({info})") }, None);
    }));
    // A shader that fails is only logged; without this bridge nobody would ever see it.
    if console_log::init_with_level(log::Level::Warn).is_err() {
        web_sys::console::warn_1(&"a logger was installed already".into());
    }
    let worker = Rc::new(Worker { kind, predictor: RefCell::new(None), cancelled: Cell::new(0) });
    let listener = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        match protocol::decode::<Request>(&event.data()) {
            Ok((request, bytes)) => worker.clone().hear(request, bytes),
            Err(error) => {
                let message =
                    format!("a message was not understood: {}", environment::describe(&error));
                post(&Event::LoadFailed { message }, None);
            }
        }
    });
    scope().set_onmessage(Some(listener.as_ref().unchecked_ref()));
    // The listener lives as long as the worker.
    listener.forget();
    post(&Event::Started, None);
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Sends an event; a page that is gone is no error.
fn post(event: &Event, buffer: Option<&[u8]>) {
    let sent = protocol::encode(event, buffer)
        .and_then(|(envelope, moved)| scope().post_message_with_transfer(&envelope, &moved));
    if let Err(error) = sent {
        web_sys::console::error_1(&error);
    }
}

struct Worker {
    kind: DeviceKind,
    predictor: RefCell<Option<Rc<Predictor>>>,
    /// Highest job that was cancelled; jobs are numbered upwards.
    cancelled: Cell<u32>,
}

impl Worker {
    fn hear(self: Rc<Self>, request: Request, bytes: Vec<u8>) {
        match request {
            Request::Load { model } => spawn_local(async move { self.load(model).await }),
            Request::Predict { id, source, settings } => {
                spawn_local(async move { self.predict(id, source, &bytes, settings).await });
            }
            Request::Cancel { id } => self.cancelled.set(id.max(self.cancelled.get())),
        }
    }

    async fn load(&self, model: Option<String>) {
        let loaded = match weights::fetch_model(model.as_deref()).await {
            Ok(loaded) => loaded,
            Err(message) => return post(&Event::LoadFailed { message }, None),
        };
        post(&Event::WarmingUp, None);
        let predictor = match device::predictor(self.kind, &loaded.model).await {
            Ok(predictor) => predictor,
            Err(device::StartError::Weights(error)) => {
                return post(&Event::LoadFailed { message: error.to_string() }, None);
            }
            Err(device::StartError::Device(message)) => {
                return post(&Event::DeviceFailed { message }, None);
            }
        };
        if let Err(error) = predictor.check(&loaded.canary).await {
            return post(&Event::DeviceFailed { message: error.to_string() }, None);
        }
        let report = predictor.report();
        *self.predictor.borrow_mut() = Some(Rc::new(predictor));
        let ready = Event::Ready {
            device: report.device,
            model: loaded.name,
            models: report.model,
            licence: loaded.licence,
            downloads: environment::downloads(),
        };
        post(&ready, None);
    }

    async fn predict(&self, id: u32, source: String, bytes: &[u8], settings: Settings) {
        let refuse = |message: String| post(&Event::Refused { id, message }, None);
        let predictor = self.predictor.borrow().clone();
        let Some(predictor) = predictor else {
            return refuse("no model is loaded yet".into());
        };
        let slice = match decode_slice(&source, bytes, None) {
            Ok(slice) => slice,
            Err(error) => return refuse(error.to_string()),
        };
        let decoded = Event::Decoded { id, width: slice.width, height: slice.height };
        post(&decoded, Some(&slice.pixels));
        let mut monitor = JobMonitor { worker: self, id, yielded: Instant::now() };
        match predictor.predict(&slice, &settings, &mut monitor).await {
            Ok(report) => post(&Event::Done { id, report: Box::new(report) }, None),
            Err(PredictError::Cancelled(_)) => post(&Event::Cancelled { id }, None),
            Err(error) => post(&Event::DeviceFailed { message: error.to_string() }, None),
        }
    }
}

/// Tells the page of each stage and lets cancellations in.
struct JobMonitor<'a> {
    worker: &'a Worker,
    id: u32,
    yielded: Instant,
}

impl Monitor for JobMonitor<'_> {
    async fn enter(&mut self, stage: Stage) -> Result<(), Cancelled> {
        post(&Event::Stage { id: self.id, stage }, None);
        if self.yielded.elapsed() > YIELD_AFTER {
            TimeoutFuture::new(0).await;
            self.yielded = Instant::now();
        }
        if self.worker.cancelled.get() >= self.id { Err(Cancelled) } else { Ok(()) }
    }
}

/// A JavaScript error as text, for messages.
fn text(error: JsValue) -> String {
    environment::describe(&error)
}
