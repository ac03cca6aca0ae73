//! Files to save.

use yew::prelude::*;

use crate::export::Format;
use crate::export::dicom::Identity;
use crate::report::Report;
use crate::web::components::Details;
use crate::web::session::Session;
use crate::web::state::State;
use crate::web::texts::text;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to reader and workers.
    pub session: Session,
}

/// Kinds of files by what they are for.
fn groups() -> impl Iterator<Item = (AttrValue, [Format; 3])> {
    [text!("export.reading"), text!("export.data"), text!("export.masks")]
        .into_iter()
        .zip(Format::BY_PURPOSE)
}

fn label(format: Format) -> AttrValue {
    match format {
        Format::Html => text!("export.html"),
        Format::Csv => text!("export.csv"),
        Format::Json => text!("export.json"),
        Format::Coco => text!("export.coco"),
        Format::MaskPng => text!("export.mask"),
        Format::OverlayPng => text!("export.overlay"),
        Format::NiftiMask => text!("export.nifti"),
        Format::DicomSeg => text!("export.seg"),
        Format::DicomSr => text!("export.sr"),
    }
}

/// What a file holds, and for whom.
fn contents(format: Format) -> AttrValue {
    match format {
        Format::Html => text!("export.html.what"),
        Format::Csv => text!("export.csv.what"),
        Format::Json => text!("export.json.what"),
        Format::Coco => text!("export.coco.what"),
        Format::MaskPng => text!("export.mask.what"),
        Format::OverlayPng => text!("export.overlay.what"),
        Format::NiftiMask => text!("export.nifti.what"),
        Format::DicomSeg => text!("export.seg.what"),
        Format::DicomSr => text!("export.sr.what"),
    }
}

/// What of the findings goes into a file, the slices' numbers, and what to call it after; nothing if what is shown has
/// no findings yet.
fn extract(state: &State, format: Format) -> Option<(Report, Vec<usize>, String)> {
    let (report, numbers) = state.whole_report();
    let name = state.contents.name(state.shown).to_owned();
    Some(match format {
        Format::MaskPng | Format::OverlayPng => {
            let index = numbers.iter().position(|number| *number == state.shown)?;
            (report.only_slice(index), vec![state.shown], name)
        }
        Format::NiftiMask | Format::DicomSeg | Format::DicomSr => {
            let in_series =
                |number: usize| state.contents.series_of(number).map(|(_, first)| first);
            let index = report.series.iter().position(|series| {
                in_series(numbers[series.first_slice]) == in_series(state.shown)
            })?;
            let range = report.series[index].range();
            (report.only_series(index), numbers[range].to_vec(), name)
        }
        _ => (report, numbers, name),
    })
}

/// A button that opens a sheet with every kind of file, what it holds, and why it cannot be had yet.
#[component]
pub fn Exports(props: &Props) -> Html {
    let state = &props.state;
    let shown_is_done = state.reports.contains_key(&state.shown);
    let series_is_done = state.contents.series_of(state.shown).is_some_and(|(series, first)| {
        (first..first + series.slices.len()).all(|slice| state.reports.contains_key(&slice))
    });
    let is_dicom = state.contents.series_of(state.shown).is_some_and(|(series, _)| series.is_dicom);
    let keeps_identity = use_state(|| false);
    let keeps = *keeps_identity;
    let on_keep = {
        let keeps_identity = keeps_identity.clone();
        Callback::from(move |_: Event| keeps_identity.set(!keeps))
    };
    let on_list = {
        let session = props.session.clone();
        Callback::from(move |is_open| session.list_identity(is_open))
    };
    let entry = |format: Format| {
        let about = AttrValue::from(format!("save-{}", format as u8));
        let missing = match format {
            Format::DicomSeg | Format::DicomSr if !is_dicom => Some(text!("export.needs_dicom")),
            Format::NiftiMask | Format::DicomSeg | Format::DicomSr if !series_is_done => {
                Some(text!("export.needs_series"))
            }
            Format::MaskPng | Format::OverlayPng if !shown_is_done => {
                Some(text!("export.needs_slice"))
            }
            _ => None,
        };
        let is_missing = missing.is_some();
        let (state, session) = (state.clone(), props.session.clone());
        let on_click = Callback::from(move |_: MouseEvent| {
            let identity = if keeps { Identity::Retained } else { Identity::default() };
            let card = state.card.as_ref().map(ToString::to_string);
            if let Some(extract) = extract(&state, format).filter(|_| !is_missing) {
                session.export(format, extract, identity, card, state.window);
            }
        });
        html! {
            <li>
                <button
                    type="button"
                    aria-disabled={is_missing.then_some("true")}
                    aria-describedby={about.clone()}
                    onclick={on_click}
                >
                    {label(format)}
                </button>
                <span class="hint" id={about}>{missing.unwrap_or_else(|| contents(format))}</span>
            </li>
        }
    };
    let on_session = {
        let (state, session) = (state.clone(), props.session.clone());
        Callback::from(move |_: MouseEvent| {
            if let Some(saved) = state.session_file() {
                session.save_session(saved, state.contents.name(state.shown).to_owned());
            }
        })
    };
    html! {
        <div class="exports">
            <button type="button" popovertarget="save" aria-haspopup="dialog">
                {text!("export.open")}
            </button>
            <div id="save" class="sheet" popover="auto" role="dialog" aria-labelledby="save-title">
                <h2 id="save-title" tabindex="-1" autofocus=true>{text!("export.title")}</h2>
                if let Some(error) = &state.error {
                    <p class="error">{error}</p>
                }
                for (title, formats) in groups() {
                    <h3>{title}</h3>
                    <ul>
                        for format in formats {
                            { entry(format) }
                        }
                    </ul>
                }
                <h3>{text!("export.later")}</h3>
                <ul>
                    <li>
                        <button
                            type="button"
                            disabled={state.model.is_none()}
                            aria-describedby="save-session"
                            onclick={on_session}
                        >
                            {text!("export.session")}
                        </button>
                        <span class="hint" id="save-session">{text!("export.session.what")}</span>
                    </li>
                </ul>
                <Details class="identity" summary={text!("export.identity")} on_toggle={on_list}>
                    {identity(state)}
                    if is_dicom {
                        <label>
                            <input type="checkbox" checked={keeps} onchange={on_keep} />
                            {text!("export.identity.keep")}
                        </label>
                    }
                </Details>
                <p class="hint">
                    {text!("export.what", notice = text!("notice"))}
                </p>
                <button type="button" popovertarget="save" popovertargetaction="hide">
                    {text!("export.close")}
                </button>
            </div>
        </div>
    }
}

/// The elements of the shown file that identify people.
fn identity(state: &State) -> Html {
    match &state.identifying {
        None => {
            html! { <p>{text!("export.identity.asked")}</p> }
        }
        Some(None) => {
            html! { <p>{text!("export.identity.no_dicom")}</p> }
        }
        Some(Some(elements)) if elements.is_empty() => {
            html! { <p>{text!("export.identity.none")}</p> }
        }
        Some(Some(elements)) => html! {
            <>
                <p>{text!("export.identity.some")}</p>
                <table>
                    <tbody>
                        for (name, value) in elements.iter() {
                            <tr><th scope="row">{name}</th><td>{value}</td></tr>
                        }
                    </tbody>
                </table>
            </>
        },
    }
}
