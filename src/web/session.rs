//! The page's side of the worker: starting, restarting, jobs, and the change from GPU to CPU.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo::timers::callback::Timeout;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{ErrorEvent, MessageEvent, UrlSearchParams, Worker};
use yew::UseReducerDispatcher;

use super::environment;
use super::protocol::{self, Event, Request};
use super::state::{Action, ModelState, Phase, Picture, State};
use crate::predict::Settings;

/// A worker that has not confirmed a cancellation after this long is replaced.
const CANCEL_PATIENCE_MS: u32 = 1500;

/// `?device=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Gpu,
    Cpu,
}

impl Device {
    fn script(self) -> &'static str {
        match self {
            Self::Gpu => "./worker_gpu_loader.js",
            Self::Cpu => "./worker_cpu_loader.js",
        }
    }
}

/// What the address asks for. Settings only, never data.
#[derive(Clone, Debug, Default)]
pub struct PageOptions {
    device: Option<Device>,
    model: Option<String>,
    /// `?bench=1`.
    pub bench: bool,
}

impl PageOptions {
    /// Reads the page's address.
    pub fn from_address() -> Self {
        let query = web_sys::window()
            .and_then(|window| window.location().search().ok())
            .and_then(|search| UrlSearchParams::new_with_str(&search).ok());
        let get = |name: &str| query.as_ref().and_then(|query| query.get(name));
        Self {
            device: match get("device").as_deref() {
                Some("gpu") => Some(Device::Gpu),
                Some("cpu") => Some(Device::Cpu),
                _ => None,
            },
            model: get("model"),
            bench: get("bench").is_some_and(|value| value != "0"),
        }
    }
}

/// A file on its way to the worker; kept until it is done, so that another worker can take over.
#[derive(Clone)]
struct Job {
    id: u32,
    source: String,
    bytes: Rc<Vec<u8>>,
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
        let worker = match Worker::new(device.script()) {
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
                    Ok((event, buffer)) => session.hear(event, buffer),
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

    fn send(&self, request: &Request, buffer: Option<&[u8]>) {
        let running = self.inner.running.borrow();
        let Some(running) = running.as_ref() else { return };
        let sent = protocol::encode(request, buffer).and_then(|(envelope, moved)| {
            running.worker.post_message_with_transfer(&envelope, &moved)
        });
        if let Err(error) = sent {
            web_sys::console::error_1(&error);
        }
    }

    /// Gives a file to the worker; one that runs is cancelled.
    pub fn submit(&self, source: String, bytes: Vec<u8>) {
        self.cancel();
        let id = self.inner.next_id.get();
        self.inner.next_id.set(id + 1);
        let job = Job { id, source, bytes: Rc::new(bytes) };
        *self.inner.job.borrow_mut() = Some(job);
        self.dispatch(Action::Submitted { id });
        self.send_job();
    }

    /// Sends the waiting job, if the worker is ready for it.
    fn send_job(&self) {
        let ready = self.inner.running.borrow().as_ref().is_some_and(|running| running.ready);
        let job = self.inner.job.borrow().clone();
        if let Some(job) = job
            && ready
        {
            self.dispatch(Action::Phase(Phase::Running { id: job.id, stage: None }));
            let settings = Settings::default();
            let request = Request::Predict { id: job.id, source: job.source, settings };
            self.send(&request, Some(&job.bytes));
        }
    }

    /// Cancels the running job. A worker deep in a computation that does not answer is replaced.
    pub fn cancel(&self) {
        let Some(job) = self.inner.job.borrow_mut().take() else { return };
        self.dispatch(Action::Cancelled);
        let ready = self.inner.running.borrow().as_ref().is_some_and(|running| running.ready);
        if !ready {
            // The job never reached the worker, which is still loading and must go on.
            return;
        }
        self.send(&Request::Cancel { id: job.id }, None);
        let session = self.clone();
        let replace = Timeout::new(CANCEL_PATIENCE_MS, move || {
            let device = session.inner.running.borrow_mut().take().map(|running| running.device);
            if let Some(device) = device {
                session.spawn(device);
            }
        });
        *self.inner.patience.borrow_mut() = Some(replace);
    }

    fn is_current(&self, id: u32) -> bool {
        self.inner.job.borrow().as_ref().is_some_and(|job| job.id == id)
    }

    fn finish(&self, id: u32, action: Action) {
        self.inner.patience.borrow_mut().take();
        if self.is_current(id) {
            self.inner.job.borrow_mut().take();
            self.inner.crashes.set(0);
            self.dispatch(action);
        }
    }

    fn hear(&self, event: Event, buffer: Vec<u8>) {
        match event {
            Event::Started => {
                let model = self.inner.options.model.clone();
                self.send(&Request::Load { model }, None);
            }
            Event::Loading { received, total } => {
                self.dispatch(Action::Phase(Phase::Loading { received, total }));
            }
            Event::WarmingUp => self.dispatch(Action::Phase(Phase::WarmingUp)),
            Event::Ready { device, model, models, licence, downloads } => {
                if let Some(running) = self.inner.running.borrow_mut().as_mut() {
                    running.ready = true;
                }
                let ready = ModelState { device, name: model, models, licence, downloads };
                self.dispatch(Action::Ready(ready));
                self.send_job();
            }
            Event::Decoded { id, width, height } => {
                let source = self.inner.job.borrow().as_ref().map(|job| job.source.clone());
                if let Some(source) = source.filter(|_| self.is_current(id)) {
                    let pixels = Rc::new(buffer);
                    self.dispatch(Action::Decoded(Picture { source, width, height, pixels }));
                }
            }
            Event::Stage { id, stage } => {
                if self.is_current(id) {
                    self.dispatch(Action::Phase(Phase::Running { id, stage: Some(stage) }));
                }
            }
            Event::Done { id, report } => self.finish(id, Action::Done(Rc::from(report))),
            // The page has said so when it was asked for.
            Event::Cancelled { .. } => {
                self.inner.patience.borrow_mut().take();
            }
            Event::Refused { id, message } => {
                let source = self.inner.job.borrow().as_ref().map(|job| job.source.clone());
                let message = format!("{}: {message}", source.unwrap_or_default());
                self.finish(id, Action::Refused(message));
            }
            Event::LoadFailed { message } => {
                self.inner.running.borrow_mut().take();
                self.dispatch(Action::Broken(format!("The model cannot be used: {message}.")));
            }
            Event::DeviceFailed { message } => self.device_failed(&message),
        }
    }

    /// The CPU takes over from a GPU that failed; a CPU worker is restarted once. The job at hand
    /// is computed again.
    fn device_failed(&self, reason: &str) {
        let Some(failed) = self.inner.running.borrow_mut().take() else { return };
        self.inner.patience.borrow_mut().take();
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
                self.inner.job.borrow_mut().take();
                self.dispatch(Action::Broken(format!("Nothing can be computed here: {reason}.")));
            }
        }
    }
}

/// The contents of a file of this site.
pub async fn fetch_bytes(url: &str) -> Result<Vec<u8>, String> {
    async fn fetch(url: &str) -> Result<Vec<u8>, JsValue> {
        let window = web_sys::window().ok_or("there is no window")?;
        let response = wasm_bindgen_futures::JsFuture::from(window.fetch_with_str(url)).await?;
        let response: web_sys::Response = response.dyn_into()?;
        if !response.ok() {
            return Err(format!("the server answered {}", response.status()).into());
        }
        let buffer = wasm_bindgen_futures::JsFuture::from(response.array_buffer()?).await?;
        Ok(js_sys::Uint8Array::new(&buffer).to_vec())
    }
    fetch(url).await.map_err(|error| format!("{url}: {}", environment::describe(&error)))
}

/// The contents of a file that the visitor chose.
pub async fn read_file(file: &web_sys::File) -> Result<Vec<u8>, String> {
    let buffer = wasm_bindgen_futures::JsFuture::from(file.array_buffer()).await;
    buffer
        .map(|buffer| js_sys::Uint8Array::new(&buffer).to_vec())
        .map_err(|error| format!("{}: {}", file.name(), environment::describe(&error)))
}
