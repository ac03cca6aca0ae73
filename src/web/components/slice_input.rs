//! Ways to bring a slice: choose, drop, or take a sample.

use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{File, FileList, HtmlInputElement};
use yew::prelude::*;

use crate::web::session::{fetch_bytes, read_file};

/// Phantoms that come with the site.
const SAMPLES: [(&str, &str); 3] = [
    ("COVID-19 phantom", "samples/phantom-covid19.png"),
    ("Pneumonia phantom", "samples/phantom-pneumonia.png"),
    ("Healthy phantom", "samples/phantom-control.png"),
];

/// Where slices go.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Called with name and contents of a file, or with what went wrong.
    pub on_slice: Callback<Result<(String, Vec<u8>), String>>,
}

fn first(files: Option<FileList>) -> Option<File> {
    files.and_then(|files| files.get(0))
}

/// The chooser.
#[component]
pub fn SliceInput(props: &Props) -> Html {
    let over = use_state(|| false);
    let take = {
        let on_slice = props.on_slice.clone();
        Callback::from(move |file: File| {
            let on_slice = on_slice.clone();
            spawn_local(async move {
                on_slice.emit(read_file(&file).await.map(|bytes| (file.name(), bytes)));
            });
        })
    };
    let on_change = {
        let take = take.clone();
        Callback::from(move |event: web_sys::Event| {
            let input = event.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
            if let Some(input) = input {
                if let Some(file) = first(input.files()) {
                    take.emit(file);
                }
                // So that the same file can be chosen again.
                input.set_value("");
            }
        })
    };
    let on_drop = {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(false);
            if let Some(file) = event.data_transfer().and_then(|data| first(data.files())) {
                take.emit(file);
            }
        })
    };
    let hover = |value: bool| {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(value);
        })
    };
    let sample = |url: &'static str| {
        let on_slice = props.on_slice.clone();
        Callback::from(move |_: MouseEvent| {
            let on_slice = on_slice.clone();
            spawn_local(async move {
                let name = url.rsplit('/').next().unwrap_or(url).to_owned();
                on_slice.emit(fetch_bytes(url).await.map(|bytes| (name, bytes)));
            });
        })
    };
    html! {
        <section
            class={classes!("slice-input", (*over).then_some("over"))}
            aria-label="Open a slice"
            ondrop={on_drop}
            ondragover={hover(true)}
            ondragleave={hover(false)}
        >
            <div class="choose">
                <label for="slice-file">{"Open a slice (PNG, JPEG or DICOM)"}</label>
                <input
                    id="slice-file"
                    type="file"
                    accept=".png,.jpg,.jpeg,.dcm,.dicom,.ima,image/png,image/jpeg,application/dicom"
                    onchange={on_change}
                />
                <p class="hint">{"or drop it here"}</p>
            </div>
            <div class="samples" role="group" aria-label="Samples">
                for (name, url) in SAMPLES {
                    <button type="button" onclick={sample(url)}>{name}</button>
                }
            </div>
        </section>
    }
}
