//! Session files that are opened with their images.

use super::*;
use crate::classes::LesionKind;
use crate::detection::Mask;
use crate::report::correction::{Correction, LesionId, Stroke};
use crate::report::measurements::{Measurement, Shape, Unit};
use crate::report::{Lesion, Origin};
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
}

#[test]
fn a_session_goes_on_where_it_was_saved() {
    let mut page = Page::new();
    page.open_with(4, Some(saved()));
    let prepares = page.asked.iter().any(|ask| matches!(ask, Ask::Prepare { .. }));
    assert!(!prepares, "nothing is predicted anew");
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
    assert!(error.contains("(model, model…)") && error.contains("(other, other…)"), "{error}");
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

/// The session, with a lesion of the model's on slice 3 that the reader rejected.
fn with_rejected() -> SessionFile {
    let mut session = saved();
    let slice = &mut session.slices[1];
    let mask = Mask { width: 1, height: 1, pixels: vec![true] };
    let bare = Lesion { origin: Origin::Model, score: 0.9, ..Lesion::drawn(LesionKind::Lesion) };
    slice.report.lesions = vec![bare.with_mask(&mask, None).expect("a lesion")];
    let reject = Correction::Reject(LesionId::Found(0));
    slice.corrections.apply(&reject, &slice.report).expect("it is there");
    session
}

#[test]
fn a_prediction_that_comes_late_replaces_no_corrected_slice() {
    let mut page = Page::without_model(WorkerPool::of(1));
    page.open_with(4, Some(with_rejected()));
    page.act(|scheduler, _| scheduler.run([3]));
    page.ready(1);
    page.settle();
    assert_eq!(page.state.rejected.len(), 1);
    assert_eq!(page.state.phase, Phase::Idle);
}

#[test]
fn what_was_refused_is_analysed_all_the_same_after_something_was_measured_on_it() {
    let mut page = Page::new();
    page.refuses = true;
    page.open(1);
    page.settle();
    let shape = Shape::Ruler([(0.0, 0.0), (1.0, 0.0)]);
    let ruler = Measurement::of(shape, (1, 1), None, Unit::Grey, |_| None);
    page.state.apply(Action::Correct(Correction::Measure(ruler)));
    page.refuses = false;
    page.act(|scheduler, _| scheduler.force(0));
    page.settle();
    let report = page.state.report().expect("a report");
    assert_eq!((report.refusal.as_deref(), report.measurements.len()), (None, 1));
}

/// The reader's answer to a session that is opened over the open images.
fn answer_session(page: &mut Page, session: SessionFile) {
    let asked = page.asked.iter().any(|ask| matches!(ask, Ask::OpenSession { .. }));
    assert!(asked, "{:?}", page.asked);
    let batch = page.batch();
    page.read(Read::SessionOpened { batch, session: Box::new(session) });
}

#[test]
fn a_session_over_open_images_goes_on_and_one_that_is_refused_changes_nothing() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.run([0]));
    page.settle();
    let done = |page: &Page| page.state.reports.keys().copied().collect::<Vec<_>>();
    page.act(|scheduler, _| scheduler.open_session("a session".into()));
    let batch = page.batch();
    page.read(Read::SessionRefused { batch, message: "a session: damaged".into() });
    assert_eq!(page.state.error.as_deref(), Some("a session: damaged"));
    let mut others = saved();
    others.slices.iter_mut().for_each(|slice| slice.key.checksum += 100);
    page.act(|scheduler, _| scheduler.open_session("a session".into()));
    answer_session(&mut page, others);
    assert!(page.state.error.as_ref().is_some_and(|error| error.contains("other images")));
    assert_eq!((done(&page), page.state.shown), (vec![0, 2], 2));

    page.act(|scheduler, _| scheduler.open_session("a session".into()));
    answer_session(&mut page, saved());
    page.settle();
    assert_eq!((done(&page), page.state.shown), (vec![0, 1, 2, 3], 3));
    assert_eq!(page.state.report().expect("a report").lesions.len(), 1);
    assert_eq!(page.timeout(Timer::Reader), None, "nothing is waited for");
}

#[test]
fn a_session_waits_for_the_reader_of_all_formats_and_ends_with_one_that_breaks() {
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.open_session("a session".into()));
    let batch = page.batch();
    page.read(Read::NeedsAllFormats { batch });
    page.read(Read::Started);
    page.asked.clear();
    page.read(Read::Opened { batch, contents: series(4), session: None });
    answer_session(&mut page, saved());
    assert!(page.state.reports.contains_key(&3));

    page.act(|scheduler, _| scheduler.open_session("a session".into()));
    page.act(|scheduler, _| scheduler.timer(Timer::Reader));
    assert!(page.state.error.as_ref().is_some_and(|error| error.contains("a session: ")));
    page.read(Read::Started);
    page.asked.clear();
    page.read(Read::Opened { batch, contents: series(4), session: None });
    let asked = page.asked.iter().any(|ask| matches!(ask, Ask::OpenSession { .. }));
    assert!(!asked, "it is not tried again");
    assert!(page.state.reports.contains_key(&3), "what was found stays");
}

#[test]
fn the_same_weights_under_another_name_are_the_same_model() {
    let mut session = saved();
    session.model.segmentation.as_mut().expect("a model").name = "renamed".into();
    let mut page = Page::new();
    page.open_with(4, Some(session));
    page.settle();
    assert_restored(&page);
}

#[test]
fn a_reader_that_writes_no_sessions_gives_way_to_one_that_does() {
    let session = saved();
    let mut page = Page::new();
    page.open(4);
    page.settle();
    page.act(|scheduler, _| scheduler.save_session(session.clone(), "series".into()));
    let batch = page.batch();
    page.read(Read::NeedsAllFormats { batch });
    assert!(page.state.error.is_none(), "nothing was lost");
    page.read(Read::Started);
    page.asked.clear();
    page.read(Read::Opened { batch, contents: series(4), session: None });
    let asked = page.asked.iter().filter(|ask| matches!(ask, Ask::SaveSession { .. })).count();
    assert_eq!(asked, 1);
    page.read(Read::Exported { name: "series_session.zip".into(), media_type: String::new() });
    assert_eq!((page.saved.len(), page.timeout(Timer::Reader)), (1, None));
    // A reader that breaks at it is not asked again.
    page.act(|scheduler, _| scheduler.save_session(session, "series".into()));
    page.act(|scheduler, _| scheduler.timer(Timer::Reader));
    page.read(Read::Started);
    page.asked.clear();
    page.read(Read::Opened { batch, contents: series(4), session: None });
    assert!(!page.asked.iter().any(|ask| matches!(ask, Ask::SaveSession { .. })));
    assert!(page.state.error.is_some());
}
