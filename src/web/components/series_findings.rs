//! What was found on the shown series as a whole.

use gloo::timers::callback::Timeout;
use yew::prelude::*;

use crate::report::series::SeriesReport;
use crate::web::components::JoinedLesions;
use crate::web::sentences::series_summary;
use crate::web::session::Session;
use crate::web::state::State;
use crate::web::texts::text;
use crate::web::warnings::words;

/// Milliseconds without a change after which a series is summed up.
const SETTLED_MS: u32 = 200;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to reader and workers.
    pub session: Session,
}

/// The sum of a series once all of its slices are done, its lesions through the slices, and what the user should know
/// of it.
#[component]
pub fn SeriesFindings(props: &Props) -> Html {
    let state = &props.state;
    let series_start = state.contents.series_of(state.shown).map(|(_, first)| first);
    // It counts the pixels of every mask: once a result, and not while the threshold is being moved.
    let summary = use_state(|| None::<SeriesReport>);
    {
        let (state, summary) = (state.clone(), summary.clone());
        let dependencies =
            (state.reports.clone(), state.edits.clone(), state.threshold, series_start);
        use_effect_with(dependencies, move |_| {
            let wait = Timeout::new(SETTLED_MS, move || summary.set(state.series_report()));
            move || drop(wait)
        });
    }
    let Some((series, first)) = state.contents.series_of(state.shown) else {
        return Html::default();
    };
    if summary.is_none() && series.warnings.is_empty() {
        return Html::default();
    }
    let on_slice = {
        let (session, state) = (props.session.clone(), state.clone());
        Callback::from(move |slice: usize| session.look_at(&state, first + slice))
    };
    html! {
        <section class="series-findings" aria-label={text!("series.title")}>
            <h2>{text!("series.title")}</h2>
            if let Some(summary) = summary.as_ref() {
                <p class="series-summary">{series_summary(summary)}</p>
                <JoinedLesions lesions={summary.joined_lesions.clone()} {on_slice} />
            }
            for warning in series.warnings.iter() {
                <p class="warning">{text!("warning", warning = words(warning))}</p>
            }
        </section>
    }
}
