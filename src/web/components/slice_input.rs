//! Ways to bring a slice: choose, drop, or take a sample.

use std::cell::Cell;
use std::fmt;

use gloo::events::{EventListener, EventListenerOptions};
use js_sys::Reflect;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{File, FileList, HtmlInputElement};
use yew::prelude::*;

use crate::web::browser;
use crate::web::dropped_files::{self, DroppedError};
use crate::web::fetch::{self, FetchError};
use crate::web::texts::text;

/// Phantoms that come with the site.
fn samples() -> [(AttrValue, &'static str); 3] {
    [
        (text!("input.sample.covid19"), "samples/phantom-covid19.png"),
        (text!("input.sample.pneumonia"), "samples/phantom-pneumonia.png"),
        (text!("input.sample.control"), "samples/phantom-control.png"),
    ]
}

/// Why what was chosen is not there.
#[derive(Debug)]
pub enum InputError {
    /// Of what was dropped.
    Dropped(DroppedError),
    /// A sample could not be downloaded.
    Sample(FetchError),
    /// The browser makes no file of a sample.
    File(String),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped(error) => f.write_str(&text!("input.folder_not_read", error = error)),
            Self::Sample(error) => error.fmt(f),
            Self::File(reason) => f.write_str(reason),
        }
    }
}

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Called with files and their names, or with what went wrong.
    pub on_files: Callback<Result<Vec<(String, File)>, InputError>>,
}

thread_local! {
    /// Number of the latest choice. Not the component's own: that begins anew in another language.
    static LATEST: Cell<u32> = const { Cell::new(0) };
}

/// Something is chosen: what was chosen before and comes later is not wanted any more. Gives its number.
fn choose() -> u32 {
    LATEST.set(LATEST.get() + 1);
    LATEST.get()
}

/// The files of a list, by their path within a chosen folder where there is one.
fn all(files: Option<FileList>) -> Vec<(String, File)> {
    let files = files.into_iter().flat_map(|files| {
        (0..files.length()).filter_map(move |index| files.get(index)).collect::<Vec<_>>()
    });
    let path = |file: &File| {
        let path = Reflect::get(file, &"webkitRelativePath".into()).ok()?.as_string()?;
        (!path.is_empty()).then_some(path)
    };
    files.map(|file| (path(&file).unwrap_or_else(|| file.name()), file)).collect()
}

/// The chooser.
#[component]
pub fn SliceInput(props: &Props) -> Html {
    let over = use_state(|| false);
    let is_over = *over;
    let take = {
        let on_files = props.on_files.clone();
        Callback::from(move |files: Vec<(String, File)>| {
            if !files.is_empty() {
                choose();
                on_files.emit(Ok(files));
            }
        })
    };
    let on_change = {
        let take = take.clone();
        Callback::from(move |event: web_sys::Event| {
            let input = event.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
            if let Some(input) = input {
                take.emit(all(input.files()));
                // So that the same files can be chosen again.
                input.set_value("");
            }
        })
    };
    let on_drop = {
        let (over, on_files) = (over.clone(), props.on_files.clone());
        let take = take.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(false);
            let Some(data) = event.data_transfer() else { return };
            // Entries are only there while the event is handled.
            let (entries, files) = (dropped_files::entries(&data), all(data.files()));
            let (take, on_files) = (take.clone(), on_files.clone());
            let own = choose();
            spawn_local(async move {
                let found = dropped_files::files(entries).await;
                if LATEST.get() != own {
                    return;
                }
                match found {
                    Ok(found) if !found.is_empty() => take.emit(found),
                    Ok(_) => take.emit(files),
                    Err(error) => on_files.emit(Err(InputError::Dropped(error))),
                }
            });
        })
    };
    // Wherever on the page it is: what the browser gets it opens, or saves.
    use_effect_with((), move |()| {
        let listen = |name: &'static str, on_drag: Callback<DragEvent>| {
            let options = EventListenerOptions::enable_prevent_default();
            web_sys::window().map(|window| {
                EventListener::new_with_options(&window, name, options, move |event| {
                    if let Some(event) = event.dyn_ref::<DragEvent>() {
                        on_drag.emit(event.clone());
                    }
                })
            })
        };
        let on_over = {
            let over = over.clone();
            Callback::from(move |event: DragEvent| {
                event.prevent_default();
                over.set(true);
            })
        };
        // Not from one element of the page to another.
        let on_leave = Callback::from(move |event: DragEvent| {
            if event.related_target().is_none() {
                over.set(false);
            }
        });
        let listeners =
            [listen("dragover", on_over), listen("dragleave", on_leave), listen("drop", on_drop)];
        move || drop(listeners)
    });
    let sample = |url: &'static str| {
        let on_files = props.on_files.clone();
        Callback::from(move |_: MouseEvent| {
            let (on_files, own) = (on_files.clone(), choose());
            spawn_local(async move {
                let name = url.rsplit('/').next().unwrap_or(url).to_owned();
                let file = fetch::bytes(url).await.map_err(InputError::Sample).and_then(|bytes| {
                    let not_made = |error| InputError::File(browser::describe(&error));
                    browser::file(&name, &bytes).map_err(not_made)
                });
                if LATEST.get() == own {
                    on_files.emit(file.map(|file| vec![(name, file)]));
                }
            });
        })
    };
    html! {
        <section
            class={classes!("slice-input", is_over.then_some("over"))}
            aria-label={text!("input.label")}
        >
            <div class="choose">
                <label for="slice-file">{text!("input.files")}</label>
                <input
                    id="slice-file"
                    type="file"
                    multiple=true
                    accept=".bpk,.png,.jpg,.jpeg,.dcm,.dicom,.ima,.nii,.gz,.zip,image/png,image/jpeg,application/dicom,application/zip"
                    onchange={on_change.clone()}
                />
                <label for="slice-folder">{text!("input.folder")}</label>
                <input id="slice-folder" type="file" webkitdirectory=true onchange={on_change} />
            </div>
            <ol class="steps">
                for step in [text!("input.step.open"), text!("input.step.run"), text!("input.step.see")] {
                    <li>{step}</li>
                }
            </ol>
            <div class="samples" role="group" aria-label={text!("input.samples")}>
                for (name, url) in samples() {
                    <button type="button" onclick={sample(url)}>{name}</button>
                }
            </div>
        </section>
    }
}
