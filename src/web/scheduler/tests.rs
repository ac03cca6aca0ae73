use super::*;
use crate::report::{FileError, SliceReport};
use crate::web::protocol::reader::{Event as Read, Request as Ask};
use crate::web::protocol::reader::{OpenedSeries, OpenedStudy, ShownSlice};
use crate::web::protocol::worker::{Event, Request};
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
    /// What each worker takes for a slice; the others 100.
    milliseconds: BTreeMap<u32, f64>,
    /// Whether slices are refused, in no time.
    refuses: bool,
}

fn slice_report(name: &str, milliseconds: f64) -> SliceReport {
    let slice = crate::image::CtSlice {
        source: name.into(),
        width: 1,
        height: 1,
        pixels: vec![0],
        spacing_mm: None,
        not_chest_ct: None,
        warnings: Vec::new(),
    };
    let milliseconds = BTreeMap::from([("total".into(), milliseconds)]);
    SliceReport { refusal: None, ..SliceReport::refused(&slice, String::new(), milliseconds) }
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
        let mut page = Self {
            scheduler: Scheduler::new(pool),
            state: State::default(),
            workers: BTreeMap::new(),
            readers_started: 0,
            asked: Vec::new(),
            timers: Vec::new(),
            saved: Vec::new(),
            milliseconds: BTreeMap::new(),
            refuses: false,
        };
        page.scheduler.choose(Device::Cpu, false);
        page.carry_out();
        page.read(Read::Started);
        page.ready(1);
        page
    }

    fn carry_out(&mut self) {
        for command in self.scheduler.commands() {
            match command {
                Command::Dispatch(action) => self.state.apply(*action),
                Command::StartWorker { number, .. } => {
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
                Command::SendFiles { request, .. } | Command::AskReader(request) => {
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
                Command::LoadModel(_) | Command::ReaderStarted | Command::ModelIsReady { .. } => {}
            }
        }
    }

    fn clear(&mut self, timer: Timer) {
        self.timers.retain(|(own, _)| *own != timer);
    }

    /// Milliseconds of a timer that runs.
    fn patience(&self, timer: Timer) -> Option<u32> {
        self.timers.iter().find(|(own, _)| *own == timer).map(|(_, milliseconds)| *milliseconds)
    }

    fn act(&mut self, act: impl FnOnce(&mut Scheduler, &State)) {
        act(&mut self.scheduler, &self.state);
        self.carry_out();
    }

    fn read(&mut self, event: Read) {
        self.scheduler.reader_event(event, vec![7]);
        self.carry_out();
    }

    fn say(&mut self, number: u32, event: Event) {
        self.scheduler.worker_event(number, event, Vec::new());
        self.carry_out();
    }

    fn ready(&mut self, number: u32) {
        self.say(number, Event::Started);
        self.say(
            number,
            Event::Ready {
                device: "cpu".into(),
                details: String::new(),
                model: "model".into(),
                models: Box::default(),
                licence: String::new(),
                regions: None,
                downloads: Vec::new(),
            },
        );
    }

    fn batch(&self) -> u32 {
        self.scheduler.batch_number().expect("open files")
    }

    /// Opens a series of so many slices.
    fn open(&mut self, slices: usize) {
        self.act(|scheduler, _| {
            scheduler.open(vec!["a file".into()], vec![1000.0]);
        });
        let batch = self.batch();
        self.asked.clear();
        self.read(Read::Opening { batch, file: 0 });
        self.read(Read::Opened { batch, contents: series(slices) });
    }

    /// The reader answers everything that it was asked for.
    fn answer(&mut self) {
        while !self.asked.is_empty() {
            match self.asked.remove(0) {
                Ask::Prepare { batch, slice } => {
                    let source = format!("slice {slice}");
                    let prepared = PreparedSlice {
                        source,
                        width: 1,
                        height: 1,
                        spacing_mm: None,
                        not_chest_ct: None,
                        warnings: Vec::new(),
                    };
                    self.read(Read::Prepared { batch, slice, prepared });
                }
                Ask::Show { batch, slice, window } => {
                    let shown = ShownSlice {
                        width: 1,
                        height: 1,
                        window,
                        file_window: None,
                        spacing_mm: None,
                        says_hounsfield: false,
                    };
                    self.read(Read::Shown { batch, slice, chosen: window, shown });
                }
                _ => {}
            }
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
        let number = *self.workers.keys().next().expect("a worker");
        self.act(|scheduler, _| scheduler.worker_failed(number, "it broke."));
        let next = *self.workers.keys().last().expect("another worker");
        self.ready(next);
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
fn a_slice_that_breaks_two_workers_is_skipped_by_name_and_the_others_go_on() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.run([0, 1]));
    page.answer();
    assert_eq!(page.in_work(), ["slice 0"]);
    page.break_worker();
    page.answer();
    // What was prepared meanwhile comes first.
    assert_eq!(page.in_work(), ["slice 1"]);
    page.finish();
    page.answer();
    assert_eq!(page.in_work(), ["slice 0"], "once more");
    page.break_worker();
    page.settle();
    assert!(page.state.troubles.iter().any(|message| message.contains("slice 0")));
    assert!(page.state.reports.contains_key(&1) && !page.state.reports.contains_key(&0));
    assert_ne!(page.state.phase, Phase::Broken);
}

#[test]
fn after_three_workers_that_never_start_nothing_computes_until_it_is_asked_for_again() {
    let mut page = Page::new();
    page.open(3);
    page.settle();
    for _ in 0..3 {
        let number = *page.workers.keys().next().expect("a worker");
        page.act(|scheduler, _| scheduler.worker_failed(number, "no memory"));
    }
    assert!(page.workers.is_empty());
    assert_eq!(page.state.phase, Phase::Broken);
    page.act(|scheduler, _| scheduler.run([0]));
    assert_eq!(page.workers.len(), 1, "another try");
}

#[test]
fn a_graphics_card_that_fails_gives_way_to_the_cpu_and_its_slice_is_computed_again() {
    let mut page = Page::new();
    page.act(|scheduler, _| {
        scheduler.worker_failed(1, "gone");
        scheduler.worker_failed(2, "gone");
    });
    let mut scheduler = Scheduler::new(WorkerPool::of(1));
    scheduler.choose(Device::Gpu, true);
    page = Page { scheduler, state: State::default(), workers: BTreeMap::new(), ..page };
    page.carry_out();
    page.read(Read::Started);
    page.ready(1);
    page.open(3);
    page.answer();
    assert_eq!(page.in_work(), ["slice 1"]);
    page.act(|scheduler, _| scheduler.timer(Timer::Worker(1)));
    let cpu = *page.workers.keys().next().expect("the CPU's worker");
    page.ready(cpu);
    page.settle();
    assert!(page.state.reports.contains_key(&1));
    assert!(page.state.notice.is_some());
}

/// A page whose GPU takes long, nobody having asked for it, with two slices done.
fn with_slow_gpu() -> (Page, u32) {
    let mut page = Page::new();
    let mut scheduler = Scheduler::new(WorkerPool::of(1));
    scheduler.choose(Device::Gpu, false);
    page = Page { scheduler, state: State::default(), workers: BTreeMap::new(), ..page };
    page.carry_out();
    page.read(Read::Started);
    page.ready(1);
    page.milliseconds.insert(1, 2000.0);
    page.refuses = true;
    page.open(6);
    page.settle();
    page.act(|scheduler, state| scheduler.look_at(state, 1));
    page.settle();
    assert_eq!(page.workers.len(), 1, "what is refused says nothing of the speed");
    page.refuses = false;
    for slice in [4, 2] {
        page.act(|scheduler, state| scheduler.look_at(state, slice));
        page.settle();
    }
    assert_eq!(page.workers.len(), 2, "a CPU worker is started to compare");
    let cpu = *page.workers.keys().last().expect("its number");
    (page, cpu)
}

#[test]
fn of_a_slow_graphics_card_and_the_cpu_the_faster_stays_and_the_page_says_which() {
    for (cpu_takes, cpu_stays) in [(300.0, true), (3000.0, false)] {
        let (mut page, cpu) = with_slow_gpu();
        let stays = if cpu_stays { cpu } else { 1 };
        page.ready(cpu);
        page.milliseconds.insert(cpu, cpu_takes);
        page.act(|scheduler, state| scheduler.look_at(state, 0));
        page.answer();
        assert!(page.workers[&cpu].is_some(), "the next slice is the CPU's");
        page.settle();
        assert_eq!(page.workers.keys().collect::<Vec<_>>(), [&stays]);
        let notice = page.state.notice.clone().expect("a notice");
        assert!(notice.contains("2000 ms") && notice.contains(&format!("{cpu_takes} ms")));
        page.act(|scheduler, state| scheduler.look_at(state, 5));
        page.settle();
        assert!(page.state.reports.contains_key(&5));
    }
}

#[test]
fn a_graphics_card_that_fails_while_it_is_compared_leaves_the_cpu_and_the_other_way_round() {
    for gpu_fails in [true, false] {
        let (mut page, cpu) = with_slow_gpu();
        let (fails, stays) = if gpu_fails { (1, cpu) } else { (cpu, 1) };
        page.ready(cpu);
        page.act(|scheduler, _| scheduler.worker_failed(fails, "gone"));
        assert_eq!(page.workers.keys().collect::<Vec<_>>(), [&stays]);
        page.act(|scheduler, state| scheduler.look_at(state, 0));
        page.settle();
        assert!(page.state.reports.contains_key(&0));
        assert_eq!(page.workers.len(), 1, "it is not compared again");
    }
}

#[test]
fn a_worker_that_does_not_confirm_a_cancellation_is_replaced_and_one_that_does_is_used_again() {
    let mut page = Page::new();
    page.open(3);
    page.answer();
    page.act(|scheduler, _| scheduler.cancel());
    assert!(page.state.cancelled);
    assert!(page.patience(Timer::Cancellation(1)).is_some());
    page.act(|scheduler, _| scheduler.run([0]));
    page.answer();
    assert_eq!(page.in_work(), ["slice 1"], "nothing new before the old has stopped");
    page.say(1, Event::Cancelled { id: 0 });
    page.answer();
    assert_eq!(page.in_work(), ["slice 0"]);
    page.act(|scheduler, _| scheduler.cancel());
    page.act(|scheduler, _| scheduler.timer(Timer::Cancellation(1)));
    assert_eq!(page.workers.len(), 1);
    assert!(!page.workers.contains_key(&1), "another worker stands in its place");
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

#[test]
fn a_slice_that_breaks_two_readers_is_skipped_and_the_files_stay_open() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.run([3, 1]));
    for _ in 0..2 {
        let started = page.readers_started;
        page.act(|scheduler, _| scheduler.timer(Timer::Reader));
        assert_eq!(page.readers_started, started + 1);
        page.read(Read::Started);
        let batch = page.batch();
        page.asked.clear();
        page.read(Read::Opened { batch, contents: series(4) });
    }
    page.settle();
    assert!(page.state.troubles.iter().any(|message| message.contains("slice 3")));
    assert!(page.state.reports.contains_key(&1) && !page.state.reports.contains_key(&3));
}

#[test]
fn files_that_changed_meanwhile_are_neither_shown_nor_computed() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.reader_failed("gone"));
    page.read(Read::Started);
    let batch = page.batch();
    page.read(Read::Opened { batch, contents: series(3) });
    page.asked.clear();
    page.act(|scheduler, _| scheduler.run([0]));
    page.act(|scheduler, _| scheduler.show(1, None));
    assert!(page.asked.is_empty(), "{:?}", page.asked);
    assert_eq!(page.state.reports.len(), 1, "what was found stays");
    assert!(page.state.error.is_some());
}

#[test]
fn a_file_that_breaks_the_reader_is_refused_by_name_when_it_is_opened_again() {
    let mut page = Page::new();
    page.act(|scheduler, _| {
        scheduler.open(vec!["one".into(), "two".into()], vec![10.0, 5e6]);
    });
    let batch = page.batch();
    page.read(Read::Opening { batch, file: 1 });
    assert_eq!(page.patience(Timer::Reader), Some(35_000), "longer for a larger file");
    page.act(|scheduler, _| scheduler.timer(Timer::Reader));
    page.read(Read::Started);
    let refused = page.asked.iter().find_map(|ask| match ask {
        Ask::Open { refused, .. } => Some(refused.clone()),
        _ => None,
    });
    assert_eq!(refused.expect("files are sent").first().map(|(file, _)| *file), Some(1));
    let contents = OpenedStudy {
        refused: vec![FileError { source: "two".into(), message: "silent".into() }],
        ..series(1)
    };
    page.read(Read::Opened { batch, contents });
    assert!(page.state.error.as_ref().is_some_and(|error| error.contains("two")));
}

#[test]
fn while_pictures_come_late_only_the_last_that_is_wanted_is_asked_for() {
    let mut page = Page::new();
    page.open(9);
    page.asked.retain(|ask| matches!(ask, Ask::Show { .. }));
    assert_eq!(page.asked.len(), 1);
    for slice in [5, 6, 7] {
        page.act(|scheduler, state| scheduler.look_at(state, slice));
    }
    assert_eq!(page.asked.iter().filter(|ask| matches!(ask, Ask::Show { .. })).count(), 1);
    page.answer();
    assert_eq!(page.state.picture.as_ref().map(|picture| picture.slice), Some(7));
}

#[test]
fn an_export_that_a_new_reader_cannot_finish_is_said_to_be_lost() {
    let mut page = Page::new();
    page.open(2);
    page.settle();
    page.act(|scheduler, state| {
        let (report, slices) = state.whole_report();
        let what = (report, slices, "series".to_owned());
        scheduler.export(Format::Csv, what, Identity::default(), None);
    });
    assert_eq!(page.patience(Timer::Reader), Some(300_000));
    page.act(|scheduler, _| scheduler.reader_failed("it broke."));
    let said = page.state.error.clone().or(page.state.notice.clone()).unwrap_or_default();
    assert!(said.contains("it broke"), "{said}");
    assert!(page.saved.is_empty());
}

#[test]
fn two_models_never_share_a_series() {
    let mut page = Page::with(WorkerPool::of(2));
    page.open(30);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..30));
    let second = *page.workers.keys().last().expect("a second worker");
    assert_ne!(second, 1);
    let info = crate::report::ModelInfo { name: "another".into(), sha256: "1".into() };
    let models = Box::new(ModelsInfo { segmentation: Some(info), ..ModelsInfo::default() });
    page.say(
        second,
        Event::Ready {
            device: "cpu".into(),
            details: String::new(),
            model: "another".into(),
            models,
            licence: String::new(),
            regions: None,
            downloads: Vec::new(),
        },
    );
    assert_eq!(page.workers.keys().copied().collect::<Vec<_>>(), [1]);
    page.settle();
    assert_eq!(page.state.reports.len(), 30);
}

#[test]
fn a_worker_that_cannot_be_started_is_done_without_if_there_is_another() {
    let mut page = Page::with(WorkerPool::of(2));
    page.open(30);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..30));
    let second = *page.workers.keys().last().expect("a second worker");
    page.act(|scheduler, _| scheduler.worker_not_started(second, "no memory"));
    page.settle();
    assert_eq!((page.workers.len(), page.state.reports.len()), (1, 30));
    assert!(page.state.error.is_none());
    let only = *page.workers.keys().next().expect("a worker");
    page.act(|scheduler, _| scheduler.worker_not_started(only, "no memory"));
    assert_eq!(page.state.phase, Phase::Broken);
}

#[test]
fn a_reader_that_cannot_be_started_is_started_again_when_files_are_opened() {
    let mut page = Page::new();
    page.act(|scheduler, _| scheduler.reader_failed("gone"));
    page.act(|scheduler, _| scheduler.reader_not_started("no memory"));
    assert_eq!(page.state.phase, Phase::Broken);
    let started = page.readers_started;
    page.act(|scheduler, _| {
        scheduler.open(vec!["a file".into()], vec![1.0]);
    });
    assert_eq!(page.readers_started, started + 1);
}
