//! Planes across a series: what the reader is asked for.

use super::*;
use crate::image::Plane;
use crate::image::sections::Sections;

/// A series of which planes can be cut.
fn even_series(slices: usize) -> OpenedStudy {
    let mut contents = series(slices);
    contents.series[0].distance_mm = Some(5.0);
    contents
}

fn sections(at: (usize, usize)) -> (Sections, Vec<u8>) {
    let plane =
        Plane { origin: [0.0; 3], along_row: [1.0, 0.0, 0.0], along_column: [0.0, 1.0, 0.0] };
    let (size, slices, spacing_mm) = ((4, 3), 5, [1.0; 2]);
    (Sections { at, size, slices, spacing_mm, distance_mm: 5.0, plane }, vec![9; 5 * (4 + 3)])
}

fn asked_planes(page: &Page) -> Vec<(usize, (usize, usize))> {
    let planes = |ask: &Ask| match ask {
        Ask::Reslice { slice, at, .. } => Some((*slice, *at)),
        _ => None,
    };
    page.asked.iter().filter_map(planes).collect()
}

#[test]
fn planes_are_asked_for_one_question_at_a_time_and_the_last_place_is_shown() {
    let mut page = Page::new();
    page.open_study(even_series(5), None);
    page.settle();
    let batch = page.batch();
    for at in [(1, 1), (2, 1), (3, 2)] {
        page.act(|scheduler, _| scheduler.reslice(Some(at)));
    }
    assert_eq!(asked_planes(&page), [(page.state.shown, (1, 1))]);
    assert!(page.timeout(Timer::Reader).is_some(), "a silent reader is noticed");
    page.asked.clear();
    let (first, bytes) = sections((1, 1));
    page.read_with(Read::Resliced { batch, first: 0, read: 5, sections: first }, bytes);
    assert_eq!(asked_planes(&page), [(page.state.shown, (3, 2))]);
    let reslice = page.state.reslice.clone().expect("planes are looked at");
    assert_eq!(reslice.rendered.expect("they came").sections.at, (1, 1));
    assert_eq!(reslice.at, (3, 2));
    // Other slices of the series are crossed by the same planes, another window shows others.
    page.asked.clear();
    let (last, bytes) = sections((3, 2));
    page.read_with(Read::Resliced { batch, first: 0, read: 5, sections: last }, bytes);
    let shown = page.state.shown;
    page.act(|scheduler, _| scheduler.show((shown + 1) % 5, None));
    assert!(asked_planes(&page).is_empty());
    page.act(|scheduler, _| scheduler.show(shown, Some(Window::LUNG)));
    assert_eq!(asked_planes(&page), [(shown, (3, 2))]);
    page.act(|scheduler, _| scheduler.reslice(None));
    assert_eq!(page.state.reslice, None);
    assert!(matches!(page.asked.last(), Some(Ask::EndReslicing)), "{:?}", page.asked);
    // The answer that was still owed is not shown, and where they lay they can be opened again.
    let (last, bytes) = sections((3, 2));
    page.read_with(Read::Resliced { batch, first: 0, read: 5, sections: last }, bytes);
    assert_eq!(page.state.reslice, None);
    page.asked.clear();
    page.act(|scheduler, _| scheduler.reslice(Some((3, 2))));
    assert_eq!(asked_planes(&page).len(), 1);
}

#[test]
fn a_long_series_is_read_in_parts_and_what_has_come_is_shown() {
    let mut page = Page::new();
    page.open_study(even_series(5), None);
    page.settle();
    let batch = page.batch();
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    for read in [2, 4] {
        assert_eq!(asked_planes(&page).len(), 1);
        page.asked.clear();
        let (part, bytes) = sections((1, 1));
        page.read_with(Read::Resliced { batch, first: 0, read, sections: part }, bytes);
        let reslice = page.state.reslice.clone().expect("planes are looked at");
        assert_eq!(reslice.rendered.expect("a part came").read, read);
    }
    page.act(|scheduler, _| scheduler.reslice(None));
    page.asked.clear();
    let (part, bytes) = sections((1, 1));
    page.read_with(Read::Resliced { batch, first: 0, read: 4, sections: part }, bytes);
    assert!(asked_planes(&page).is_empty(), "nobody looks any more");
    assert_eq!(page.timeout(Timer::Reader), None, "the reader owes nothing");
}

#[test]
fn a_series_with_a_damaged_slice_says_so_once_and_another_can_be_cut() {
    let mut contents = even_series(5);
    contents.series.extend(even_series(5).series);
    let mut page = Page::new();
    page.open_study(contents, None);
    page.settle();
    let (batch, shown) = (page.batch(), page.state.shown);
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    page.asked.clear();
    page.read(Read::NotResliced { batch, first: 0, message: "slice 3: damaged".into() });
    let error = page.state.reslice.as_ref().and_then(|reslice| reslice.error.clone());
    assert_eq!(error, Some((0, "slice 3: damaged".into())));
    assert_eq!(page.state.cross(), None);
    page.act(|scheduler, _| scheduler.show(shown, Some(Window::LUNG)));
    assert!(asked_planes(&page).is_empty(), "it is not read again for another window");
    page.act(|scheduler, _| scheduler.show(7, None));
    assert_eq!(asked_planes(&page), [(7, (1, 1))]);
    assert_eq!(page.state.cross(), Some((1, 1)));
}

#[test]
fn a_slice_that_breaks_the_reader_before_the_planes_come_is_blamed_itself() {
    let mut page = Page::new();
    page.open_study(even_series(5), None);
    page.settle();
    page.act(|scheduler, _| scheduler.show(4, None));
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    page.act(|scheduler, _| scheduler.reader_failed("it broke"));
    page.read(Read::Started);
    let batch = page.batch();
    page.asked.clear();
    page.read(Read::Opened { batch, contents: even_series(5), session: None });
    assert_eq!(asked_planes(&page).len(), 1, "the planes are asked for again: {:?}", page.asked);
}

#[test]
fn files_that_changed_meanwhile_have_no_planes() {
    let mut page = Page::new();
    page.open_study(even_series(5), None);
    page.settle();
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    page.act(|scheduler, _| scheduler.reader_failed("gone"));
    page.read(Read::Started);
    let batch = page.batch();
    page.read(Read::Opened { batch, contents: even_series(3), session: None });
    assert_eq!(page.state.reslice, None);
}

#[test]
fn a_series_that_breaks_the_reader_when_it_is_cut_stays_open_and_is_not_cut_again() {
    let mut page = Page::new();
    page.open_study(even_series(5), None);
    page.settle();
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    page.act(|scheduler, _| scheduler.reader_failed("no memory"));
    page.read(Read::Started);
    let batch = page.batch();
    page.asked.clear();
    page.read(Read::Opened { batch, contents: even_series(5), session: None });
    assert!(asked_planes(&page).is_empty());
    page.settle();
    let error = page.state.reslice.as_ref().and_then(|reslice| reslice.error.clone());
    assert_eq!(error, Some((0, "no memory".into())));
    assert_eq!(page.state.picture.as_ref().map(|picture| picture.slice), Some(page.state.shown));
    page.act(|scheduler, _| scheduler.reslice(Some((2, 2))));
    assert_eq!(asked_planes(&page).len(), 1, "a reader may ask again");
}

#[test]
fn slices_that_do_not_lie_evenly_are_not_cut() {
    let mut page = Page::new();
    page.open(5);
    page.settle();
    page.act(|scheduler, _| scheduler.reslice(Some((1, 1))));
    assert!(asked_planes(&page).is_empty());
}
