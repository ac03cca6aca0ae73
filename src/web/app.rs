//! The page as a whole.

use std::rc::Rc;

use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

use crate::image::Window;
use crate::web::browser;
use crate::web::components::{
    About, Bench, Corrections, Exports, FileHeader, Footer, InputError, LesionList, Lungs,
    Probabilities, Problems, Regions, Sections, SeriesFindings, SeriesPanel, SliceCanvas,
    SliceInput, Status,
};
use crate::web::editing::Editing;
use crate::web::edits::Edits;
use crate::web::session::Session;
use crate::web::state::{Action, Display, State, Step};
use crate::web::texts::{self, text};
use crate::web::warnings::words;

/// Draws the page.
pub fn run() {
    console_error_panic_hook::set_once();
    if console_log::init_with_level(log::Level::Warn).is_err() {
        web_sys::console::warn_1(&"a logger was installed already".into());
    }
    spawn_local(async {
        let options = browser::page_options();
        browser::set_theme(options.theme);
        texts::set_language(texts::preferred(options.language.as_deref())).await;
        yew::Renderer::<App>::new().render();
    });
}

/// Whether a file holds weights.
fn is_model(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".bpk")
}

/// The page.
#[component]
fn App() -> Html {
    let options = use_memo((), |()| browser::page_options());
    let state = use_reducer(|| {
        let mut state = State::default();
        state.threshold = options.threshold.unwrap_or(state.threshold);
        state
    });
    let session = {
        let dispatch = state.dispatcher();
        use_memo((), |()| Session::start((*options).clone(), dispatch))
    };
    let edits = use_mut_ref(Rc::<Edits>::default);
    edits.replace(state.edits.clone());
    let shown = use_mut_ref(|| None);
    shown.replace((state.contents.slices() > 0).then_some(state.shown));
    let on_files = {
        let (session, dispatch) = (session.clone(), state.dispatcher());
        // As they are when files come, which may be long after they were asked for.
        let (edits, shown) = (edits.clone(), shown.clone());
        Callback::from(move |files: Result<Vec<(String, File)>, InputError>| match files {
            Ok(_) if !browser::may_discard(&edits.borrow()) => (),
            Ok(mut files) if files.iter().all(|(name, _)| is_model(name)) => {
                match (files.pop(), files.is_empty()) {
                    (Some((name, model)), true) => {
                        session.use_own_model(*shown.borrow(), name, model);
                    }
                    _ => {
                        let message = text!("session.one_model").to_string();
                        dispatch.dispatch(Action::Failed(message));
                    }
                }
            }
            Ok(files) => session.open(files),
            Err(error) => dispatch.dispatch(Action::Failed(error.to_string())),
        })
    };
    let on_cancel = {
        let session = session.clone();
        Callback::from(move |()| session.cancel())
    };
    let on_pause = {
        let session = session.clone();
        Callback::from(move |()| session.pause())
    };
    let on_highlight = {
        let dispatch = state.dispatcher();
        Callback::from(move |lesion| dispatch.dispatch(Action::Highlight(lesion)))
    };
    let on_display = {
        let dispatch = state.dispatcher();
        Callback::from(move |display| dispatch.dispatch(Action::Display(display)))
    };
    let on_step = {
        let (session, state) = (session.clone(), state.clone());
        Callback::from(move |step| {
            if let Some(slice) = state.step(step).filter(|slice| *slice != state.shown) {
                session.look_at(&state, slice);
            }
        })
    };
    let on_force = {
        let (session, shown) = (session.clone(), state.shown);
        Callback::from(move |()| session.force(shown))
    };
    let on_key = {
        let session = session.clone();
        Callback::from(move |event: KeyboardEvent| {
            // In a field it belongs to the field.
            let is_in_field = event.target_dyn_into::<HtmlInputElement>().is_some();
            // On an open sheet it closes the sheet.
            if event.key() == "Escape" && !is_in_field && !browser::has_open_sheet() {
                session.cancel();
            }
        })
    };
    use_undo_keys(&state, &session);
    // Corrections are lost with the page: the browser asks first.
    use_effect_with(state.edits.is_empty(), |is_empty| {
        let listener = if *is_empty { None } else { browser::ask_before_leaving() };
        move || drop(listener)
    });
    let on_window = {
        let (session, shown) = (session.clone(), state.shown);
        Callback::from(move |window| session.show(shown, window))
    };
    let on_threshold = {
        let dispatch = state.dispatcher();
        Callback::from(move |threshold| dispatch.dispatch(Action::Threshold(threshold)))
    };
    let theme = use_state(|| options.theme);
    let on_language = {
        let dispatch = state.dispatcher();
        Callback::from(move |language| dispatch.dispatch(Action::Language(language)))
    };
    html! {
        // Keyed by the language, so that every word of the page is said anew in another.
        <div class={classes!("page", state.picture.is_some().then_some("open"))} key={state.language}>
            if options.embed {
                <h1 class="unseen">{"groundglass"}</h1>
            } else {
                <header>
                    <h1>{"groundglass"}</h1>
                    <p>{text!("app.subtitle")}</p>
                </header>
            }
            <aside class="notice" aria-label={text!("app.notice")}>
                <strong>{text!("app.notice.research")}</strong>
                {text!("app.notice.stays")}
            </aside>
            <main onkeydown={on_key}>
                <SliceInput {on_files} />
                <div class="messages">
                <Status state={state.clone()} {on_cancel} {on_pause} />
                if let Some(error) = &state.error {
                    <p class="error" role="alert">{error}</p>
                }
                if state.problems.len() > 1 {
                    <Problems problems={state.problems.clone()} />
                }
                if let Some(notice) = &state.notice {
                    <p class="session-notice">{notice}</p>
                }
                if session.options().bench {
                    <Bench state={state.clone()} session={(*session).clone()} />
                }
                </div>
                { viewer(&state, &session, on_display, on_window, on_step) }
                if state.contents.slices() > 1 {
                    <SeriesPanel state={state.clone()} session={(*session).clone()} />
                }
                <div class="panel">
                    if !state.reports.is_empty() {
                        <Exports state={state.clone()} session={(*session).clone()} />
                    }
                    if state.contents.slices() > 1 {
                        <SeriesFindings state={state.clone()} session={(*session).clone()} />
                    }
                    { findings(&state, &session, on_highlight, on_threshold, on_force) }
                    if state.picture.is_some() {
                        <FileHeader
                            header={state.header.clone()}
                            series={state.contents.series_of(state.shown).map(|(_, first)| first)}
                            session={(*session).clone()}
                        />
                    }
                    if !options.embed {
                        <About state={state.clone()} />
                    }
                    <Footer
                        state={state.clone()}
                        session={(*session).clone()}
                        {theme}
                        {on_language}
                    />
                </div>
            </main>
        </div>
    }
}

/// Control+Z and Control+Y take corrections back and make them again, wherever the focus is but in a field of text.
#[hook]
fn use_undo_keys(state: &UseReducerHandle<State>, session: &Rc<Session>) {
    let (state, session) = (state.clone(), session.clone());
    use_effect(move || {
        let on_key = move |event: &Event| {
            let Some(event) = event.dyn_ref::<KeyboardEvent>() else { return };
            let field = event.target_dyn_into::<HtmlInputElement>();
            let is_text = field.is_some_and(|field| ["text", "search"].contains(&&*field.type_()));
            if is_text || !(event.ctrl_key() || event.meta_key()) {
                return;
            }
            let edits = &state.edits;
            let (slice, action) = match (event.key().to_lowercase().as_str(), event.shift_key()) {
                ("z", false) => (edits.next_undo(), Action::Undo),
                ("z", true) | ("y", false) => (edits.next_redo(), Action::Redo),
                _ => return,
            };
            event.prevent_default();
            session.step_through_edits(&state, slice, &action);
        };
        let listener = web_sys::window().map(|window| {
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&window, "keydown", options, on_key)
        });
        move || drop(listener)
    });
}

/// The shown slice.
fn viewer(
    state: &UseReducerHandle<State>,
    session: &Session,
    on_display: Callback<Display>,
    on_window: Callback<Option<Window>>,
    on_step: Callback<Step>,
) -> Html {
    let Some(picture) = state.picture.clone() else { return Html::default() };
    let report = state.report().filter(|_| picture.slice == state.shown);
    let on_editing = {
        let dispatch = state.dispatcher();
        Callback::from(move |editing| dispatch.dispatch(Action::Edit(Some(editing))))
    };
    let on_correct = {
        let dispatch = state.dispatcher();
        Callback::from(move |correction| dispatch.dispatch(Action::Correct(correction)))
    };
    let on_cross = {
        let session = session.clone();
        Callback::from(move |at| session.reslice(Some(at)))
    };
    html! {
        <SliceCanvas
            {picture}
            {report}
            scores={state.scores.get(&state.shown).cloned()}
            highlighted={state.highlighted.or(state.chosen_lesion())}
            display={state.display}
            editing={state.editing}
            {on_editing}
            {on_correct}
            {on_display}
            window={state.window}
            {on_window}
            {on_step}
            cross={state.cross()}
            {on_cross}
        >
            if state.reslice.is_some() {
                <Sections state={state.clone()} session={session.clone()} />
            }
        </SliceCanvas>
    }
}

/// What was found on it.
fn findings(
    state: &UseReducerHandle<State>,
    session: &Session,
    on_highlight: Callback<Option<usize>>,
    on_threshold: Callback<f32>,
    on_force: Callback<()>,
) -> Html {
    let is_shown = state.picture.as_ref().is_some_and(|picture| picture.slice == state.shown);
    let Some(report) = state.report().filter(|_| is_shown) else { return Html::default() };
    let model = state.model.as_ref();
    let on_choose = state.editing.map(|editing| {
        let (dispatch, ids) = (state.dispatcher(), state.lesion_ids.clone());
        let report = report.clone();
        Callback::from(move |index: usize| {
            let lesion = ids.get(index).copied();
            let kind = report.lesions.get(index).map_or(editing.kind, |lesion| lesion.label);
            dispatch.dispatch(Action::Edit(Some(Editing { lesion, kind, ..editing })));
        })
    });
    html! {
        <div class="findings">
            if report.classes.is_some() || report.refusal.is_some() {
                <Probabilities
                    report={Rc::clone(&report)}
                    {on_force}
                    calibration={model.and_then(|model| model.models.calibration.clone())}
                />
            }
            <LesionList
                report={Rc::clone(&report)}
                threshold={state.threshold}
                highlighted={state.highlighted}
                {on_highlight}
                {on_threshold}
                chosen={state.chosen_lesion()}
                {on_choose}
            />
            <Corrections state={state.clone()} session={session.clone()} />
            if let Some(lungs) = &report.lungs {
                <Lungs lungs={lungs.clone()} />
            }
            if !report.regions.is_empty() {
                <Regions
                    report={Rc::clone(&report)}
                    reference={model.and_then(|model| model.regions.clone())}
                />
            }
            for warning in report.warning_codes.iter() {
                <p class="warning">{text!("warning", warning = words(warning))}</p>
            }
        </div>
    }
}

impl Reducible for State {
    type Action = Action;

    fn reduce(self: Rc<Self>, action: Action) -> Rc<Self> {
        let mut state = (*self).clone();
        state.apply(action);
        Rc::new(state)
    }
}
