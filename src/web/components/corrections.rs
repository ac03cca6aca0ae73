//! Corrections of what was found on the shown slice, and measurements on it.

use web_sys::{Element, HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::classes::{LesionKind, SliceClass};
use crate::report::ReaderClass;
use crate::report::correction::{Correction, CorrectionError, LesionId};
use crate::web::browser;
use crate::web::components::lesion_list::kind;
use crate::web::editing::{Editing, RADII, Tool};
use crate::web::sentences::{class_names, measurement};
use crate::web::session::Session;
use crate::web::state::{Action, State};
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to reader and workers.
    pub session: Session,
}

/// Why a correction was not made.
fn reason(error: CorrectionError) -> AttrValue {
    match error {
        CorrectionError::NoLesion => text!("correct.no_lesion"),
        CorrectionError::InOnePiece => text!("correct.in_one_piece"),
        CorrectionError::NothingChanged => text!("correct.nothing_changed"),
    }
}

/// Place of what was chosen in a list.
fn chosen(event: &Event) -> usize {
    let select = event.target_dyn_into::<HtmlSelectElement>();
    select.and_then(|select| usize::try_from(select.selected_index()).ok()).unwrap_or_default()
}

/// The switch, the tools, and what was rejected.
#[component]
pub fn Corrections(props: &Props) -> Html {
    let state = &props.state;
    let dispatch = |action: Action| {
        let dispatcher = state.dispatcher();
        Callback::from(move |_: MouseEvent| dispatcher.dispatch(action.clone()))
    };
    let step = |slice: Option<usize>, action: Action| {
        let (session, state) = (props.session.clone(), state.clone());
        Callback::from(move |_: MouseEvent| session.step_through_edits(&state, slice, &action))
    };
    let (undo, redo) = (state.edits.next_undo(), state.edits.next_redo());
    let measures = state.editing.is_some_and(|editing| editing.tool.measures());
    let corrects = state.editing.is_some() && !measures;
    let corrected = (!corrects).then(Editing::default);
    let measured = (!measures).then(|| Editing { tool: Tool::Ruler, ..Editing::default() });
    let measurements = state.report().map(|report| report.measurements.clone());
    let measurements = measurements.unwrap_or_default();
    let section = use_node_ref();
    let edits_before = use_mut_ref(|| state.edits.clone());
    let was_pressed = use_mut_ref(|| false);
    {
        let (section, was_pressed) = (section.clone(), was_pressed.clone());
        use_effect_with(state.edits.clone(), move |edits| {
            let before = edits_before.replace(edits.clone());
            if let Some(section) = section.cast::<Element>()
                && before != *edits
                && was_pressed.replace(false)
            {
                browser::keep_focus(&section);
            }
        });
    }
    let on_press = Callback::from(move |_: MouseEvent| {
        was_pressed.replace(true);
    });
    html! {
        <section
            ref={section}
            onclick={on_press}
            class="corrections" aria-label={text!("correct.title")}>
            <div class="tools">
                <button
                    type="button"
                    aria-pressed={corrects.to_string()}
                    onclick={dispatch(Action::Edit(corrected))}
                >{text!("correct.title")}</button>
                <button
                    type="button"
                    aria-pressed={measures.to_string()}
                    onclick={dispatch(Action::Edit(measured))}
                >{text!("measure.title")}</button>
                if undo.is_some() || redo.is_some() {
                    <button type="button" disabled={undo.is_none()} onclick={step(undo, Action::Undo)}>
                        {text!("correct.undo")}
                    </button>
                    <button type="button" disabled={redo.is_none()} onclick={step(redo, Action::Redo)}>
                        {text!("correct.redo")}
                    </button>
                }
            </div>
            if let Some(editing) = state.editing {
                if measures {
                    { measuring_tools(state, editing) }
                } else {
                    { tools(state, editing) }
                    { chosen_lesion(state) }
                    { class(state) }
                }
            }
            if let Some(error) = state.correction_error {
                <p class="error" role="alert">{reason(error)}</p>
            }
            if !measurements.is_empty() {
                <h3 id="measurements-title">{text!("measure.measurements")}</h3>
                <ul aria-labelledby="measurements-title">
                    for (index, measured) in measurements.iter().enumerate() {
                        <li>
                            {index + 1}{". "}{measurement(measured)}{" "}
                            <button
                                type="button"
                                aria-label={text!("measure.remove.which", number = index + 1)}
                                onclick={dispatch(Action::Correct(Correction::Unmeasure(index)))}
                            >{text!("measure.remove")}</button>
                        </li>
                    }
                </ul>
            }
            if !state.rejected.is_empty() {
                <h3 id="rejected-title">{text!("correct.rejected")}</h3>
                <ul aria-labelledby="rejected-title">
                    for (id, lesion) in state.rejected.iter() {
                        <li>
                            {text!("correct.rejected.item", kind = kind(lesion.label), area = lesion.area_px)}
                            <button
                                type="button"
                                onclick={dispatch(Action::Correct(Correction::Restore(*id)))}
                            >{text!("correct.restore")}</button>
                        </li>
                    }
                </ul>
            }
        </section>
    }
}

/// Called to work in another way.
fn edit(state: &UseReducerHandle<State>, change: Editing) -> Callback<MouseEvent> {
    let dispatcher = state.dispatcher();
    Callback::from(move |_: MouseEvent| dispatcher.dispatch(Action::Edit(Some(change))))
}

/// A button that takes a tool.
fn tool_button(
    state: &UseReducerHandle<State>,
    editing: Editing,
    (tool, name): (Tool, AttrValue),
    is_possible: bool,
) -> Html {
    let is_chosen = editing.tool == tool;
    html! {
        <button
            type="button"
            disabled={!is_possible}
            aria-pressed={is_chosen.to_string()}
            onclick={edit(state, Editing { tool, ..editing })}
        >{name}</button>
    }
}

/// Ruler and ellipse.
fn measuring_tools(state: &UseReducerHandle<State>, editing: Editing) -> Html {
    let tools = [(Tool::Ruler, text!("measure.ruler")), (Tool::Ellipse, text!("measure.ellipse"))];
    html! {
        <>
            <div class="tools" role="group" aria-label={text!("measure.tools")}>
                for tool in tools {
                    { tool_button(state, editing, tool, true) }
                }
            </div>
            <p class="hint">{text!("measure.keys")}</p>
        </>
    }
}

/// Brush, eraser, and their size.
fn tools(state: &UseReducerHandle<State>, editing: Editing) -> Html {
    let tool = |tool: Tool, name: AttrValue, is_possible: bool| {
        tool_button(state, editing, (tool, name), is_possible)
    };
    // As the model tells lesions apart, or does not.
    let report = state.report();
    let first = report.as_ref().and_then(|report| report.lesions.first());
    let new = first.map_or(LesionKind::Lesion, |lesion| lesion.label);
    let on_radius = {
        let dispatcher = state.dispatcher();
        Callback::from(move |event: InputEvent| {
            let input = event.target_dyn_into::<HtmlInputElement>();
            let radius = input.map_or(editing.radius, |input| input.value_as_number());
            dispatcher.dispatch(Action::Edit(Some(editing.with_radius(radius))));
        })
    };
    html! {
        <>
            <div class="tools" role="group" aria-label={text!("correct.tools")}>
                { tool(Tool::Look, text!("correct.look"), true) }
                { tool(Tool::Brush, text!("correct.brush"), true) }
                { tool(Tool::Eraser, text!("correct.eraser"), editing.lesion.is_some()) }
                <button
                    type="button"
                    onclick={edit(state, Editing { tool: Tool::Brush, lesion: None, kind: new, ..editing })}
                >{text!("correct.new")}</button>
            </div>
            if editing.tool != Tool::Look {
                <label class="slider">
                    {text!("correct.radius")}
                    <input
                        type="range"
                        min={RADII[0].to_string()}
                        max={RADII[1].to_string()}
                        step="0.5"
                        value={editing.radius.to_string()}
                        oninput={on_radius}
                    />
                    <output>{text!("correct.pixels", pixels = decimal(editing.radius, 1))}</output>
                </label>
                <p class="hint">{text!("correct.keys")}</p>
            }
        </>
    }
}

/// What can be done with the chosen lesion.
fn chosen_lesion(state: &UseReducerHandle<State>) -> Html {
    let report = state.report();
    let shown = state.chosen_lesion().zip(report.as_ref());
    let Some((place, report)) = shown else {
        return html! { <p class="hint">{text!("correct.choose")}</p> };
    };
    let (Some(lesion), Some(id)) =
        (report.lesions.get(place), state.lesion_ids.get(place).copied())
    else {
        return Html::default();
    };
    let correct = |correction: Correction| {
        let dispatcher = state.dispatcher();
        Callback::from(move |_: MouseEvent| {
            dispatcher.dispatch(Action::Correct(correction.clone()));
        })
    };
    let on_kind = {
        let dispatcher = state.dispatcher();
        Callback::from(move |event: Event| {
            let kind = LesionKind::ALL.get(chosen(&event)).copied().unwrap_or(LesionKind::Lesion);
            dispatcher.dispatch(Action::Correct(Correction::Relabel(id, kind)));
        })
    };
    let others: Vec<(usize, LesionId)> =
        state.lesion_ids.iter().copied().enumerate().filter(|(_, other)| *other != id).collect();
    let on_join = {
        let dispatcher = state.dispatcher();
        Callback::from(move |other| {
            dispatcher.dispatch(Action::Correct(Correction::Join(id, other)));
        })
    };
    html! {
        <div class="chosen" role="group" aria-label={text!("correct.chosen", number = place + 1)}>
            <label>
                {text!("correct.kind", number = place + 1)}
                // The property: what was chosen by hand no longer heeds the options' attributes.
                <select onchange={on_kind} ~value={lesion.label.key()}>
                    for label in LesionKind::ALL {
                        <option value={label.key()} selected={label == lesion.label}>
                            {kind(label)}
                        </option>
                    }
                </select>
            </label>
            if !others.is_empty() {
                <Join {others} {on_join} />
            }
            <button type="button" onclick={correct(Correction::Reject(id))}>
                {text!("correct.reject")}
            </button>
            <button type="button" onclick={correct(Correction::Split(id))}>
                {text!("correct.split")}
            </button>
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct JoinProps {
    /// Lesions to join with, by their place in the list.
    others: Vec<(usize, LesionId)>,
    /// Called with one of them.
    on_join: Callback<LesionId>,
}

/// A lesion to join with. A button of its own: keys that walk through a list would join with all that they pass.
#[component]
fn Join(props: &JoinProps) -> Html {
    let list = use_node_ref();
    let on_click = {
        let (list, others, on_join) = (list.clone(), props.others.clone(), props.on_join.clone());
        Callback::from(move |_: MouseEvent| {
            let index = list.cast::<HtmlSelectElement>().map(|list| list.selected_index());
            let other = index.and_then(|index| others.get(usize::try_from(index).ok()?));
            if let Some((_, other)) = other {
                on_join.emit(*other);
            }
        })
    };
    html! {
        <span class="join">
            <label>
                {text!("correct.join.with")}
                <select ref={list}>
                    for (other, _) in &props.others {
                        <option>{text!("correct.chosen", number = other + 1)}</option>
                    }
                </select>
            </label>
            <button type="button" onclick={on_click}>{text!("correct.join")}</button>
        </span>
    }
}

/// The class that the reader gives the slice, and why.
fn class(state: &UseReducerHandle<State>) -> Html {
    let given = state.edits.of(state.shown).and_then(|made| made.class()).cloned();
    let given_key = given.as_ref().map_or("", |given| given.class.key());
    let correct = |class: Option<ReaderClass>| Action::Correct(Correction::Class(class));
    let on_class = {
        let (dispatcher, given) = (state.dispatcher(), given.clone());
        Callback::from(move |event: Event| {
            let class = chosen(&event).checked_sub(1).and_then(SliceClass::from_index);
            let note = given.as_ref().map(|given| given.note.clone()).unwrap_or_default();
            dispatcher.dispatch(correct(class.map(|class| ReaderClass { class, note })));
        })
    };
    let on_note = {
        let (dispatcher, given) = (state.dispatcher(), given.clone());
        Callback::from(move |event: Event| {
            let input = event.target_dyn_into::<HtmlInputElement>();
            if let (Some(input), Some(given)) = (input, &given) {
                let note = input.value();
                dispatcher.dispatch(correct(Some(ReaderClass { note, ..given.clone() })));
            }
        })
    };
    html! {
        <div class="chosen">
            <label>
                {text!("correct.class")}
                <select onchange={on_class} ~value={given_key}>
                    <option value="" selected={given.is_none()}>{text!("correct.class.model")}</option>
                    for (class, name) in SliceClass::ALL.into_iter().zip(class_names()) {
                        <option
                            value={class.key()}
                            selected={given.as_ref().is_some_and(|given| given.class == class)}
                        >
                            {name}
                        </option>
                    }
                </select>
            </label>
            if let Some(given) = &given {
                <label>
                    {text!("correct.note")}
                    <input type="text" value={given.note.clone()} onchange={on_note} />
                </label>
            }
        </div>
    }
}
