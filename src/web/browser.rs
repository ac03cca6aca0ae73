//! What the browser tells: address, graphics adapter, downloads. Works in pages and workers.

use gloo::events::{EventListener, EventListenerOptions};
use gloo::timers::callback::Timeout;
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, BlobPropertyBag, Element, File, FocusOptions, HtmlAnchorElement, HtmlElement, Url,
    UrlSearchParams,
};

use crate::web::edits::Edits;
use crate::web::messages::worker::Download;
use crate::web::options::{PageOptions, Theme};
use crate::web::texts::text;

/// Time that a graphics driver has to say whether it is there.
const ADAPTER_TIMEOUT_MS: u32 = 10_000;
/// The attribute by which the style sheet knows the chosen colours.
const THEME: &str = "data-theme";
/// Time that a browser has to take a file that is saved.
const SAVE_TIMEOUT_MS: u32 = 60_000;

/// The text of a JavaScript error.
pub fn describe(error: &JsValue) -> String {
    Reflect::get(error, &"message".into())
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| error.as_string())
        .unwrap_or_else(|| format!("{error:?}"))
}

/// Whether a sheet lies over the page.
pub fn has_open_sheet() -> bool {
    let document = web_sys::window().and_then(|window| window.document());
    // A browser that does not know sheets does not know the selector.
    document
        .is_some_and(|page| page.query_selector(":popover-open").is_ok_and(|open| open.is_some()))
}

/// What computes behind the browser's WebGPU adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// There is none.
    Missing,
    /// A graphics card emulated on the CPU, which our own CPU worker beats by far.
    Software,
    /// A graphics card.
    Hardware,
}

/// Names of software adapters, in lower case.
const SOFTWARE: [&str; 3] = ["swiftshader", "llvmpipe", "basic render"];

/// The WebGPU adapter that the browser offers here.
///
/// web-sys keeps WebGPU behind a compiler flag, so it is asked by name.
pub async fn gpu_adapter() -> Adapter {
    async fn adapter() -> Result<JsValue, JsValue> {
        let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
        let gpu = Reflect::get(&navigator, &"gpu".into())?;
        if gpu.is_falsy() {
            return Ok(JsValue::NULL);
        }
        let request: Function = Reflect::get(&gpu, &"requestAdapter".into())?.dyn_into()?;
        let promise: Promise = request.call0(&gpu)?.dyn_into()?;
        // A driver that hangs must not keep the page from the CPU.
        let late = Promise::new(&mut |resolve, _| {
            Timeout::new(ADAPTER_TIMEOUT_MS, move || drop(resolve.call0(&JsValue::NULL))).forget();
        });
        JsFuture::from(Promise::race(&Array::of2(&promise, &late))).await
    }
    let Ok(adapter) = adapter().await else { return Adapter::Missing };
    if adapter.is_falsy() {
        return Adapter::Missing;
    }
    let of = |from: &JsValue, key: &str| Reflect::get(from, &key.into()).unwrap_or_default();
    let info = of(&adapter, "info");
    let named = ["vendor", "architecture", "device", "description"].iter().any(|key| {
        let name = of(&info, key).as_string().unwrap_or_default().to_ascii_lowercase();
        SOFTWARE.iter().any(|software| name.contains(software))
    });
    let is_fallback = |from: &JsValue| of(from, "isFallbackAdapter").is_truthy();
    match named || is_fallback(&info) || is_fallback(&adapter) {
        true => Adapter::Software,
        false => Adapter::Hardware,
    }
}

/// A module that multiplies and adds vectors by one instruction of "relaxed SIMD".
const FUSED_MULTIPLY_ADD: [u8; 40] = [
    // Magic number and version; one type, without parameters, of a vector; one function of it.
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0,
    // Its code: i32.const 0, i32x4.splat, three times; f32x4.relaxed_madd; end.
    10, 19, 1, 17, 0, 0x41, 0, 0xfd, 0x11, 0x41, 0, 0xfd, 0x11, 0x41, 0, 0xfd, 0x11, 0xfd, 0x85, 2,
    0x0b,
];

/// Whether the browser knows "relaxed SIMD" (Chrome 114, Firefox 145; not Safari 26).
pub fn fuses_multiply_add() -> bool {
    let module = js_sys::Uint8Array::from(&FUSED_MULTIPLY_ADD[..]);
    js_sys::WebAssembly::validate(&module).unwrap_or(false)
}

/// Milliseconds since the page's address was followed; not a number where the browser does not tell.
pub fn now() -> f64 {
    fn clock() -> Result<f64, JsValue> {
        let performance = Reflect::get(&js_sys::global(), &"performance".into())?;
        let now: Function = Reflect::get(&performance, &"now".into())?.dyn_into()?;
        Ok(now.call0(&performance)?.as_f64().unwrap_or(f64::NAN))
    }
    clock().unwrap_or(f64::NAN)
}

/// What this page or worker has downloaded.
pub fn downloads() -> Vec<Download> {
    fn entries() -> Result<Array, JsValue> {
        let performance = Reflect::get(&js_sys::global(), &"performance".into())?;
        let list: Function = Reflect::get(&performance, &"getEntriesByType".into())?.dyn_into()?;
        list.call1(&performance, &"resource".into())?.dyn_into()
    }
    let number = |entry: &JsValue, key: &str| {
        Reflect::get(entry, &key.into()).ok().and_then(|value| value.as_f64()).unwrap_or_default()
    };
    let text = |entry: &JsValue, key: &str| {
        Reflect::get(entry, &key.into()).ok().and_then(|v| v.as_string()).unwrap_or_default()
    };
    let Ok(entries) = entries() else { return Vec::new() };
    entries
        .iter()
        .map(|entry| Download {
            name: text(&entry, "name").rsplit('/').next().unwrap_or_default().to_owned(),
            decoded_bytes: number(&entry, "decodedBodySize"),
            transferred_bytes: number(&entry, "transferSize"),
        })
        .filter(|download| download.decoded_bytes > 0.0)
        .collect()
}

/// A file made of `bytes`, like one that the user chose.
///
/// # Errors
/// If the browser makes no file.
pub fn file(name: &str, bytes: &[u8]) -> Result<File, JsValue> {
    File::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(bytes)), name)
}

/// Lets the user save a file.
///
/// # Errors
/// If the browser allows no download.
pub fn save(name: &str, media_type: &str, bytes: &[u8]) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = Array::of1(&Uint8Array::from(bytes));
    let blob = Blob::new_with_u8_array_sequence_and_options(&parts, &options)?;
    let url = Url::create_object_url_with_blob(&blob)?;
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no document")?;
    let link: HtmlAnchorElement = document.create_element("a")?.dyn_into()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // Some browsers take the bytes only after the click has returned.
    Timeout::new(SAVE_TIMEOUT_MS, move || drop(Url::revoke_object_url(&url))).forget();
    Ok(())
}

/// An address of this site in full, as a worker that has none of its own needs it.
///
/// # Errors
/// If it is no address.
pub fn absolute(path: &str) -> Result<String, JsValue> {
    let document = web_sys::window().and_then(|window| window.document());
    let base = document.and_then(|document| document.base_uri().ok().flatten()).unwrap_or_default();
    Ok(Url::new_with_base(path, &base)?.href())
}

/// Address of a program of this version: beside the script that started the page.
pub fn program(file: &str) -> String {
    let script = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.query_selector("script[type=module]").ok().flatten())
        .and_then(|script| script.get_attribute("src"))
        .unwrap_or_default();
    let folder = script.rsplit_once('/').map_or(".", |(folder, _)| folder);
    format!("{folder}/{file}")
}

/// Has the service worker keep the files of a device and the list of models, so that the next visit needs
/// no network. Without a service worker nothing happens.
pub fn precache(programs: &[&str], model: &str) {
    let mut files: Vec<String> = programs.iter().map(|file| program(file)).collect();
    files.push(program(&format!("texts/{}.json", crate::web::texts::language())));
    files.extend(["models/manifest.json".to_owned(), format!("models/{model}.md")]);
    let Ok(navigator) = Reflect::get(&js_sys::global(), &"navigator".into()) else { return };
    let ready = Reflect::get(&navigator, &"serviceWorker".into())
        .and_then(|container| Reflect::get(&container, &"ready".into()))
        .and_then(|ready| ready.dyn_into::<Promise>());
    let Ok(ready) = ready else { return };
    wasm_bindgen_futures::spawn_local(async move {
        let sent: Result<(), JsValue> = async {
            let registration = JsFuture::from(ready).await?;
            let message = js_sys::Object::new();
            let list: Array = files.iter().map(|file| JsValue::from_str(file)).collect();
            Reflect::set(&message, &"keep".into(), &list)?;
            // Of an update, the one that will be active is told, too, even if it is found later.
            for state in ["installing", "waiting", "active"] {
                post_to(&registration, state, &message)?;
            }
            let found = registration.clone();
            let on_update = Closure::<dyn FnMut()>::new(move || {
                if let Err(error) = post_to(&found, "installing", &message) {
                    log::warn!("an update will not work offline: {}", describe(&error));
                }
            });
            Reflect::set(&registration, &"onupdatefound".into(), &on_update.into_js_value())?;
            Ok(())
        }
        .await;
        if let Err(error) = sent {
            log::warn!("this page will not work offline: {}", describe(&error));
        }
    });
}

/// Posts `message` to the registration's worker in this state, if there is one.
fn post_to(registration: &JsValue, state: &str, message: &JsValue) -> Result<(), JsValue> {
    let worker = Reflect::get(registration, &state.into())?;
    if worker.is_truthy() {
        let post: Function = Reflect::get(&worker, &"postMessage".into())?.dyn_into()?;
        post.call1(&worker, message)?;
    }
    Ok(())
}

/// What the address of the page asks for.
pub fn page_options() -> PageOptions {
    let query = web_sys::window()
        .and_then(|window| window.location().search().ok())
        .and_then(|search| UrlSearchParams::new_with_str(&search).ok());
    // The browser's reading of numbers: Rust's own would be ten kilobytes of the page.
    PageOptions::read(|name| query.as_ref()?.get(name), js_sys::Number::parse_float)
}

/// Chooses the page's colours; `None` follows the system.
pub fn set_theme(theme: Option<Theme>) {
    let document = web_sys::window().and_then(|window| window.document());
    let Some(root) = document.and_then(|document| document.document_element()) else { return };
    let set = match theme {
        Some(theme) => root.set_attribute(THEME, theme.name()),
        None => root.remove_attribute(THEME),
    };
    if let Err(error) = set {
        log::warn!("the colours could not be chosen: {}", describe(&error));
    }
}

/// The user's languages, the most wanted first.
pub fn languages() -> Vec<String> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap_or_default();
    let languages = Reflect::get(&navigator, &"languages".into()).unwrap_or_default();
    let languages = languages.dyn_into::<Array>().unwrap_or_default();
    languages.iter().filter_map(|language| language.as_string()).collect()
}

/// Sets the language of the document, for screen readers above all.
pub fn declare_language(language: &str) {
    let root = web_sys::window().and_then(|window| window.document());
    if let Some(root) = root.and_then(|document| document.document_element())
        && let Err(error) = root.set_attribute("lang", language)
    {
        log::warn!("the language was not declared: {}", describe(&error));
    }
}

/// Most workers that this machine could feed: one a logical processor, within its memory.
pub fn workers_at_most() -> usize {
    const MOST: f64 = 8.0;
    /// Workers per GiB of memory; a worker takes about 150 MiB.
    const PER_GIB: f64 = 2.0;
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap_or_default();
    let number = |key: &str| Reflect::get(&navigator, &key.into()).ok().and_then(|v| v.as_f64());
    let processors = number("hardwareConcurrency").unwrap_or(1.0);
    // Only some browsers tell the memory.
    let by_memory = number("deviceMemory").map_or(MOST, |gib| gib * PER_GIB);
    processors.min(by_memory).clamp(1.0, MOST) as usize
}

/// What the browser calls itself, and what it computes with.
pub fn browser() -> String {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap_or_default();
    let text = |key: &str| match Reflect::get(&navigator, &key.into()) {
        Ok(value) => value
            .as_string()
            .or_else(|| value.as_f64().map(|number| number.to_string()))
            .unwrap_or_else(|| "unknown".into()),
        Err(_) => "unknown".into(),
    };
    format!(
        "{}\nlogical processors: {}, memory: {} GiB or more",
        text("userAgent"),
        text("hardwareConcurrency"),
        text("deviceMemory")
    )
}

/// The first bytes of a file; none if it cannot be read.
pub async fn head(file: &File, length: usize) -> Vec<u8> {
    let Ok(head) = file.slice_with_i32_and_i32(0, length as i32) else { return Vec::new() };
    let buffer = JsFuture::from(head.array_buffer()).await;
    buffer.map(|buffer| Uint8Array::new(&buffer).to_vec()).unwrap_or_default()
}

/// Puts text on the clipboard.
///
/// # Errors
/// If the browser does not allow it, in its words.
pub async fn copy(text: &str) -> Result<(), String> {
    async fn write(text: &str) -> Result<(), JsValue> {
        let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
        let clipboard = Reflect::get(&navigator, &"clipboard".into())?;
        let write: Function = Reflect::get(&clipboard, &"writeText".into())?.dyn_into()?;
        let promise: Promise = write.call1(&clipboard, &text.into())?.dyn_into()?;
        JsFuture::from(promise).await.map(|_| ())
    }
    write(text).await.map_err(|error| describe(&error))
}

/// Gives the focus to the first button of `section` if what had it is gone, or can no longer be used: by keys one would have
/// to begin at the top of the page.
pub fn keep_focus(section: &Element) {
    let active = section.owner_document().and_then(|document| document.active_element());
    let is_lost = active.is_none_or(|active| {
        active.tag_name() == "BODY" || active.matches(":disabled").unwrap_or_default()
    });
    let first = section.query_selector("button:not(:disabled)").ok().flatten();
    let options = FocusOptions::new();
    options.set_prevent_scroll(true);
    if let Some(button) = first.and_then(|button| button.dyn_into::<HtmlElement>().ok())
        && is_lost
        && let Err(error) = button.focus_with_options(&options)
    {
        log::warn!("the focus is lost: {}", describe(&error));
    }
}

/// Whether corrections, if there are any, may be lost: the user is asked.
pub fn may_discard(edits: &Edits) -> bool {
    let ask = |window: web_sys::Window| {
        window.confirm_with_message(&text!("correct.discard")).unwrap_or(true)
    };
    edits.is_empty() || web_sys::window().is_none_or(ask)
}

/// As long as what it returns lives, the browser asks before the page is left.
pub fn ask_before_leaving() -> Option<EventListener> {
    let options = EventListenerOptions::enable_prevent_default();
    web_sys::window().map(|window| {
        EventListener::new_with_options(&window, "beforeunload", options, |event| {
            event.prevent_default();
        })
    })
}
