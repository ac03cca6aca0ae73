//! The page's side of the worker: starting, restarting, jobs, and the change from GPU to CPU.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use gloo::timers::callback::Timeout;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::{ErrorEvent, File, MessageEvent, Worker};
use yew::UseReducerDispatcher;

use super::environment;
use super::options::{Device, PageOptions};
use super::pictures::Pictures;
use super::protocol::{self, Beside, Contents, Event, Request};
use super::state::{Action, ModelState, Phase, Picture, State};
use crate::export::Format;
use crate::export::dicom::Identity;
use crate::image::Window;
use crate::predict::Settings;
use crate::predict::report::Report;

/// A worker that has not confirmed a cancellation after this long is replaced.
const CANCEL_PATIENCE_MS: u32 = 1500;

/// The lowest score computed: the page's slider leaves out more without asking the network again.
const LOWEST_SCORE: f32 = 0.05;

/// Files that the visitor opened; kept, so that another worker can take over.
struct Batch {
    number: u32,
    names: Vec<String>,
    files: Vec<File>,
    /// What is in them, once the worker has said so.
    contents: Option<Rc<Contents>>,
}

/// A slice that the worker predicts.
#[derive(Clone, Copy)]
struct Job {
    id: u32,
    slice: usize,
}

struct Running {
    worker: Worker,
    device: Device,
    ready: bool,
    /// Kept alive as long as the worker calls them.
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

/// The connection to the worker. Cloning it gives another handle to the same one.
#[derive(Clone)]
pub struct Session {
    inner: Rc<Inner>,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

struct Inner {
    options: PageOptions,
    dispatch: UseReducerDispatcher<State>,
    running: RefCell<Option<Running>>,
    batch: RefCell<Option<Batch>>,
    /// Whether the present worker has opened the batch.
    is_opened: Cell<bool>,
    /// The slice to look at, and its window.
    shown: Cell<(usize, Option<Window>)>,
    pictures: Pictures,
    /// Whether a slice was asked for and has not come, and whether another is wanted since: windows and
    /// slices change faster than they are decoded.
    awaiting: Cell<Option<bool>>,
    /// Slices that wait to be predicted.
    queue: RefCell<VecDeque<usize>>,
    job: RefCell<Option<Job>>,
    next_id: Cell<u32>,
    /// Crashes of the CPU worker in a row; after one restart it is given up.
    crashes: Cell<u32>,
    patience: RefCell<Option<Timeout>>,
}

impl Session {
    /// Chooses a device and starts its worker.
    pub fn start(options: PageOptions, dispatch: UseReducerDispatcher<State>) -> Self {
        let session = Self {
            inner: Rc::new(Inner {
                options,
                dispatch,
                running: RefCell::new(None),
                batch: RefCell::new(None),
                is_opened: Cell::new(false),
                shown: Cell::new((0, None)),
                pictures: Pictures::default(),
                awaiting: Cell::new(None),
                queue: RefCell::new(VecDeque::new()),
                job: RefCell::new(None),
                next_id: Cell::new(1),
                crashes: Cell::new(0),
                patience: RefCell::new(None),
            }),
        };
        let chosen = session.clone();
        spawn_local(async move {
            let device = match chosen.inner.options.device {
                Some(Device::Cpu) => Device::Cpu,
                wished => {
                    if environment::has_gpu_adapter().await {
                        Device::Gpu
                    } else {
                        if wished == Some(Device::Gpu) {
                            chosen.dispatch(Action::Notice(
                                "This browser offers no WebGPU adapter, so the CPU computes."
                                    .into(),
                            ));
                        }
                        Device::Cpu
                    }
                }
            };
            chosen.spawn(device);
        });
        session
    }

    /// The options of the address.
    pub fn options(&self) -> &PageOptions {
        &self.inner.options
    }

    fn dispatch(&self, action: Action) {
        self.inner.dispatch.dispatch(action);
    }

    fn spawn(&self, device: Device) {
        self.dispatch(Action::Phase(Phase::Starting));
        self.inner.is_opened.set(false);
        self.inner.awaiting.set(None);
        let worker = match Worker::new(&environment::program(device.files()[0])) {
            Ok(worker) => worker,
            Err(error) => {
                let message =
                    format!("The worker did not start: {}", environment::describe(&error));
                return self.dispatch(Action::Broken(message));
            }
        };
        let session = self.clone();
        let on_message =
            Closure::<dyn Fn(MessageEvent)>::new(
                move |event: MessageEvent| match protocol::decode::<Event>(&event.data()) {
                    Ok(envelope) => session.hear(envelope.message, envelope.bytes),
                    Err(error) => session.device_failed(&environment::describe(&error)),
                },
            );
        let session = self.clone();
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            event.prevent_default();
            session.device_failed(&event.message());
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        *self.inner.running.borrow_mut() = Some(Running {
            worker,
            device,
            ready: false,
            _on_message: on_message,
            _on_error: on_error,
        });
    }

    fn send(&self, request: &Request, beside: Beside<'_>) {
        let running = self.inner.running.borrow();
        let Some(running) = running.as_ref() else { return };
        let sent = protocol::encode(request, beside).and_then(|(envelope, moved)| {
            running.worker.post_message_with_transfer(&envelope, &moved)
        });
        if let Err(error) = sent {
            web_sys::console::error_1(&error);
        }
    }

    fn number(&self) -> u32 {
        let id = self.inner.next_id.get();
        self.inner.next_id.set(id + 1);
        id
    }

    fn is_ready(&self) -> bool {
        self.inner.running.borrow().as_ref().is_some_and(|running| running.ready)
    }

    /// Opens files instead of those that are open.
    pub fn open(&self, files: Vec<(String, File)>) {
        self.cancel();
        let number = self.number();
        let (names, files): (Vec<String>, Vec<File>) = files.into_iter().unzip();
        self.dispatch(Action::Submitted { files: files.len() });
        let batch = Batch { number, names, files, contents: None };
        *self.inner.batch.borrow_mut() = Some(batch);
        self.inner.is_opened.set(false);
        self.inner.shown.set((0, None));
        self.inner.pictures.clear();
        self.inner.awaiting.set(None);
        self.send_files();
    }

    /// Sends the files to a worker that does not have them.
    fn send_files(&self) {
        if !self.is_ready() || self.inner.is_opened.get() {
            return;
        }
        if let Some(batch) = self.inner.batch.borrow().as_ref() {
            let request = Request::Open { batch: batch.number, names: batch.names.clone() };
            self.send(&request, Beside::Files(&batch.files));
        }
    }

    /// Shows a slice.
    pub fn show(&self, slice: usize, window: Option<Window>) {
        self.inner.shown.set((slice, window));
        self.dispatch(Action::Show { slice, window });
        if let Some(picture) = self.inner.pictures.get((slice, window)) {
            return self.dispatch(Action::Shown(picture));
        }
        match self.inner.awaiting.get() {
            Some(_) => self.inner.awaiting.set(Some(true)),
            None => self.ask_for_shown(),
        }
    }

    fn ask_for_shown(&self) {
        let (slice, window) = self.inner.shown.get();
        if let Some(batch) = self.inner.batch.borrow().as_ref() {
            self.inner.awaiting.set(Some(false));
            let request = Request::Show { batch: batch.number, slice, window };
            self.send(&request, Beside::Nothing);
        }
    }

    /// What was asked for has come; if something else is wanted since, that is asked for.
    fn has_come(&self) {
        if self.inner.awaiting.replace(None) == Some(true) {
            self.ask_for_shown();
        }
    }

    /// Shows a slice, and predicts it if it is new and nothing runs.
    pub fn look_at(&self, state: &State, slice: usize) {
        self.show(slice, state.window);
        if !state.is_running() && !state.reports.contains_key(&slice) {
            self.run([slice]);
        }
    }

    /// Asks what the shown file holds that identifies people.
    pub fn identify(&self) {
        if let Some(batch) = self.inner.batch.borrow().as_ref() {
            let slice = self.inner.shown.get().0;
            self.send(&Request::Identify { batch: batch.number, slice }, Beside::Nothing);
        }
    }

    /// Predicts slices one after the other; what waited before is forgotten, what runs goes on.
    pub fn run(&self, slices: impl IntoIterator<Item = usize>) {
        let mut queue: VecDeque<usize> = slices.into_iter().collect();
        if let Some(job) = *self.inner.job.borrow() {
            queue.retain(|slice| *slice != job.slice);
        }
        self.dispatch(Action::Queued { slices: queue.len() });
        *self.inner.queue.borrow_mut() = queue;
        self.send_next();
    }

    /// Sends the next slice, if the worker is ready for it.
    fn send_next(&self) {
        if !self.is_ready() || !self.inner.is_opened.get() || self.inner.job.borrow().is_some() {
            return;
        }
        let Some(slice) = self.inner.queue.borrow_mut().pop_front() else { return };
        let id = self.number();
        *self.inner.job.borrow_mut() = Some(Job { id, slice });
        let waiting = self.inner.queue.borrow().len();
        self.dispatch(Action::Phase(Phase::Running { slice, stage: None, waiting }));
        let settings = Settings { score_threshold: LOWEST_SCORE, ..Settings::default() };
        self.send(&Request::Predict { id, slice, settings }, Beside::Nothing);
    }

    /// Cancels what runs and what waits. A worker deep in a computation that does not answer is
    /// replaced.
    pub fn cancel(&self) {
        let waited = !self.inner.queue.borrow().is_empty();
        self.inner.queue.borrow_mut().clear();
        let Some(job) = self.inner.job.borrow_mut().take() else {
            if waited {
                self.dispatch(Action::Cancelled);
            }
            return;
        };
        self.dispatch(Action::Cancelled);
        self.send(&Request::Cancel { id: job.id }, Beside::Nothing);
        let session = self.clone();
        let replace = Timeout::new(CANCEL_PATIENCE_MS, move || {
            let device = session.inner.running.borrow_mut().take().map(|running| running.device);
            if let Some(device) = device {
                session.spawn(device);
            }
        });
        *self.inner.patience.borrow_mut() = Some(replace);
    }

    /// Asks for a file with what `report` says; its slices are numbered by `slices`.
    pub fn export(
        &self,
        format: Format,
        (report, slices, name): (Report, Vec<usize>, String),
        identity: Identity,
        card: Option<String>,
    ) {
        if !self.inner.is_opened.get() {
            let message = "The files are being opened again; save once more in a moment.";
            return self.dispatch(Action::Failed(message.into()));
        }
        let report = Box::new(report);
        let request = Request::Export { format, report, slices, name, identity, card };
        self.send(&request, Beside::Nothing);
    }

    /// The job is over; the next begins.
    fn finish(&self, id: u32, action: impl FnOnce(usize) -> Action) {
        self.inner.patience.borrow_mut().take();
        let job = self.inner.job.borrow_mut().take_if(|job| job.id == id);
        if let Some(job) = job {
            self.inner.crashes.set(0);
            self.dispatch(action(job.slice));
            self.send_next();
        }
    }

    fn opened(&self, number: u32, contents: Contents) {
        let contents = Rc::new(contents);
        let is_first = match self.inner.batch.borrow_mut().as_mut() {
            Some(batch) if batch.number == number => {
                batch.contents.replace(contents.clone()).is_none()
            }
            _ => return,
        };
        self.inner.is_opened.set(true);
        if !is_first {
            // Another worker took over: it may not have shown the slice yet, and what waited goes on.
            let (slice, window) = self.inner.shown.get();
            self.show(slice, window);
            return self.send_next();
        }
        self.dispatch(Action::Opened(contents.clone()));
        // The middle of the longest series says most about an examination.
        let mut first = 0;
        let mut longest: Option<(usize, usize)> = None;
        for series in &contents.series {
            let length = series.slices.len();
            if longest.is_none_or(|(known, _)| length > known) {
                longest = Some((length, first + length / 2));
            }
            first += length;
        }
        if let Some((_, middle)) = longest {
            self.show(middle, None);
            self.run([middle]);
        }
    }

    fn hear(&self, event: Event, buffer: Vec<u8>) {
        match event {
            Event::Started => {
                let model = self.inner.options.model.clone();
                self.send(&Request::Load { model }, Beside::Nothing);
            }
            Event::Loading { received, total } => {
                self.dispatch(Action::Phase(Phase::Loading { received, total }));
            }
            Event::WarmingUp => self.dispatch(Action::Phase(Phase::WarmingUp)),
            Event::Ready { device, details, model, models, licence, regions, downloads } => {
                if let Some(running) = self.inner.running.borrow_mut().as_mut() {
                    running.ready = true;
                    environment::keep_offline(&running.device.files(), &model);
                }
                self.fetch_card(&model);
                let (name, regions) = (model, regions.map(Rc::from));
                let ready =
                    ModelState { device, details, name, models, licence, regions, downloads };
                self.dispatch(Action::Ready(ready));
                self.send_files();
            }
            Event::Opened { batch, contents } => self.opened(batch, contents),
            Event::Shown { batch, slice, width, height, chosen, window, given } => {
                if let Some(source) = self.name_if_open(batch, slice) {
                    let pixels = Rc::new(buffer);
                    let picture = Picture { source, slice, width, height, pixels, window, given };
                    // While slices are run through, each that comes is shown, but not over the wanted one.
                    if self.inner.pictures.get(self.inner.shown.get()).is_none() {
                        self.dispatch(Action::Shown(picture.clone()));
                    }
                    self.inner.pictures.keep((slice, chosen), picture);
                    self.has_come();
                }
            }
            Event::Identified { batch, elements } => {
                if self.inner.batch.borrow().as_ref().is_some_and(|known| known.number == batch) {
                    self.dispatch(Action::Identified(elements));
                }
            }
            Event::NotShown { batch, slice, message } => {
                self.has_come();
                if let Some(source) = self.name_if_open(batch, slice) {
                    self.dispatch(Action::Failed(format!("{source}: {message}")));
                }
            }
            Event::Stage { id, stage } => {
                let job = self.inner.job.borrow().filter(|job| job.id == id);
                if let Some(Job { slice, .. }) = job {
                    let waiting = self.inner.queue.borrow().len();
                    let phase = Phase::Running { slice, stage: Some(stage), waiting };
                    self.dispatch(Action::Phase(phase));
                }
            }
            Event::Done { id, report } => {
                self.finish(id, |slice| Action::Done { slice, report: Rc::from(report) });
            }
            Event::Exported { name, media_type } => {
                if let Err(error) = environment::save(&name, &media_type, &buffer) {
                    let message = environment::describe(&error);
                    self.dispatch(Action::Failed(format!("{name} was not saved: {message}")));
                }
            }
            Event::NotExported { message } => self.dispatch(Action::Failed(message)),
            // The page has said so when it was asked for.
            Event::Cancelled { .. } => {
                self.inner.patience.borrow_mut().take();
            }
            Event::Refused { id, message } => {
                let batch = self.inner.batch.borrow();
                let contents = batch.as_ref().and_then(|batch| batch.contents.clone());
                drop(batch);
                self.finish(id, |slice| {
                    let contents = contents.unwrap_or_default();
                    Action::Refused(format!("{}: {message}", contents.name(slice)))
                });
            }
            Event::LoadFailed { message } => {
                self.inner.running.borrow_mut().take();
                self.dispatch(Action::Broken(format!("The model cannot be used: {message}.")));
            }
            Event::DeviceFailed { message } => self.device_failed(&message),
        }
    }

    /// Fetches the card of a model; a page without it still works.
    fn fetch_card(&self, model: &str) {
        let (session, address) = (self.clone(), format!("models/{model}.md"));
        spawn_local(async move {
            match environment::fetch_bytes(&address).await {
                Ok(bytes) => {
                    let card = String::from_utf8_lossy(&bytes).into_owned();
                    session.dispatch(Action::Card(card.into()));
                }
                Err(error) => log::warn!("the model card is not shown: {error}"),
            }
        });
    }

    /// Name of a slice of the open files.
    fn name_if_open(&self, number: u32, slice: usize) -> Option<String> {
        let batch = self.inner.batch.borrow();
        let batch = batch.as_ref().filter(|batch| batch.number == number)?;
        let contents = batch.contents.as_ref()?;
        (slice < contents.slices()).then(|| contents.name(slice).to_owned())
    }

    /// The CPU takes over from a GPU that failed; a CPU worker is restarted once. The job at hand
    /// is computed again.
    fn device_failed(&self, reason: &str) {
        let Some(failed) = self.inner.running.borrow_mut().take() else { return };
        self.inner.patience.borrow_mut().take();
        if let Some(job) = self.inner.job.borrow_mut().take() {
            self.inner.queue.borrow_mut().push_front(job.slice);
        }
        let reason = reason.trim_end_matches('.');
        match failed.device {
            Device::Gpu => {
                self.dispatch(Action::Notice(format!(
                    "The graphics card is no longer used: {reason}. The CPU computes now."
                )));
                self.spawn(Device::Cpu);
            }
            Device::Cpu if self.inner.crashes.get() == 0 => {
                self.inner.crashes.set(1);
                self.dispatch(Action::Notice(format!("The worker was restarted: {reason}.")));
                self.spawn(Device::Cpu);
            }
            Device::Cpu => {
                self.inner.queue.borrow_mut().clear();
                self.dispatch(Action::Broken(format!("Nothing can be computed here: {reason}.")));
            }
        }
    }
}
