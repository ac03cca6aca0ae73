//! One line that says what is going on.

use yew::prelude::*;

use crate::inference::Stage;
use crate::web::state::{Phase, State};
use crate::web::texts::{counted, decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Called to stop the running slice.
    pub on_cancel: Callback<()>,
    /// Called to begin no more slices.
    pub on_pause: Callback<()>,
}

fn megabytes(bytes: f64) -> String {
    format!("{} MB", decimal(bytes / 1e6, 1))
}

fn stage_text(stage: Option<Stage>) -> AttrValue {
    match stage {
        None => text!("stage.device"),
        Some(Stage::Preprocess) => text!("stage.preprocess"),
        Some(Stage::Features) => text!("stage.features"),
        Some(Stage::Proposals) => text!("stage.proposals"),
        Some(Stage::Boxes) => text!("stage.boxes"),
        Some(Stage::Masks) => text!("stage.masks"),
        Some(Stage::Classification) => text!("stage.classification"),
    }
}

/// How long the slices that are left will take, in words.
fn time_left(state: &State, slices: usize, at_once: usize) -> AttrValue {
    let Some(milliseconds) = state.milliseconds_per_slice() else { return AttrValue::default() };
    let seconds = milliseconds * slices as f64 / at_once.max(1) as f64 / 1e3;
    match seconds {
        ..90.0 => text!("status.seconds_left", seconds = format_args!("{seconds:.0}")),
        _ => text!("status.minutes_left", minutes = format_args!("{:.0}", seconds / 60.0)),
    }
}

/// The words for a state.
fn message(state: &State) -> AttrValue {
    match &state.phase {
        Phase::Starting => text!("status.starting"),
        Phase::Loading { received, total } => {
            text!("status.loading", received = megabytes(*received), total = megabytes(*total))
        }
        Phase::WarmingUp => text!("status.checking"),
        Phase::Opening { files, done } if *files > 1 => {
            text!("status.opening.at", file = done + 1, files = files)
        }
        Phase::Opening { files, .. } => counted!("status.opening", *files),
        Phase::Running { waiting, at_once, .. } if *at_once > 1 => {
            let left = time_left(state, waiting + at_once, *at_once);
            text!("status.at_once", at_once = at_once, waiting = waiting, left = left)
        }
        Phase::Running { stage, waiting: 0, .. } => {
            text!("status.working", stage = stage_text(*stage))
        }
        Phase::Running { stage, waiting, .. } => {
            let left = time_left(state, waiting + 1, 1);
            counted!("status.working.waiting", *waiting, stage = stage_text(*stage), left = left)
        }
        Phase::Broken => text!("status.broken"),
        Phase::Idle if state.paused => text!("status.paused"),
        Phase::Idle => match (state.report(), state.cancelled) {
            (_, true) if !state.reports.is_empty() => text!("status.cancelled.some"),
            (_, true) => text!("status.cancelled"),
            (Some(report), _) => {
                let milliseconds = report.milliseconds.get("total").copied().unwrap_or_default();
                let milliseconds = format!("{milliseconds:.0}");
                match report.lesions.len() {
                    _ if !report.segmented && report.refusal.is_some() => {
                        text!("status.done.refused")
                    }
                    0 => text!("status.done.none", milliseconds = milliseconds),
                    count => counted!("status.done", count, milliseconds = milliseconds),
                }
            }
            (None, _) => text!("status.ready"),
        },
    }
}

/// Share of the work that is done, where it can be told.
fn progress(phase: &Phase) -> Option<f64> {
    match phase {
        Phase::Loading { received, total } if *total > 0.0 => Some(received / total),
        Phase::Opening { files, done } if *files > 1 => Some(*done as f64 / *files as f64),
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
    let running = matches!(props.state.phase, Phase::Running { .. } | Phase::Opening { .. });
    let busy = !matches!(props.state.phase, Phase::Idle | Phase::Broken);
    let has_waiting = matches!(props.state.phase, Phase::Running { waiting: 1.., .. });
    let on_cancel = props.on_cancel.reform(|_| ());
    let on_pause = props.on_pause.reform(|_| ());
    html! {
        <div class="status">
            <p role="status">{message(&props.state)}</p>
            if busy {
                <progress
                    aria-label={text!("status.progress")}
                    max="1"
                    value={progress(&props.state.phase).map(|value| value.to_string())}
                />
            }
            if has_waiting {
                <button type="button" onclick={on_pause}>{text!("status.pause")}</button>
            }
            if running {
                <button type="button" class="cancel" onclick={on_cancel}>{text!("status.cancel")}</button>
            }
        </div>
    }
}
