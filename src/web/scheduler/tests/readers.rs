//! Readers that break, and what they owe.

use super::*;
use crate::web::state::NotListed;

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
        page.read(Read::Opened { batch, contents: series(4), session: None });
    }
    page.settle();
    assert!(page.state.problems.iter().any(|message| message.contains("slice 3")));
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
    page.read(Read::Opened { batch, contents: series(3), session: None });
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
    assert_eq!(page.timeout(Timer::Reader), Some(35_000), "longer for a larger file");
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
    page.read(Read::Opened { batch, contents, session: None });
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
        scheduler.export(Format::Csv, what, Identity::default(), None, None);
    });
    assert_eq!(page.timeout(Timer::Reader), Some(300_000));
    page.act(|scheduler, _| scheduler.reader_failed("it broke."));
    let said = page.state.error.clone().or(page.state.notice.clone()).unwrap_or_default();
    assert!(said.contains("it broke"), "{said}");
    assert!(page.saved.is_empty());
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

#[test]
fn an_open_header_is_asked_for_once_a_slice() {
    let mut page = Page::new();
    page.open(3);
    page.settle();
    let headers = |page: &Page| -> Vec<usize> {
        let slice = |ask: &Ask| match ask {
            Ask::ListHeader { slice, .. } => Some(*slice),
            _ => None,
        };
        page.asked.iter().filter_map(slice).collect()
    };
    let shown = page.state.shown;
    page.act(|scheduler, _| scheduler.show_header(true));
    assert_eq!(headers(&page), [shown]);
    page.asked.clear();
    // Other windows of the slice change nothing; another slice does, once its picture is there.
    page.act(|scheduler, _| scheduler.show(shown, Some(Window::LUNG)));
    page.settle();
    let other = (shown + 1) % 3;
    page.act(|scheduler, _| scheduler.show(other, None));
    assert!(headers(&page).is_empty());
    let batch = page.batch();
    let shows = page.asked.iter().any(|ask| matches!(ask, Ask::Show { .. }));
    assert!(shows, "the picture is asked for: {:?}", page.asked);
    page.show_next();
    assert_eq!(headers(&page), [other]);
    // What comes late, or of other files, is not this slice's.
    page.read(Read::Header { batch, slice: shown, elements: Some(Vec::new()) });
    page.read(Read::NotListed { batch: batch + 1, slice: other, message: "gone".into() });
    assert_eq!((&page.state.header, &page.state.error), (&None, &None));
    page.read(Read::NotListed { batch, slice: other, message: "gone".into() });
    assert_eq!(page.state.header, Some(Err(NotListed("gone".into()))));
}

#[test]
fn an_exported_picture_is_asked_for_through_the_window_that_was_chosen() {
    let mut page = Page::new();
    page.open(2);
    page.settle();
    let chosen = Window { center: 40.0, width: 400.0 };
    page.act(|scheduler, state| {
        let (report, slices) = state.whole_report();
        let what = (report, slices, "series".to_owned());
        scheduler.export(Format::OverlayPng, what, Identity::default(), None, Some(chosen));
    });
    let asked = page.asked.iter().find_map(|ask| match ask {
        Ask::Export { window, .. } => Some(*window),
        _ => None,
    });
    assert_eq!(asked, Some(Some(chosen)));
}
