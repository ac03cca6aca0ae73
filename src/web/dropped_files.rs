//! Files and folders that are dropped on the page.

use js_sys::{Array, Function, Promise, Reflect};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DataTransfer, File};

use crate::image::decode::limits::MAX_FILES;
use crate::web::browser::describe;
use crate::web::texts::text;

/// What was dropped, as the browser's file system entries; empty where it has none.
pub fn entries(data: &DataTransfer) -> Vec<JsValue> {
    let items = data.items();
    let entry = |index| {
        let item = items.get(index)?;
        item.webkit_get_as_entry().ok().flatten().map(JsValue::from)
    };
    (0..items.length()).filter_map(entry).collect()
}

/// Why what was dropped is not opened.
#[derive(Debug, Error)]
pub enum DroppedError {
    /// The browser does not let a file or a folder be read.
    #[error("{0}")]
    Browser(String),
    /// A folder holds more files than are taken.
    #[error("{}", text!("input.too_many", most = MAX_FILES))]
    TooMany,
}

impl From<JsValue> for DroppedError {
    fn from(error: JsValue) -> Self {
        Self::Browser(describe(&error))
    }
}

/// All files below the entries, by their path.
///
/// # Errors
/// If the browser does not let a folder be read, or there are too many.
pub async fn files(mut entries: Vec<JsValue>) -> Result<Vec<(String, File)>, DroppedError> {
    let mut found = Vec::new();
    while let Some(entry) = entries.pop() {
        let is_folder = get(&entry, "isDirectory").is_truthy();
        if is_folder {
            entries.extend(children(&entry).await?);
        } else {
            let path = get(&entry, "fullPath").as_string().unwrap_or_default();
            let file = call_back(&entry, "file").await?;
            if let Ok(file) = file.dyn_into::<File>() {
                found.push((path.trim_start_matches('/').to_owned(), file));
            }
        }
        if found.len() > MAX_FILES {
            return Err(DroppedError::TooMany);
        }
    }
    Ok(found)
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or_default()
}

/// The entries of a folder; the browser hands them out in parts until there are none left.
async fn children(folder: &JsValue) -> Result<Vec<JsValue>, JsValue> {
    let create: Function = get(folder, "createReader").dyn_into()?;
    let reader = create.call0(folder)?;
    let mut all = Vec::new();
    loop {
        let part: Array = call_back(&reader, "readEntries").await?.dyn_into()?;
        if part.length() == 0 {
            return Ok(all);
        }
        all.extend(part.iter());
    }
}

/// Calls a method that takes a callback for success and one for failure.
async fn call_back(object: &JsValue, method: &str) -> Result<JsValue, JsValue> {
    let function: Function = get(object, method).dyn_into()?;
    let promise = Promise::new(&mut |resolve, reject| {
        // An exception rejects the promise, as a failure does.
        if let Err(error) = function.call2(object, &resolve, &reject) {
            reject.call1(&JsValue::NULL, &error).ok();
        }
    });
    JsFuture::from(promise).await
}
