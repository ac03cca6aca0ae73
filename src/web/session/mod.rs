//! The page's side of its programs: one reader, which knows the files, and workers, which know the
//! network. Slices travel from the one to the others through the page.

mod program;
mod queue;
mod reading;
mod silence;
mod work;
mod workers;

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use web_sys::File;
use yew::UseReducerDispatcher;

use self::reading::Reading;
use self::work::Work;
use crate::export::Format;
use crate::export::dicom::Identity;
use crate::image::Window;
use crate::report::Report;
use crate::web::environment::{self, Adapter};
use crate::web::options::{Device, PageOptions};
use crate::web::protocol::reader::Request;
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
    reading: Reading,
    work: Work,
    next_number: Cell<u32>,
    /// Whether the device is chosen, and its worker started.
    has_chosen: Cell<bool>,
    /// Whether the list of what identifies people is open.
    lists_identity: Cell<bool>,
}

impl Session {
    /// Starts the reader, chooses a device and starts its worker.
    pub fn start(options: PageOptions, dispatch: UseReducerDispatcher<State>) -> Self {
        let work = Work::new(options.workers);
        let reading = Reading::default();
        let next_number = Cell::new(1);
        let (has_chosen, lists_identity) = (Cell::new(false), Cell::new(false));
        let inner =
            Inner { options, dispatch, reading, work, next_number, has_chosen, lists_identity };
        let session = Self { inner: Rc::new(inner) };
        session.start_reader();
        let chosen = session.clone();
        spawn_local(async move {
            let device = match chosen.inner.options.device {
                Some(Device::Cpu) => Device::Cpu,
                wished => match (environment::gpu_adapter().await, wished) {
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
            chosen.inner.has_chosen.set(true);
            chosen.start_worker(device);
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

    fn number(&self) -> u32 {
        let number = self.inner.next_number.get();
        self.inner.next_number.set(number + 1);
        number
    }

    /// Opens files instead of those that are open.
    pub fn open(&self, files: Vec<(String, File)>) {
        self.cancel();
        self.dispatch(Action::Submitted { files: files.len() });
        self.read_files(files);
    }

    /// Shows a slice, and predicts it if it is new and nothing runs.
    pub fn look_at(&self, state: &State, slice: usize) {
        self.show(slice, state.window);
        if state.is_running() || state.reports.contains_key(&slice) {
            return;
        }
        let work = &self.inner.work;
        if work.waiting() == 0 {
            return self.run([slice]);
        }
        // What waits, for another worker or reader to start, goes on behind it.
        work.queue.borrow_mut().retain(|waiting| *waiting != slice);
        work.queue.borrow_mut().push_front(slice);
        self.start_worker_if_there_is_none();
        self.go_on();
    }

    /// Shows a slice.
    pub fn show(&self, slice: usize, window: Option<Window>) {
        self.dispatch(Action::Show { slice, window });
        self.ask_for_picture(slice, window);
        if self.inner.lists_identity.get() {
            self.identify();
        }
    }

    /// The list of what in the shown file identifies people was opened or closed; while it is open, it is asked for
    /// anew with every slice.
    pub fn list_identity(&self, is_open: bool) {
        self.inner.lists_identity.set(is_open);
        if is_open {
            self.identify();
        }
    }

    /// Asks for a file with what `report` says; its slices are numbered by `slices`.
    pub fn export(
        &self,
        format: Format,
        (report, slices, name): (Report, Vec<usize>, String),
        identity: Identity,
        card: Option<String>,
    ) {
        let can_write = self.has_opened() || (self.is_stale() && self.has_reader());
        let Some(batch) = self.batch_number().filter(|_| can_write) else {
            self.start_reader_if_there_is_none();
            return self.dispatch(Action::Failed(text!("session.opening_again").to_string()));
        };
        // What lies behind the numbers is not what the findings belong to any more: what shows or refers to a
        // slice is refused for want of one.
        let slices = if self.is_stale() { Vec::new() } else { slices };
        let report = Box::new(report);
        self.ask_reader(&Request::Export { batch, format, report, slices, name, identity, card });
    }

    /// Predicts a slice although it is plainly no axial chest CT.
    pub fn force(&self, slice: usize) {
        let work = &self.inner.work;
        work.forced.borrow_mut().push(slice);
        if work.waiting() == 0 {
            return self.run([slice]);
        }
        // What waits goes on behind it.
        work.queue.borrow_mut().push_front(slice);
        self.start_worker_if_there_is_none();
        self.go_on();
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
}
