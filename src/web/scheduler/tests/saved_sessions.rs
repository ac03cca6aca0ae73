//! Session files that are opened with their images.

use super::*;
use crate::classes::LesionKind;
use crate::report::corrections::{Correction, Stroke};
use crate::web::editing::Editing;

/// A session in which slices 1 and 3 of four were predicted, and a lesion was drawn on slice 3.
fn saved() -> SessionFile {
    let mut page = Page::new();
    page.open(4);
    page.act(|scheduler, _| scheduler.run([1, 3]));
    page.settle();
    page.act(|scheduler, _| scheduler.show(3, None));
    page.state.apply(Action::Edit(Some(Editing::default())));
    let stroke = Stroke {
        lesion: None,
        points: vec![(0.5, 0.5)],
        radius: 1.0,
        erases: false,
        kind: LesionKind::Lesion,
    };
    page.state.apply(Action::Correct(Correction::Paint(stroke)));
    assert_eq!(page.state.correction_error, None);
    page.state.apply(Action::Threshold(0.25));
    let session = page.state.session_file().expect("a session");
    page.act(|scheduler, _| scheduler.save_session(session.clone(), "series".into()));
    let asked = page.asked.iter().any(|ask| matches!(ask, Ask::SaveSession { .. }));
    assert!(asked, "the reader writes it");
    page.read(Read::Exported { name: "series_session.zip".into(), media_type: String::new() });
    assert_eq!(page.saved, ["series_session.zip"]);
    session
}

fn assert_restored(page: &Page) {
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!((page.state.shown, page.state.threshold), (3, 0.25));
    assert_eq!(page.state.report().expect("a report").lesions.len(), 1);
    assert_eq!(page.state.edits.next_undo(), None);
    assert!(!page.state.edits.is_empty() && page.state.error.is_none());
    assert_eq!(page.in_work(), [""; 0], "nothing is predicted anew");
}

#[test]
fn a_session_goes_on_where_it_was_saved() {
    let mut page = Page::new();
    page.open_with(4, Some(saved()));
    page.settle();
    assert_restored(&page);
    page.state.apply(Action::Show { slice: 1, window: None });
    assert_eq!(page.state.report().expect("a report").lesions.len(), 0);
}

#[test]
fn a_session_waits_for_its_model() {
    let mut page = Page::without_model(WorkerPool::of(1));
    page.open_with(4, Some(saved()));
    page.answer();
    assert!(page.state.reports.is_empty() && page.state.error.is_none());
    page.ready(1);
    page.settle();
    assert_restored(&page);
}

#[test]
fn the_findings_of_another_model_are_refused_and_the_images_are_predicted() {
    let mut page = Page::without_model(WorkerPool::of(1));
    page.ready_with(1, "other");
    page.open_with(4, Some(saved()));
    page.settle();
    let error = page.state.error.clone().expect("a message");
    assert!(error.contains("(model)") && error.contains("(other)"), "{error}");
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(page.state.edits.is_empty());
}

#[test]
fn a_session_of_other_images_is_refused_and_what_is_missing_of_it_is_said() {
    let mut page = Page::new();
    page.open_with(1, Some(saved()));
    page.settle();
    let error = page.state.error.clone().expect("a message");
    assert!(error.contains("other images"), "{error}");
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [0]);

    let mut page = Page::new();
    page.open_with(3, Some(saved()));
    page.settle();
    let error = page.state.error.clone().expect("a message");
    assert!(error.contains("1 of the 2 slices"), "{error}");
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(page.state.shown, 1);
}

#[test]
fn a_session_without_images_and_one_that_other_files_follow_leave_nothing() {
    let mut page = Page::new();
    page.open_with(0, Some(saved()));
    assert!(page.state.error.as_ref().is_some_and(|error| error.contains("no images")));

    let mut page = Page::without_model(WorkerPool::of(1));
    page.open_with(4, Some(saved()));
    page.open(4);
    page.ready(1);
    page.settle();
    assert_eq!(page.state.reports.keys().copied().collect::<Vec<_>>(), [2]);
    assert!(page.state.edits.is_empty());
}

#[test]
fn a_prediction_that_comes_late_replaces_no_corrected_slice() {
    let mut page = Page::without_model(WorkerPool::of(1));
    page.open_with(4, Some(saved()));
    page.act(|scheduler, _| scheduler.run([3]));
    page.ready(1);
    page.settle();
    assert_eq!(page.state.report().expect("a report").lesions.len(), 1);
    assert_eq!(page.state.phase, Phase::Idle);
}
