//! Files to save.

use yew::prelude::*;

use crate::export::Format;
use crate::predict::report::{NOTICE, Report};
use crate::web::session::Session;
use crate::web::state::State;

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// The worker.
    pub session: Session,
}

fn label(format: Format) -> &'static str {
    match format {
        Format::Html => "Report (HTML)",
        Format::Csv => "Table (CSV)",
        Format::Json => "Report (JSON)",
        Format::Coco => "COCO JSON",
        Format::MaskPng => "Mask of this slice (PNG)",
        Format::OverlayPng => "This slice with lesions (PNG)",
        Format::NiftiMask => "Masks of this series (NIfTI)",
    }
}

/// What of the findings goes into a file, the slices' numbers, and what to call it after.
fn extract(state: &State, format: Format) -> (Report, Vec<usize>, String) {
    let (mut report, mut numbers) = state.whole_report();
    let name = state.contents.name(state.shown).to_owned();
    let kept: Vec<usize> = match format {
        Format::MaskPng | Format::OverlayPng => {
            (0..numbers.len()).filter(|index| numbers[*index] == state.shown).collect()
        }
        Format::NiftiMask => match state.contents.series_of(state.shown) {
            Some((series, first)) => {
                let range = first..first + series.slices.len();
                let in_series = |index: &usize| range.contains(&numbers[*index]);
                let place = (0..numbers.len()).find(|index| in_series(index));
                report.series.retain(|series| Some(series.first_slice) == place);
                (0..numbers.len()).filter(in_series).collect()
            }
            None => Vec::new(),
        },
        _ => return (report, numbers, name),
    };
    report.slices = kept.iter().map(|index| report.slices[*index].clone()).collect();
    numbers = kept.iter().map(|index| numbers[*index]).collect();
    (report, numbers, name)
}

/// A button for every kind of file.
#[component]
pub fn Exports(props: &Props) -> Html {
    let state = &props.state;
    let shown_is_done = state.reports.contains_key(&state.shown);
    let series_is_done = state.contents.series_of(state.shown).is_some_and(|(series, first)| {
        (first..first + series.slices.len()).all(|slice| state.reports.contains_key(&slice))
    });
    let button = |format: Format| {
        let is_possible = match format {
            Format::MaskPng | Format::OverlayPng => shown_is_done,
            Format::NiftiMask => series_is_done,
            _ => true,
        };
        let (state, session) = (state.clone(), props.session.clone());
        let on_click = Callback::from(move |_: MouseEvent| {
            let (report, numbers, name) = extract(&state, format);
            session.export(format, report, numbers, name);
        });
        html! {
            <button type="button" disabled={!is_possible} onclick={on_click}>{label(format)}</button>
        }
    };
    html! {
        <section class="exports" aria-label="Save">
            <h2>{"Save"}</h2>
            <div class="buttons">
                for format in Format::ALL {
                    { button(format) }
                }
            </div>
            <p class="hint">
                {format!("Files hold the names of your files, the lesions over the threshold and, in pictures, the slice itself; of DICOM headers, only size, spacing and place. {NOTICE}")}
            </p>
        </section>
    }
}
