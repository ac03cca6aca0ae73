//! One line that says what is going on.

use yew::prelude::*;

use crate::predict::Stage;
use crate::web::state::{Phase, State};

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Called to stop the running slice.
    pub on_cancel: Callback<()>,
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

fn stage_text(stage: Stage) -> &'static str {
    match stage {
        Stage::Preprocess => "preparing the slice",
        Stage::Features => "computing features",
        Stage::Proposals => "choosing regions",
        Stage::Boxes => "looking at regions",
        Stage::Masks => "outlining lesions",
        Stage::Classification => "classifying the slice",
    }
}

/// How long the slices that wait will take, in words.
fn time_left(state: &State, slices: usize, at_once: usize) -> String {
    let Some(milliseconds) = state.milliseconds_per_slice() else { return String::new() };
    let seconds = milliseconds * slices as f64 / at_once.max(1) as f64 / 1e3;
    match seconds {
        ..90.0 => format!(", about {seconds:.0} s"),
        _ => format!(", about {:.0} min", seconds / 60.0),
    }
}

/// The words for a state.
fn message(state: &State) -> String {
    match &state.phase {
        Phase::Starting => "Starting…".into(),
        Phase::Loading { received, total } => {
            format!("Loading the model: {} of {}", megabytes(*received), megabytes(*total))
        }
        Phase::WarmingUp => "Checking the device…".into(),
        Phase::Opening { files: 1 } => "Opening the file…".into(),
        Phase::Opening { files } => format!("Opening {files} files…"),
        Phase::Running { waiting, at_once, .. } if *at_once > 1 => {
            let left = time_left(state, waiting + at_once, *at_once);
            format!("Working on {at_once} slices at once, {waiting} to follow{left}…")
        }
        Phase::Running { stage, waiting, .. } => {
            let stage = stage.map_or("waiting for the device", stage_text);
            match waiting {
                0 => format!("Working: {stage}…"),
                1 => format!("Working: {stage}, 1 slice to follow…"),
                waiting => {
                    let left = time_left(state, waiting + 1, 1);
                    format!("Working: {stage}, {waiting} slices to follow{left}…")
                }
            }
        }
        Phase::Broken => "Stopped.".into(),
        Phase::Idle => match (state.report(), state.cancelled) {
            (_, true) if !state.reports.is_empty() => {
                "Cancelled. What is done stays; run the other slices when you like.".into()
            }
            (_, true) => "Cancelled. Open another slice.".into(),
            (Some(report), _) => {
                let lesions = match report.lesions.len() {
                    0 => "no lesions".into(),
                    1 => "1 lesion".into(),
                    n => format!("{n} lesions"),
                };
                let milliseconds = report.milliseconds.get("total").copied().unwrap_or_default();
                format!("Done: {lesions} in {milliseconds:.0} ms.")
            }
            (None, _) => "Ready. Open a slice or try a sample.".into(),
        },
    }
}

/// Share of the work that is done, where it can be told.
fn progress(phase: &Phase) -> Option<f64> {
    match phase {
        Phase::Loading { received, total } if *total > 0.0 => Some(received / total),
        Phase::Running { stage: Some(stage), .. } => {
            let position = Stage::ALL.iter().position(|s| s == stage)?;
            Some(position as f64 / Stage::ALL.len() as f64)
        }
        _ => None,
    }
}

/// Status line, progress bar and the button that cancels.
#[component]
pub fn Status(props: &Props) -> Html {
    let running = matches!(props.state.phase, Phase::Running { .. });
    let busy = !matches!(props.state.phase, Phase::Idle | Phase::Broken);
    let on_cancel = props.on_cancel.reform(|_| ());
    html! {
        <div class="status">
            <p role="status">{message(&props.state)}</p>
            if busy {
                <progress
                    aria-label="Progress"
                    max="1"
                    value={progress(&props.state.phase).map(|value| value.to_string())}
                />
            }
            if running {
                <button type="button" class="cancel" onclick={on_cancel}>{"Cancel"}</button>
            }
        </div>
    }
}
