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
    page.read_with(Read::Resliced { batch, first: 0, sections: first }, bytes);
    assert_eq!(asked_planes(&page), [(page.state.shown, (3, 2))]);
    let reslice = page.state.reslice.clone().expect("planes are looked at");
    assert_eq!(reslice.rendered.expect("they came").sections.at, (1, 1));
    assert_eq!(reslice.at, (3, 2));
    // Other slices of the series are crossed by the same planes, another window shows others.
    page.asked.clear();
    let (last, bytes) = sections((3, 2));
    page.read_with(Read::Resliced { batch, first: 0, sections: last }, bytes);
    let shown = page.state.shown;
    page.act(|scheduler, _| scheduler.show((shown + 1) % 5, None));
    assert!(asked_planes(&page).is_empty());
    page.act(|scheduler, _| scheduler.show(shown, Some(Window::LUNG)));
    assert_eq!(asked_planes(&page), [(shown, (3, 2))]);
    page.act(|scheduler, _| scheduler.reslice(None));
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
    page.settle();
    assert!(asked_planes(&page).is_empty());
    let error = page.state.reslice.as_ref().and_then(|reslice| reslice.error.clone());
    assert_eq!(error.as_deref(), Some("no memory"));
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
