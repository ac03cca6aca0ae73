//! The worker: fetches a model, checks its device, predicts slices. It knows no files.

mod device;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

pub use device::CpuDevice;
#[cfg(feature = "webgpu")]
pub use device::GpuDevice;

use self::device::{StartError, WorkerDevice};
use crate::detection::postprocess::sigmoid;
use crate::image::CtSlice;
use crate::inference::{Cancelled, PredictError, Prediction, Predictor, Progress, Settings, Stage};
use crate::web::messages::worker::{Event, Request};
use crate::web::messages::{Envelope, Transfer};
use crate::web::weights::{FetchedModel, ModelError};
use crate::web::yielder::Yielder;
use crate::web::{browser, weights, worker_scope};

/// Starts listening. `D` is what this binary computes on.
pub fn run<D: WorkerDevice>() {
    let worker = Rc::new(Worker::<D> { predictor: RefCell::new(None), cancelled: Cell::new(0) });
    let on_message = move |envelope| worker.clone().on_message(envelope);
    worker_scope::listen(on_message, &Event::Started, |message| Event::Failed { message });
}

fn post(event: &Event) {
    worker_scope::post(event, Transfer::Nothing);
}

struct Worker<D: WorkerDevice> {
    predictor: RefCell<Option<Rc<Predictor<D::Backend>>>>,
    /// Highest job that was cancelled; jobs are numbered upwards.
    cancelled: Cell<u32>,
}

impl<D: WorkerDevice> Worker<D> {
    fn on_message(self: Rc<Self>, Envelope { message, bytes, files }: Envelope<Request>) {
        match message {
            Request::Load { models, model } => {
                let progress = |received: u64, total: u64| {
                    post(&Event::Loading { received: received as f64, total: total as f64 });
                };
                spawn_local(async move {
                    let found = weights::fetch_model(&models, model.as_deref(), &progress).await;
                    self.load(found).await;
                });
            }
            Request::LoadFile { name } => {
                let Some(file) = files.into_iter().next() else { return };
                spawn_local(async move {
                    self.load(weights::read_model(&name, &file).await).await;
                });
            }
            Request::Predict { id, mut slice, settings } => {
                slice.pixels = bytes;
                spawn_local(async move { self.predict(id, &slice, &settings).await });
            }
            Request::Cancel { id } => self.cancelled.set(id.max(self.cancelled.get())),
        }
    }

    async fn load(&self, found: Result<FetchedModel, ModelError>) {
        let loaded = match found {
            Ok(loaded) => loaded,
            Err(error) => return post(&Event::LoadFailed { message: error.to_string() }),
        };
        post(&Event::WarmingUp);
        let (predictor, details) = match D::predictor(&loaded.model).await {
            Ok(found) => found,
            Err(StartError::Weights(error)) => {
                return post(&Event::LoadFailed { message: error.to_string() });
            }
            Err(StartError::Device(message)) => return post(&Event::Failed { message }),
        };
        let _computing = D::while_computing();
        if let Some(test) = &loaded.self_test
            && let Err(error) = predictor.check(test).await
        {
            return post(&Event::Failed { message: error.to_string() });
        }
        let report = predictor.report();
        *self.predictor.borrow_mut() = Some(Rc::new(predictor));
        post(&Event::Ready {
            device: report.device,
            details,
            model: loaded.name,
            models: Box::new(report.model),
            licence: loaded.licence,
            regions: loaded.regions.map(Box::new),
            downloads: browser::downloads(),
            models_of_site: loaded.models_of_site,
        });
    }

    async fn predict(&self, id: u32, slice: &CtSlice, settings: &Settings) {
        let predictor = self.predictor.borrow().clone();
        let Some(predictor) = predictor else {
            return post(&Event::Failed { message: "no model is loaded yet".into() });
        };
        let mut progress =
            JobProgress { cancelled: &self.cancelled, id, yielder: Yielder::default() };
        let _computing = D::while_computing();
        post(&match predictor.predict_with_masks(slice, settings, &mut progress).await {
            Ok(Prediction { report, mask_logits }) => {
                let score = |logit: &f32| (sigmoid(*logit) * 255.0).round() as u8;
                let scores: Vec<u8> = mask_logits.iter().flatten().map(score).collect();
                let event = Event::Done { id, report: Box::new(report) };
                return worker_scope::post(&event, Transfer::Bytes(&scores));
            }
            Err(PredictError::Cancelled(_)) => Event::Cancelled { id },
            Err(error) => Event::Failed { message: error.to_string() },
        });
    }
}

/// Tells the page of each stage and lets cancellations in.
struct JobProgress<'a> {
    cancelled: &'a Cell<u32>,
    id: u32,
    yielder: Yielder,
}

impl Progress for JobProgress<'_> {
    async fn enter(&mut self, stage: Stage) -> Result<(), Cancelled> {
        post(&Event::Stage { id: self.id, stage });
        self.yielder.yield_if_due().await;
        if self.cancelled.get() >= self.id { Err(Cancelled) } else { Ok(()) }
    }
}
