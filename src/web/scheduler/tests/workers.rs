//! Workers that break, are compared, or do not answer.

use super::*;

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
    assert!(page.state.problems.iter().any(|message| message.contains("slice 0")));
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
    let mut scheduler = Scheduler::new(WorkerPool::of(1), None);
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
    let mut scheduler = Scheduler::new(WorkerPool::of(1), None);
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
    assert!(page.timeout(Timer::Cancellation(1)).is_some());
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
fn two_models_never_share_a_series() {
    let mut page = Page::with(WorkerPool::of(2));
    page.open(30);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..30));
    let second = *page.workers.keys().last().expect("a second worker");
    assert_ne!(second, 1);
    page.ready_with(second, "another");
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
fn another_model_forgets_what_was_found_and_computes_the_shown_slice_anew() {
    let mut page = Page::with(WorkerPool::of(2));
    page.open(30);
    page.settle();
    page.act(|scheduler, _| scheduler.run(0..30));
    page.answer();
    page.act(|scheduler, state| {
        scheduler.choose_model(of_site("other"), Some(state.shown));
    });
    assert!(page.state.reports.is_empty() && page.state.model.is_none());
    let [(number, None)] = page.workers.iter().collect::<Vec<_>>()[..] else {
        panic!("one worker, without a job: {:?}", page.workers)
    };
    let number = *number;
    page.say(number, Event::Started);
    assert_eq!(page.loaded.last(), Some(&of_site("other")));
    page.ready_with(number, "other");
    page.settle();
    assert_eq!(page.state.model.as_ref().map(|model| model.name.as_str()), Some("other"));
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [15], "the shown slice");
    // Workers that are replaced load it, too.
    let next = page.break_worker_of("other");
    assert_ne!(next, number);
    assert_eq!(page.loaded.last(), Some(&of_site("other")));
}

#[test]
fn a_model_that_is_chosen_while_files_are_opened_does_not_end_their_opening() {
    let mut page = Page::new();
    page.act(|scheduler, _| {
        scheduler.open(vec!["a file".into()], vec![1000.0]);
    });
    let batch = page.batch();
    page.read(Read::Opening { batch, file: 0 });
    page.act(|scheduler, _| scheduler.choose_model(of_site("other"), None));
    page.ready_with(page.newest_worker(), "other");
    page.read(Read::Opened { batch, contents: series(3), session: None });
    page.settle();
    assert_eq!(page.state.reports.len(), 1);
}

#[test]
fn another_device_keeps_what_was_found_and_computes_what_ran_again() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.run([0, 1, 3]));
    page.answer();
    let (id, slice) = page.workers[&1].clone().expect("a job");
    page.act(|scheduler, _| scheduler.choose(Device::Gpu, true));
    // The last words of the worker that was stopped concern nobody.
    page.say(1, Event::Done { id, report: Box::new(slice_report(&slice, 100.0)) });
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [2]);
    page.ready(page.newest_worker());
    page.settle();
    assert_eq!(page.state.reports.len(), 4);
    assert_eq!(page.state.phase, Phase::Idle);
}

#[test]
fn a_model_that_cannot_be_loaded_leaves_the_others_to_choose_from() {
    let mut page = Page::new();
    page.open(2);
    page.settle();
    page.act(|scheduler, _| scheduler.choose_model(of_site("other"), Some(0)));
    page.say(page.newest_worker(), Event::LoadFailed { message: "not found".into() });
    assert_eq!(page.state.phase, Phase::Broken);
    assert_eq!(page.state.models_of_site.len(), 2);
    page.act(|scheduler, _| scheduler.choose_model(of_site("model"), Some(0)));
    page.ready_with(page.newest_worker(), "model");
    page.settle();
    assert_eq!(page.state.reports.len(), 1);
    assert!(page.state.error.is_none());
}

#[test]
fn a_model_of_the_users_computes_on_the_cpu_and_is_loaded_by_every_worker() {
    let mut page = Page::new();
    page.act(|scheduler, _| scheduler.choose(Device::Gpu, true));
    page.ready(page.newest_worker());
    page.open(4);
    page.settle();
    page.ready.clear();
    let own = ModelSource::File("own.bpk".into());
    page.act(|scheduler, _| scheduler.choose_model(own.clone(), Some(0)));
    assert_eq!(page.state.chosen_model.as_deref(), Some("own.bpk"));
    let number = page.newest_worker();
    assert_eq!(page.started, [Device::Cpu, Device::Gpu, Device::Cpu]);
    page.ready_with(number, "own.bpk");
    page.settle();
    assert_eq!(page.loaded.last(), Some(&own));
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(page.ready, [""; 0], "there is no card to fetch and nothing to keep");
    assert_eq!(page.state.models_of_site.len(), 2, "the others can still be chosen");

    page.break_worker_of("own.bpk");
    assert_eq!(page.loaded.last(), Some(&own));
    page.act(|scheduler, _| scheduler.choose(Device::Gpu, true));
    assert_eq!(page.started.last(), Some(&Device::Cpu));
    assert!(page.state.notice.as_ref().is_some_and(|notice| notice.contains("own model")));
    page.ready_with(page.newest_worker(), "own.bpk");

    page.act(|scheduler, _| scheduler.choose_model(of_site("model"), Some(0)));
    page.ready_with(page.newest_worker(), "model");
    page.settle();
    assert_eq!(page.loaded.last(), Some(&of_site("model")));
    assert_eq!(page.ready, ["model"]);
    assert_eq!(page.started.last(), Some(&Device::Gpu), "as was chosen");
}
