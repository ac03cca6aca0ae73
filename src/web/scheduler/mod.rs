//! Who does what: one reader, which knows the files; workers, which know the network; slices that wait.
//!
//! A state machine without a browser: what happens comes in as calls, what is to be done goes out as [`Command`]s.
//! `web::session` connects it to the page and its programs; natively it is tested as it is.

mod device_trial;
mod devices;
pub mod pool;
mod queue;
mod reading;
mod saved_session;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::{BTreeMap, VecDeque};

use crate::export::Format;
use crate::export::dicom::Identity;
use crate::image::{CtSlice, Window};
use crate::inference::Stage;
use crate::report::{ModelsInfo, Report};
use crate::web::messages::reader;
use crate::web::messages::worker;
use crate::web::options::{Device, Reader};
use crate::web::scheduler::device_trial::DeviceTrial;
use crate::web::scheduler::pool::WorkerPool;
use crate::web::scheduler::reading::Reading;
use crate::web::scheduler::saved_session::Waiting;
use crate::web::state::{Action, ModelState, State};
use crate::web::texts::text;

/// How much faster something must be to be worth its start: times on a visitor's machine vary.
const CLEARLY_FASTER: f64 = 1.1;

/// The model that workers load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// One of the site, by its name in the manifest; `None` for the default.
    Site(Option<String>),
    /// A file of the user's, of this name. Only the CPU computes with it: what a graphics card has to compute in its
    /// start-up check is known of the site's models alone.
    File(String),
}

/// What is to be done. Small, as all of them pass through one list: what is large is boxed.
#[derive(Clone, Debug)]
pub enum Command {
    /// Change what the page shows.
    Dispatch(Box<Action>),
    /// Start the program of a worker. If it cannot be started, [`Scheduler::worker_not_started`] is to be called.
    StartWorker {
        /// What it is called.
        number: u32,
        /// What it computes on.
        device: Device,
    },
    /// End the program of a worker, and its timers.
    StopWorker(u32),
    /// The program of a worker has answered: wait for its first word no longer, and tell it which model to load.
    LoadModel {
        /// The worker.
        number: u32,
        /// The model.
        model: ModelSource,
    },
    /// Send a request to a worker, with bytes beside it.
    SendWorker(u32, Box<worker::Request>, Vec<u8>),
    /// Start the program of a reader in the place of the one that is there.
    StartReader(Reader),
    /// End the program of the reader.
    StopReader,
    /// The program of the reader has answered: wait for its first word no longer.
    ReaderStarted,
    /// Send a request to the reader, with the files of a batch beside it.
    SendFiles {
        /// Number of the batch.
        batch: u32,
        /// The request.
        request: Box<reader::Request>,
    },
    /// Send a request to the reader, with the session file that was chosen beside it.
    SendSession {
        /// The request.
        request: Box<reader::Request>,
    },
    /// Send a request to the reader.
    AskReader(Box<reader::Request>),
    /// Call [`Scheduler::timer`] after so many milliseconds; a timer that runs begins again.
    SetTimer(Timer, u32),
    /// Stop a timer.
    ClearTimer(Timer),
    /// Give the user a file.
    Save {
        /// Its name.
        name: String,
        /// Its media type.
        media_type: String,
        /// What is in it.
        bytes: Vec<u8>,
    },
    /// The model of this name runs on this device: fetch its card, and keep what both need for a visit without a
    /// network.
    ModelIsReady {
        /// The device that computes.
        device: Device,
        /// Name in the manifest.
        model: String,
    },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A worker says something.
    Worker(u32),
    /// A worker confirms that it has stopped.
    Cancellation(u32),
    /// The reader says something.
    Reader,
}

/// A slice that a worker predicts.
#[derive(Clone, Copy, Debug)]
struct Job {
    id: u32,
    slice: usize,
    stage: Option<Stage>,
}

/// A worker, and what it does.
#[derive(Debug)]
struct Worker {
    number: u32,
    device: Device,
    is_ready: bool,
    job: Option<Job>,
    /// A cancellation is not confirmed; no new job until then.
    is_cancelling: bool,
}

impl Worker {
    fn is_idle(&self) -> bool {
        self.is_ready && self.job.is_none() && !self.is_cancelling
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    commands: Vec<Command>,
    next_number: u32,
    /// Whether the device is chosen, and its worker started.
    has_chosen: bool,
    /// Whether the list of what identifies people is open.
    lists_identity: bool,
    /// Whether the header of the shown file is open.
    lists_header: bool,
    reading: Reading,
    workers: Vec<Worker>,
    /// What workers load.
    model: ModelSource,
    /// What the site's models compute on while one of the user's does on the CPU, and whether it was asked for.
    device_of_site: Option<(Device, bool)>,
    pool: WorkerPool,
    trial: DeviceTrial,
    /// What the CPU worker of the trial computes with, if it is ready.
    challenger: Option<Box<ModelState>>,
    /// A session file whose findings wait for the model to be loaded.
    saved: Option<Waiting>,
    /// Slices to be looked at whatever they show.
    forced: Vec<usize>,
    /// Slices that wait.
    queue: VecDeque<usize>,
    /// Slices that the reader was asked for.
    preparing: Vec<usize>,
    /// Slices that came from the reader.
    prepared: VecDeque<(usize, CtSlice, Vec<u8>)>,
    /// Workers that broke since the last slice was done.
    failures: u32,
    /// What the first worker computes with.
    models: Option<ModelsInfo>,
    /// Workers that each slice broke.
    failures_of: BTreeMap<usize, u32>,
}

impl Scheduler {
    /// Begins by starting the reader; `pool` says how many workers may share a series, `model` which model of the site
    /// they load.
    pub fn new(pool: WorkerPool, model: Option<String>) -> Self {
        let mut scheduler = Self {
            commands: Vec::new(),
            next_number: 1,
            has_chosen: false,
            lists_identity: false,
            lists_header: false,
            reading: Reading::default(),
            workers: Vec::new(),
            model: ModelSource::Site(model),
            device_of_site: None,
            pool,
            trial: DeviceTrial::default(),
            challenger: None,
            saved: None,
            forced: Vec::new(),
            queue: VecDeque::new(),
            preparing: Vec::new(),
            prepared: VecDeque::new(),
            failures: 0,
            models: None,
            failures_of: BTreeMap::new(),
        };
        scheduler.start_reader();
        scheduler
    }

    /// What is to be done since this was asked last, in order.
    pub fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// A timer has expired.
    pub fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Worker(number) => self.worker_failed(number, &text!("session.silent")),
            Timer::Cancellation(number) => self.replace_worker(number),
            Timer::Reader => self.reader_failed(&text!("session.silent")),
        }
    }

    /// Opens files with these names and sizes in bytes instead of those that are open; returns the number of their
    /// batch.
    pub fn open(&mut self, names: Vec<String>, sizes: Vec<f64>) -> u32 {
        self.cancel();
        self.dispatch(Action::Submitted { files: names.len() });
        self.read_files(names, sizes)
    }

    /// Shows a slice, and predicts it if it is new and nothing runs.
    pub fn look_at(&mut self, state: &State, slice: usize) {
        self.show(slice, state.window);
        if state.is_running() || state.reports.contains_key(&slice) {
            return;
        }
        if self.waiting() == 0 {
            return self.run([slice]);
        }
        // What waits, for another worker or reader to start, continues after it.
        self.queue.retain(|waiting| *waiting != slice);
        self.put_first(slice);
    }

    /// Shows a slice.
    pub fn show(&mut self, slice: usize, window: Option<Window>) {
        self.dispatch(Action::Show { slice, window });
        self.ask_for_picture(slice, window);
        self.ask_for_sections();
        self.list_elements_of_kept();
    }

    /// The list of what in the shown file identifies people was opened or closed; while it is open, it is asked for
    /// anew with every slice.
    pub fn list_identity(&mut self, is_open: bool) {
        self.lists_identity = is_open;
        if is_open {
            self.identify();
        }
    }

    /// The header of the shown file was opened or closed; while it is open, it is asked for anew with every slice.
    pub fn show_header(&mut self, is_open: bool) {
        self.lists_header = is_open;
        if is_open {
            self.list_header();
        }
    }

    /// Asks for a file with what `report` says; its slices are numbered by `slices`, pictures show CT through `window`.
    pub fn export(
        &mut self,
        format: Format,
        (report, slices, name): (Report, Vec<usize>, String),
        identity: Identity,
        card: Option<String>,
        window: Option<Window>,
    ) {
        let Some(batch) = self.batch_number().filter(|_| self.can_write()) else {
            self.start_reader_if_there_is_none();
            return self.dispatch(Action::Failed(text!("session.opening_again").to_string()));
        };
        // What lies behind the numbers is not what the findings belong to any more: what shows or refers to a
        // slice is refused because none is left.
        let slices = if self.is_stale() { Vec::new() } else { slices };
        let report = Box::new(report);
        let request =
            reader::Request::Export { batch, format, report, slices, name, identity, card, window };
        self.ask_reader(request);
    }

    /// Whether the reader can be asked for a file.
    fn can_write(&self) -> bool {
        self.has_opened() || (self.is_stale() && self.has_reader())
    }

    /// Predicts a slice although it is plainly no axial chest CT.
    pub fn force(&mut self, slice: usize) {
        self.forced.push(slice);
        if self.waiting() == 0 {
            return self.run([slice]);
        }
        // What waits continues after it.
        self.put_first(slice);
    }

    fn dispatch(&mut self, action: Action) {
        self.commands.push(Command::Dispatch(Box::new(action)));
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }
}
