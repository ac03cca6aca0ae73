//! Connects the page to its programs: carries out what the [`Scheduler`] commands, and tells it what happens.

mod watchdog;
mod worker_handle;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use web_sys::File;
use yew::UseReducerDispatcher;

use self::watchdog::Watchdog;
use self::worker_handle::WorkerHandle;
use crate::export::Format;
use crate::export::dicom::Identity;
use crate::export::findings_file::may_hold_findings;
use crate::export::session_file::{self, SessionFile};
use crate::image::Window;
use crate::report::Report;
use crate::web::browser::{self, Adapter};
use crate::web::fetch;
use crate::web::messages::Transfer;
use crate::web::messages::worker::Request;
use crate::web::options::{Device, PageOptions, Reader};
use crate::web::scheduler::pool::WorkerPool;
use crate::web::scheduler::{Command, ModelSource, Scheduler, Timer};
use crate::web::state::{Action, State};
use crate::web::texts::text;

/// The connection to the programs. Cloning it gives another handle to the same one.
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
    scheduler: RefCell<Scheduler>,
    running: RefCell<Running>,
    /// Commands that wait for those before them, and whether these are being carried out.
    waiting: RefCell<Vec<Command>>,
    is_executing: Cell<bool>,
    /// How often files were opened.
    opens: Cell<u32>,
}

/// What the browser runs for the page.
#[derive(Default)]
struct Running {
    reader: Option<WorkerHandle>,
    // Few of each, and a map would be kilobytes of the page.
    workers: Vec<(u32, WorkerHandle)>,
    timers: Vec<(Timer, Watchdog)>,
    /// The files that are open, with the number of their batch.
    files: (u32, Vec<File>),
    /// The session file that was chosen last.
    session_file: Option<File>,
    /// The model of the user's that was chosen last.
    own_model: Option<File>,
}

impl Running {
    fn worker(&mut self, number: u32) -> Option<&mut WorkerHandle> {
        let found = self.workers.iter_mut().find(|(own, _)| *own == number);
        found.map(|(_, program)| program)
    }

    fn clear(&mut self, timer: Timer) {
        self.timers.retain(|(own, _)| *own != timer);
    }
}

impl Session {
    /// Starts the reader, chooses a device and starts its worker.
    pub fn start(options: PageOptions, dispatch: UseReducerDispatcher<State>) -> Self {
        let pool = match options.workers {
            Some(count) => WorkerPool::of(count),
            None => WorkerPool::growing_to(browser::workers_at_most()),
        };
        let scheduler = RefCell::new(Scheduler::new(pool, options.model.clone()));
        let (running, waiting) = (RefCell::default(), RefCell::default());
        let is_executing = Cell::new(false);
        let opens = Cell::new(0);
        let inner = Inner { options, dispatch, scheduler, running, waiting, is_executing, opens };
        let session = Self { inner: Rc::new(inner) };
        session.update(|_| ());
        session.choose_device(session.inner.options.device);
        session
    }

    /// Computes on the device that is asked for, or on the faster one, if there is one.
    pub fn choose_device(&self, requested: Option<Device>) {
        self.dispatch(Action::DeviceChosen(requested));
        let chosen = self.clone();
        spawn_local(async move {
            let device = match requested {
                Some(Device::Cpu) => Device::Cpu,
                requested => match (browser::gpu_adapter().await, requested) {
                    (Adapter::Hardware, _) | (Adapter::Software, Some(Device::Gpu)) => Device::Gpu,
                    (Adapter::Software, _) => {
                        chosen.dispatch(Action::Notice(text!("session.software_gpu").to_string()));
                        Device::Cpu
                    }
                    (Adapter::Missing, Some(Device::Gpu)) => {
                        chosen.dispatch(Action::Notice(text!("session.no_gpu").to_string()));
                        Device::Cpu
                    }
                    (Adapter::Missing, _) => Device::Cpu,
                },
            };
            // A benchmark measures one device.
            let is_asked_for = requested.is_some() || chosen.inner.options.bench;
            chosen.update(|scheduler| scheduler.choose(device, is_asked_for));
        });
    }

    /// Computes with another model of the site; `None` for its default.
    pub fn choose_model(&self, state: &State, model: Option<String>) {
        let slice = (state.contents.slices() > 0).then_some(state.shown);
        let model = ModelSource::Site(model);
        self.update(|scheduler| scheduler.choose_model(model, slice));
    }

    /// Computes with a model of the user's.
    pub fn use_own_model(&self, slice: Option<usize>, name: String, file: File) {
        self.inner.running.borrow_mut().own_model = Some(file);
        self.update(|scheduler| scheduler.choose_model(ModelSource::File(name), slice));
    }

    /// Whether CPU workers multiply and add in one step.
    fn fuses_multiply_add(&self) -> bool {
        !self.inner.options.avoids_fma && browser::fuses_multiply_add()
    }

    /// The options of the address.
    pub fn options(&self) -> &PageOptions {
        &self.inner.options
    }

    /// Opens files instead of those that are open; a file with findings alone belongs to those.
    pub fn open(&self, files: Vec<(String, File)>) {
        self.inner.opens.set(self.inner.opens.get() + 1);
        let own = self.inner.opens.get();
        let has_images = self.inner.scheduler.borrow().has_images();
        let [(name, file)] = files.as_slice() else { return self.open_images(files) };
        if !has_images {
            return self.open_images(files);
        }
        let (session, name, file) = (self.clone(), name.clone(), file.clone());
        spawn_local(async move {
            let head = browser::head(&file, session_file::HEAD).await;
            // Others may have been opened meanwhile.
            if session.inner.opens.get() != own {
                return;
            }
            if !session_file::is_session_file(&head) && !may_hold_findings(&head) {
                return session.open_images(files);
            }
            session.inner.running.borrow_mut().session_file = Some(file);
            session.update(|scheduler| scheduler.open_session(name));
        });
    }

    fn open_images(&self, files: Vec<(String, File)>) {
        let (names, files): (Vec<String>, Vec<File>) = files.into_iter().unzip();
        let sizes = files.iter().map(|file| file.size()).collect();
        self.update(|scheduler| {
            let number = scheduler.open(names, sizes);
            self.inner.running.borrow_mut().files = (number, files);
        });
    }

    /// Shows a slice, and predicts it if it is new and nothing runs.
    pub fn look_at(&self, state: &State, slice: usize) {
        self.update(|scheduler| scheduler.look_at(state, slice));
    }

    /// Takes a correction back, or makes it again, where it can be seen: on `slice`.
    pub fn step_through_edits(&self, state: &State, slice: Option<usize>, action: &Action) {
        let Some(slice) = slice else { return };
        if slice != state.shown {
            self.look_at(state, slice);
        }
        self.dispatch(action.clone());
    }

    /// Shows a slice.
    pub fn show(&self, slice: usize, window: Option<Window>) {
        self.update(|scheduler| scheduler.show(slice, window));
    }

    /// Predicts slices; what waited before is forgotten, what runs continues.
    pub fn run(&self, slices: impl IntoIterator<Item = usize>) {
        self.update(|scheduler| scheduler.run(slices));
    }

    /// Predicts a slice although it is plainly no axial chest CT.
    pub fn force(&self, slice: usize) {
        self.update(|scheduler| scheduler.force(slice));
    }

    /// Lets what runs finish and begins nothing more.
    pub fn pause(&self) {
        self.update(Scheduler::pause);
    }

    /// Cancels what runs and what waits.
    pub fn cancel(&self) {
        self.update(Scheduler::cancel);
    }

    /// The list of what in the shown file identifies people was opened or closed.
    pub fn list_identity(&self, is_open: bool) {
        self.update(|scheduler| scheduler.list_identity(is_open));
    }

    /// The header of the shown file was opened or closed.
    pub fn show_header(&self, is_open: bool) {
        self.update(|scheduler| scheduler.show_header(is_open));
    }

    /// Shows the planes through a column and a row of the shown series, or none.
    pub fn reslice(&self, at: Option<(usize, usize)>) {
        self.update(|scheduler| scheduler.reslice(at));
    }

    /// Asks for a file with what a report says; see [`Scheduler::export`].
    pub fn export(
        &self,
        format: Format,
        what: (Report, Vec<usize>, String),
        identity: Identity,
        card: Option<String>,
        window: Option<Window>,
    ) {
        self.update(|scheduler| scheduler.export(format, what, identity, card, window));
    }

    /// Asks for a session file, called after the slice or series `name`.
    pub fn save_session(&self, session: SessionFile, name: String) {
        self.update(|scheduler| scheduler.save_session(session, name));
    }

    fn dispatch(&self, action: Action) {
        self.inner.dispatch.dispatch(action);
    }

    /// Tells the scheduler what happens, and does what follows from it. What happens meanwhile follows behind.
    fn update(&self, change: impl FnOnce(&mut Scheduler)) {
        let commands = {
            let mut scheduler = self.inner.scheduler.borrow_mut();
            change(&mut scheduler);
            scheduler.commands()
        };
        self.inner.waiting.borrow_mut().extend(commands);
        if self.inner.is_executing.replace(true) {
            return;
        }
        loop {
            let next = std::mem::take(&mut *self.inner.waiting.borrow_mut());
            if next.is_empty() {
                break;
            }
            next.into_iter().for_each(|command| self.execute(command));
        }
        self.inner.is_executing.set(false);
    }

    fn execute(&self, command: Command) {
        match command {
            Command::Dispatch(action) => self.dispatch(*action),
            Command::StartWorker { number, device } => self.start_worker(number, device),
            Command::StopWorker(number) => {
                let mut running = self.inner.running.borrow_mut();
                running.workers.retain(|(own, _)| *own != number);
                running.clear(Timer::Worker(number));
                running.clear(Timer::Cancellation(number));
            }
            Command::LoadModel { number, model } => {
                let mut running = self.inner.running.borrow_mut();
                let own = running.own_model.clone();
                let Some(program) = running.worker(number) else { return };
                program.has_started();
                match model {
                    ModelSource::Site(model) => {
                        let models = browser::absolute("models").unwrap_or_default();
                        program.send(&Request::Load { models, model }, Transfer::Nothing);
                    }
                    ModelSource::File(name) => {
                        program.send(&Request::LoadFile { name }, Transfer::Files(own.as_slice()));
                    }
                }
            }
            Command::SendWorker(number, request, bytes) => {
                if let Some(program) = self.inner.running.borrow_mut().worker(number) {
                    let transfer =
                        if bytes.is_empty() { Transfer::Nothing } else { Transfer::Bytes(&bytes) };
                    program.send(&*request, transfer);
                }
            }
            Command::StartReader(reader) => self.start_reader(reader),
            Command::StopReader => self.inner.running.borrow_mut().reader = None,
            Command::ReaderStarted => {
                if let Some(program) = self.inner.running.borrow_mut().reader.as_mut() {
                    program.has_started();
                }
            }
            Command::SendFiles { batch, request } => {
                let running = self.inner.running.borrow();
                let (own, files) = &running.files;
                if let Some(program) = running.reader.as_ref().filter(|_| *own == batch) {
                    program.send(&*request, Transfer::Files(files));
                }
            }
            Command::SendSession { request } => {
                let running = self.inner.running.borrow();
                if let Some((program, file)) =
                    running.reader.as_ref().zip(running.session_file.clone())
                {
                    program.send(&*request, Transfer::Files(&[file]));
                }
            }
            Command::AskReader(request) => {
                if let Some(program) = &self.inner.running.borrow().reader {
                    program.send(&*request, Transfer::Nothing);
                }
            }
            Command::SetTimer(timer, milliseconds) => {
                let session = self.clone();
                let over = move || session.update(|scheduler| scheduler.timer(timer));
                let watchdog = Watchdog::new(milliseconds, over);
                let mut running = self.inner.running.borrow_mut();
                running.clear(timer);
                running.timers.push((timer, watchdog));
            }
            Command::ClearTimer(timer) => {
                self.inner.running.borrow_mut().clear(timer);
            }
            Command::Save { name, media_type, bytes } => {
                if let Err(error) = browser::save(&name, &media_type, &bytes) {
                    let reason = browser::describe(&error);
                    let message = text!("session.not_saved", name = name, reason = reason);
                    self.dispatch(Action::Failed(message.to_string()));
                }
            }
            Command::ModelIsReady { device, model } => {
                let readers = [Reader::Raster, Reader::AllFormats].map(Reader::files);
                let files =
                    [&device.files(self.fuses_multiply_add())[..], readers.as_flattened()].concat();
                browser::precache(&files, &model);
                self.fetch_card(&model);
            }
        }
    }

    fn start_worker(&self, number: u32, device: Device) {
        let (events, failed) = (self.clone(), self.clone());
        let on_event = move |event, bytes| {
            events.update(|scheduler| scheduler.worker_event(number, event, bytes));
        };
        let failed = move |reason: &str| {
            failed.update(|scheduler| scheduler.worker_failed(number, reason));
        };
        match WorkerHandle::start(device.files(self.fuses_multiply_add()), on_event, failed) {
            Ok(program) => {
                self.inner.running.borrow_mut().workers.push((number, program));
            }
            Err(reason) => {
                self.update(|scheduler| scheduler.worker_not_started(number, &reason.to_string()));
            }
        }
    }

    fn start_reader(&self, reader: Reader) {
        let (events, failed) = (self.clone(), self.clone());
        let on_event =
            move |event, bytes| events.update(|scheduler| scheduler.reader_event(event, bytes));
        let failed = move |reason: &str| failed.update(|scheduler| scheduler.reader_failed(reason));
        match WorkerHandle::start(reader.files(), on_event, failed) {
            Ok(program) => self.inner.running.borrow_mut().reader = Some(program),
            Err(reason) => {
                self.inner.running.borrow_mut().reader = None;
                self.update(|scheduler| scheduler.reader_not_started(&reason.to_string()));
            }
        }
    }

    /// Fetches the card of a model; a page without it still works.
    fn fetch_card(&self, model: &str) {
        let (session, address) = (self.clone(), format!("models/{model}.md"));
        let model = model.to_owned();
        spawn_local(async move {
            match fetch::bytes(&address).await {
                Ok(bytes) => {
                    let card = String::from_utf8_lossy(&bytes).into_owned();
                    session.dispatch(Action::Card { model, card: card.into() });
                }
                Err(error) => log::warn!("the model card is not shown: {error}"),
            }
        });
    }
}
