//! The page's side of its programs: one reader, which knows the files, and workers, which know the
//! network. Slices travel from the one to the others through the page.

mod program;
mod queue;
mod reading;
mod work;
mod workers;

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use web_sys::File;
use yew::UseReducerDispatcher;

use self::reading::Reading;
use self::work::Work;
use super::environment;
use super::options::{Device, PageOptions};
use super::protocol::reader::Request;
use super::state::{Action, State};
use crate::export::Format;
use crate::export::dicom::Identity;
use crate::image::Window;
use crate::predict::report::Report;
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
}

impl Session {
    /// Starts the reader, chooses a device and starts its worker.
    pub fn start(options: PageOptions, dispatch: UseReducerDispatcher<State>) -> Self {
        let work = Work::new(options.workers);
        let reading = Reading::default();
        let next_number = Cell::new(1);
        let inner = Inner { options, dispatch, reading, work, next_number };
        let session = Self { inner: Rc::new(inner) };
        session.start_reader();
        let chosen = session.clone();
        spawn_local(async move {
            let device = match chosen.inner.options.device {
                Some(Device::Cpu) => Device::Cpu,
                wished => {
                    if environment::has_gpu_adapter().await {
                        Device::Gpu
                    } else {
                        if wished == Some(Device::Gpu) {
                            chosen.dispatch(Action::Notice(text!("session.no_gpu").to_string()));
                        }
                        Device::Cpu
                    }
                }
            };
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
        if !state.is_running() && !state.reports.contains_key(&slice) {
            self.run([slice]);
        }
    }

    /// Shows a slice.
    pub fn show(&self, slice: usize, window: Option<Window>) {
        self.dispatch(Action::Show { slice, window });
        self.ask_for_picture(slice, window);
    }

    /// Asks for a file with what `report` says; its slices are numbered by `slices`.
    pub fn export(
        &self,
        format: Format,
        (report, slices, name): (Report, Vec<usize>, String),
        identity: Identity,
        card: Option<String>,
    ) {
        if !self.has_opened() {
            return self.dispatch(Action::Failed(text!("session.opening_again").to_string()));
        }
        let report = Box::new(report);
        self.ask_reader(&Request::Export { format, report, slices, name, identity, card });
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
