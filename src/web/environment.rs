//! What the browser tells: address, graphics adapter, downloads. Works in pages and workers.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, File, HtmlAnchorElement, Url};

use super::protocol::Download;

/// The text of a JavaScript error.
pub fn describe(error: &JsValue) -> String {
    Reflect::get(error, &"message".into())
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| error.as_string())
        .unwrap_or_else(|| format!("{error:?}"))
}

/// Whether the browser offers a WebGPU adapter here.
///
/// web-sys keeps WebGPU behind a compiler flag, so it is asked by name.
pub async fn has_gpu_adapter() -> bool {
    async fn adapter() -> Result<JsValue, JsValue> {
        let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
        let gpu = Reflect::get(&navigator, &"gpu".into())?;
        if gpu.is_falsy() {
            return Ok(JsValue::NULL);
        }
        let request: Function = Reflect::get(&gpu, &"requestAdapter".into())?.dyn_into()?;
        let promise: Promise = request.call0(&gpu)?.dyn_into()?;
        JsFuture::from(promise).await
    }
    adapter().await.is_ok_and(|adapter| adapter.is_truthy())
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

/// A file made of `bytes`, like one that the visitor chose.
pub fn file(name: &str, bytes: &[u8]) -> Result<File, JsValue> {
    File::new_with_u8_array_sequence(&Array::of1(&Uint8Array::from(bytes)), name)
}

/// Lets the visitor save a file.
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
    // The browser has taken the bytes when the click returns.
    Url::revoke_object_url(&url)
}
