//! The worker: fetches a model, checks its device, predicts slices.

mod device;
mod export;
mod files;
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

use self::files::BrowserFile;
use super::environment;
use super::protocol::{self, Beside, Contents, Envelope, Event, Request, SeriesContents};
use crate::image::examination::SeriesSlice;
use crate::image::slice::RawSlice;
use crate::image::{Examination, ImageError, Window};
use crate::predict::report::FileError;
use crate::predict::{Cancelled, Monitor, PredictError, Predictor, Settings, Stage};

/// Work for this long before returning to the event loop to hear of a cancellation.
const YIELD_AFTER: Duration = Duration::from_millis(30);

/// Starts listening. `kind` is what this binary computes on.
pub fn run(kind: DeviceKind) {
    std::panic::set_hook(Box::new(|info| {
        // A panic ends this worker without an event that the page could see.
        console_error_panic_hook::hook(info);
        let message = format!("the worker stopped ({info})");
        post(&Event::DeviceFailed { message }, Beside::Nothing);
    }));
    // A shader that fails is only logged; without this bridge nobody would ever see it.
    if console_log::init_with_level(log::Level::Warn).is_err() {
        web_sys::console::warn_1(&"a logger was installed already".into());
    }
    let worker = Rc::new(Worker {
        kind,
        predictor: RefCell::new(None),
        opened: RefCell::new(Rc::new(Opened::default())),
        last_shown: RefCell::new(None),
        cancelled: Cell::new(0),
    });
    let listener = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        match protocol::decode::<Request>(&event.data()) {
            Ok(envelope) => worker.clone().hear(envelope),
            Err(error) => {
                let message =
                    format!("a message was not understood: {}", environment::describe(&error));
                post(&Event::LoadFailed { message }, Beside::Nothing);
            }
        }
    });
    scope().set_onmessage(Some(listener.as_ref().unchecked_ref()));
    // The listener lives as long as the worker.
    listener.forget();
    post(&Event::Started, Beside::Nothing);
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Sends an event; a page that is gone is no error.
fn post(event: &Event, beside: Beside<'_>) {
    let sent = protocol::encode(event, beside)
        .and_then(|(envelope, moved)| scope().post_message_with_transfer(&envelope, &moved));
    if let Err(error) = sent {
        web_sys::console::error_1(&error);
    }
}

/// Files that were opened.
struct Opened {
    batch: u32,
    examination: Examination<BrowserFile>,
}

impl Default for Opened {
    fn default() -> Self {
        Self { batch: 0, examination: Examination { series: Vec::new(), refused: Vec::new() } }
    }
}

impl Opened {
    fn slice(&self, number: usize) -> Option<&SeriesSlice<BrowserFile>> {
        self.examination.series.iter().flat_map(|series| &series.slices).nth(number)
    }

    fn contents(&self) -> Contents {
        let series = self.examination.series.iter().map(|series| SeriesContents {
            name: series.name.clone(),
            slices: series.slices.iter().map(|slice| slice.name.clone()).collect(),
            distance_mm: series.distance_mm,
            is_dicom: series.slices.first().is_some_and(|slice| slice.dicom_source().is_ok()),
            warnings: series.warnings.clone(),
        });
        let refused = self.examination.refused.iter().map(|(source, error)| FileError {
            source: source.clone(),
            message: error.to_string(),
        });
        Contents { series: series.collect(), refused: refused.collect() }
    }
}

struct Worker {
    kind: DeviceKind,
    predictor: RefCell<Option<Rc<Predictor>>>,
    opened: RefCell<Rc<Opened>>,
    /// The slice shown last, with the number of its batch and its own.
    last_shown: RefCell<Option<((u32, usize), RawSlice)>>,
    /// Highest job that was cancelled; jobs are numbered upwards.
    cancelled: Cell<u32>,
}

impl Worker {
    fn hear(self: Rc<Self>, Envelope { message, files, .. }: Envelope<Request>) {
        match message {
            Request::Load { model } => spawn_local(async move { self.load(model).await }),
            Request::Open { batch, names } => {
                let files = names.into_iter().zip(files.into_iter().map(BrowserFile));
                let opened = Opened { batch, examination: Examination::open(files) };
                post(&Event::Opened { batch, contents: opened.contents() }, Beside::Nothing);
                *self.opened.borrow_mut() = Rc::new(opened);
            }
            Request::Show { batch, slice, window } => self.show(batch, slice, window),
            Request::Predict { id, slice, settings } => {
                spawn_local(async move { self.predict(id, slice, settings).await });
            }
            Request::Identify { batch, slice } => {
                let opened = self.opened.borrow().clone();
                if let Some(place) = opened.slice(slice).filter(|_| opened.batch == batch) {
                    let elements = place.dicom_source().ok().map(|source| source.identifying);
                    post(&Event::Identified { batch, elements }, Beside::Nothing);
                }
            }
            Request::Export { format, report, slices, name, identity, card } => {
                let opened = self.opened.borrow().clone();
                let places: Option<Vec<_>> =
                    slices.iter().map(|number| opened.slice(*number)).collect();
                let places = places.unwrap_or_default();
                match export::write(format, &report, &places, identity, card.as_deref()) {
                    Ok(bytes) => {
                        let name = format.file_name(&name);
                        let media_type = format.media_type().into();
                        post(&Event::Exported { name, media_type }, Beside::Bytes(&bytes));
                    }
                    Err(message) => post(&Event::NotExported { message }, Beside::Nothing),
                }
            }
            Request::Cancel { id } => self.cancelled.set(id.max(self.cancelled.get())),
        }
    }

    fn show(&self, batch: u32, slice: usize, window: Option<Window>) {
        let opened = self.opened.borrow().clone();
        let Some(place) = opened.slice(slice).filter(|_| opened.batch == batch) else { return };
        match self.read_to_show(&opened, slice, place) {
            Ok(raw) => {
                let (given, chosen) = (raw.window, window);
                let window = window.or_else(|| raw.default_window());
                let shown = raw.windowed(&place.name, window);
                let (width, height) = (shown.width, shown.height);
                let event = Event::Shown { batch, slice, width, height, chosen, window, given };
                post(&event, Beside::Bytes(&shown.pixels));
            }
            Err(error) => {
                let message = error.to_string();
                post(&Event::NotShown { batch, slice, message }, Beside::Nothing);
            }
        }
    }

    /// Decodes a slice, unless it is the last one shown: windows change many times a second.
    fn read_to_show(
        &self,
        opened: &Opened,
        slice: usize,
        place: &SeriesSlice<BrowserFile>,
    ) -> Result<RawSlice, ImageError> {
        let key = (opened.batch, slice);
        if let Some((_, raw)) = self.last_shown.borrow().as_ref().filter(|(k, _)| *k == key) {
            return Ok(raw.clone());
        }
        let raw = place.read()?;
        *self.last_shown.borrow_mut() = Some((key, raw.clone()));
        Ok(raw)
    }

    async fn load(&self, model: Option<String>) {
        let loaded = match weights::fetch_model(model.as_deref()).await {
            Ok(loaded) => loaded,
            Err(message) => return post(&Event::LoadFailed { message }, Beside::Nothing),
        };
        post(&Event::WarmingUp, Beside::Nothing);
        let (predictor, details) = match device::predictor(self.kind, &loaded.model).await {
            Ok(found) => found,
            Err(device::StartError::Weights(error)) => {
                return post(&Event::LoadFailed { message: error.to_string() }, Beside::Nothing);
            }
            Err(device::StartError::Device(message)) => {
                return post(&Event::DeviceFailed { message }, Beside::Nothing);
            }
        };
        if let Err(error) = predictor.check(&loaded.canary).await {
            return post(&Event::DeviceFailed { message: error.to_string() }, Beside::Nothing);
        }
        let report = predictor.report();
        *self.predictor.borrow_mut() = Some(Rc::new(predictor));
        let ready = Event::Ready {
            device: report.device,
            details,
            model: loaded.name,
            models: report.model,
            licence: loaded.licence,
            regions: loaded.regions.map(Box::new),
            downloads: environment::downloads(),
        };
        post(&ready, Beside::Nothing);
    }

    async fn predict(&self, id: u32, number: usize, settings: Settings) {
        let refuse = |message: String| post(&Event::Refused { id, message }, Beside::Nothing);
        let predictor = self.predictor.borrow().clone();
        let Some(predictor) = predictor else {
            return refuse("no model is loaded yet".into());
        };
        let opened = self.opened.borrow().clone();
        let Some(place) = opened.slice(number) else {
            return refuse("the slice is no longer open".into());
        };
        let slice = match place.read() {
            Ok(raw) => raw.windowed(&place.name, None),
            Err(error) => return refuse(error.to_string()),
        };
        let mut monitor = JobMonitor { worker: self, id, yielded: Instant::now() };
        match predictor.predict(&slice, &settings, &mut monitor).await {
            Ok(report) => post(&Event::Done { id, report: Box::new(report) }, Beside::Nothing),
            Err(PredictError::Cancelled(_)) => post(&Event::Cancelled { id }, Beside::Nothing),
            Err(error) => {
                post(&Event::DeviceFailed { message: error.to_string() }, Beside::Nothing)
            }
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
        post(&Event::Stage { id: self.id, stage }, Beside::Nothing);
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
