//! The scheduler against programs that the tests play.

mod readers;
mod saved_sessions;
mod sections;
mod workers;

use super::*;
use crate::export::session_file::SessionFile;
use crate::image::Refusal;
use crate::report::{FileError, SliceReport};
use crate::web::messages::reader::{Event as Read, Request as Ask};
use crate::web::messages::reader::{OpenedSeries, OpenedStudy, ShownSlice};
use crate::web::messages::worker::{Event, Request};
use crate::web::state::Phase;

/// A page whose programs are played by the test: a scheduler, what it shows, and what runs for it.
struct Page {
    scheduler: Scheduler,
    state: State,
    /// Workers that were started and not stopped, with the slice that each was given last.
    workers: BTreeMap<u32, Option<(u32, String)>>,
    readers_started: usize,
    /// What the reader was asked for and has not answered.
    asked: Vec<Ask>,
    timers: Vec<(Timer, u32)>,
    saved: Vec<String>,
    /// Models that workers were told to load.
    loaded: Vec<ModelSource>,
    /// Devices of the workers that were started.
    started: Vec<Device>,
    /// Models whose cards were fetched.
    ready: Vec<String>,
    /// What each worker takes for a slice; the others 100.
    milliseconds: BTreeMap<u32, f64>,
    /// Whether slices are refused, in no time.
    refuses: bool,
}

fn slice_report(name: &str, milliseconds: f64) -> SliceReport {
    let slice = crate::image::CtSlice::new(name, (1, 1), vec![0]);
    let milliseconds = BTreeMap::from([("total".into(), milliseconds)]);
    SliceReport {
        refusal: None,
        refusal_reason: None,
        ..SliceReport::refused(&slice, Refusal::NoLung, milliseconds)
    }
}

fn of_site(name: &str) -> ModelSource {
    ModelSource::Site(Some(name.into()))
}

fn series(slices: usize) -> OpenedStudy {
    OpenedStudy {
        series: vec![OpenedSeries {
            name: "series".into(),
            slices: (0..slices).map(|slice| format!("slice {slice}")).collect(),
            checksums: (0..slices as u32).collect(),
            distance_mm: None,
            is_dicom: false,
            warnings: Vec::new(),
        }],
        refused: Vec::new(),
    }
}

impl Page {
    fn new() -> Self {
        Self::with(WorkerPool::of(1))
    }

    /// A page with `pool`, its reader and one CPU worker ready.
    fn with(pool: WorkerPool) -> Self {
        let mut page = Self::without_model(pool);
        page.ready(1);
        page
    }

    /// A page with `pool` and its reader; the first worker has yet to load the model.
    fn without_model(pool: WorkerPool) -> Self {
        let mut page = Self {
            scheduler: Scheduler::new(pool, None),
            state: State::default(),
            workers: BTreeMap::new(),
            readers_started: 0,
            asked: Vec::new(),
            timers: Vec::new(),
            saved: Vec::new(),
            loaded: Vec::new(),
            started: Vec::new(),
            ready: Vec::new(),
            milliseconds: BTreeMap::new(),
            refuses: false,
        };
        page.scheduler.choose(Device::Cpu, false);
        page.carry_out();
        page.read(Read::Started);
        page
    }

    fn carry_out(&mut self) {
        for command in self.scheduler.commands() {
            match command {
                Command::Dispatch(action) => self.state.apply(*action),
                Command::StartWorker { number, device } => {
                    self.started.push(device);
                    self.workers.insert(number, None);
                }
                Command::StopWorker(number) => {
                    assert!(self.workers.remove(&number).is_some(), "worker {number} runs");
                    self.clear(Timer::Worker(number));
                    self.clear(Timer::Cancellation(number));
                }
                Command::SendWorker(number, request, pixels) => {
                    let Request::Predict { id, slice, .. } = *request else { continue };
                    assert!(!pixels.is_empty());
                    let worker = self.workers.get_mut(&number).expect("a worker that runs");
                    *worker = Some((id, slice.source));
                }
                Command::StartReader(_) => {
                    self.readers_started += 1;
                    self.asked.clear();
                }
                Command::StopReader => self.asked.clear(),
                Command::SendFiles { request, .. }
                | Command::SendSession { request }
                | Command::AskReader(request) => {
                    self.asked.push(*request);
                }
                Command::SetTimer(timer, milliseconds) => {
                    self.clear(timer);
                    self.timers.push((timer, milliseconds));
                }
                Command::ClearTimer(timer) => {
                    self.clear(timer);
                }
                Command::Save { name, .. } => self.saved.push(name),
                Command::LoadModel { model, .. } => self.loaded.push(model),
                Command::ModelIsReady { model, .. } => self.ready.push(model),
                Command::ReaderStarted => {}
            }
        }
    }

    fn clear(&mut self, timer: Timer) {
        self.timers.retain(|(own, _)| *own != timer);
    }

    /// Milliseconds of a timer that runs.
    fn timeout(&self, timer: Timer) -> Option<u32> {
        self.timers.iter().find(|(own, _)| *own == timer).map(|(_, milliseconds)| *milliseconds)
    }

    fn act(&mut self, act: impl FnOnce(&mut Scheduler, &State)) {
        act(&mut self.scheduler, &self.state);
        self.carry_out();
    }

    fn read(&mut self, event: Read) {
        self.read_with(event, vec![7]);
    }

    /// The reader says something, with bytes beside it.
    fn read_with(&mut self, event: Read, bytes: Vec<u8>) {
        self.scheduler.reader_event(event, bytes);
        self.carry_out();
    }

    fn say(&mut self, number: u32, event: Event) {
        self.scheduler.worker_event(number, event, Vec::new());
        self.carry_out();
    }

    fn ready(&mut self, number: u32) {
        self.ready_with(number, "model");
    }

    /// A worker is ready with the model of this name.
    fn ready_with(&mut self, number: u32, model: &str) {
        let info = crate::report::ModelInfo { name: model.into(), sha256: model.into() };
        let models = ModelsInfo { segmentation: Some(info), ..ModelsInfo::default() };
        self.say(number, Event::Started);
        self.say(
            number,
            Event::Ready {
                device: "cpu".into(),
                details: String::new(),
                model: model.into(),
                models: Box::new(models),
                licence: String::new(),
                regions: None,
                downloads: Vec::new(),
                models_of_site: vec!["model".into(), "other".into()],
            },
        );
    }

    fn newest_worker(&self) -> u32 {
        *self.workers.keys().last().expect("a worker")
    }

    fn batch(&self) -> u32 {
        self.scheduler.batch_number().expect("open files")
    }

    /// Opens a series of so many slices.
    fn open(&mut self, slices: usize) {
        self.open_with(slices, None);
    }

    /// The same, and a session file with it.
    fn open_with(&mut self, slices: usize, session: Option<SessionFile>) {
        self.open_study(series(slices), session);
    }

    /// Opens what is in a file.
    fn open_study(&mut self, contents: OpenedStudy, session: Option<SessionFile>) {
        self.act(|scheduler, _| {
            scheduler.open(vec!["a file".into()], vec![1000.0]);
        });
        let batch = self.batch();
        self.asked.clear();
        self.read(Read::Opening { batch, file: 0 });
        let session = session.map(Box::new);
        self.read(Read::Opened { batch, contents, session });
    }

    /// The reader answers everything that it was asked for.
    fn answer(&mut self) {
        while !self.asked.is_empty() {
            match self.asked.remove(0) {
                Ask::Prepare { batch, slice } => {
                    let source = format!("slice {slice}");
                    let prepared = CtSlice::new(source, (1, 1), Vec::new());
                    self.read(Read::Prepared { batch, slice, prepared });
                }
                Ask::Show { batch, slice, window } => self.show(batch, slice, window),
                _ => {}
            }
        }
    }

    /// The reader sends a picture.
    fn show(&mut self, batch: u32, slice: usize, window: Option<Window>) {
        let shown = ShownSlice {
            width: 1,
            height: 1,
            window,
            file_window: None,
            spacing_mm: None,
            says_hounsfield: false,
            plane: None,
        };
        self.read(Read::Shown { batch, slice, chosen: window, shown });
    }

    /// The reader sends the next picture that it was asked for, and nothing else.
    fn show_next(&mut self) {
        let is_show = |ask: &Ask| matches!(ask, Ask::Show { .. });
        if let Some(place) = self.asked.iter().position(is_show)
            && let Ask::Show { batch, slice, window } = self.asked.remove(place)
        {
            self.show(batch, slice, window);
        }
    }

    /// All busy workers finish what they have.
    fn finish(&mut self) {
        let busy: Vec<(u32, u32, String)> = self
            .workers
            .iter_mut()
            .filter_map(|(number, job)| job.take().map(|(id, slice)| (*number, id, slice)))
            .collect();
        for (number, id, slice) in busy {
            let milliseconds = self.milliseconds.get(&number).copied().unwrap_or(100.0);
            let mut report = Box::new(slice_report(&slice, milliseconds));
            if self.refuses {
                report.refusal = Some("no chest".into());
                report.milliseconds.insert("total".into(), 5.0);
            }
            self.say(number, Event::Done { id, report });
        }
    }

    /// Answers and finishes until nothing more comes.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.answer();
            if self.workers.values().all(Option::is_none) {
                return;
            }
            self.finish();
        }
        panic!("it never settles");
    }

    fn in_work(&self) -> Vec<&str> {
        self.workers.values().flatten().map(|(_, slice)| slice.as_str()).collect()
    }

    fn break_worker(&mut self) -> u32 {
        self.break_worker_of("model")
    }

    fn break_worker_of(&mut self, model: &str) -> u32 {
        let number = *self.workers.keys().next().expect("a worker");
        self.act(|scheduler, _| scheduler.worker_failed(number, "it broke."));
        let next = *self.workers.keys().last().expect("another worker");
        self.ready_with(next, model);
        next
    }
}

#[test]
fn the_middle_slice_is_shown_and_predicted_first_and_then_all_of_a_series_in_order() {
    let mut page = Page::new();
    page.open(5);
    assert_eq!(page.state.shown, 2);
    page.answer();
    assert_eq!(page.in_work(), ["slice 2"]);
    page.settle();
    assert_eq!(page.state.phase, Phase::Idle);
    page.act(|scheduler, state| {
        scheduler.run((0..5).filter(|slice| !state.reports.contains_key(slice)));
    });
    let mut order = Vec::new();
    while page.state.reports.len() < 5 {
        page.answer();
        order.extend(page.in_work().into_iter().map(String::from));
        page.finish();
    }
    assert_eq!(order, ["slice 0", "slice 1", "slice 3", "slice 4"]);
    for (slice, report) in page.state.reports.iter() {
        assert_eq!(report.source, format!("slice {slice}"), "no finding under another name");
    }
}

#[test]
fn no_more_is_prepared_than_the_idle_workers_take_and_one() {
    let mut page = Page::with(WorkerPool::of(2));
    page.open(40);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..40));
    let wanted = page.asked.iter().filter(|ask| matches!(ask, Ask::Prepare { .. })).count();
    // One worker is there, another starts.
    assert_eq!(wanted, 2);
    assert_eq!(page.workers.len(), 2);
}

#[test]
fn what_is_computed_late_after_a_cancellation_is_no_finding() {
    let mut page = Page::new();
    page.open(3);
    page.answer();
    let (id, slice) = page.workers[&1].clone().expect("a job");
    page.act(|scheduler, _| scheduler.cancel());
    page.say(1, Event::Done { id, report: Box::new(slice_report(&slice, 100.0)) });
    assert!(page.state.reports.is_empty());
}

#[test]
fn a_pause_lets_what_runs_finish_and_begins_nothing_more() {
    let mut page = Page::new();
    page.open(6);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..6));
    page.answer();
    page.act(|scheduler, _| scheduler.pause());
    page.settle();
    assert_eq!(page.state.reports.len(), 2, "the first slice and the one that ran");
    assert!(page.state.paused);
    assert_eq!(page.state.phase, Phase::Idle);
}
