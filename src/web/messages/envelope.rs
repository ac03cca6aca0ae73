//! How a message travels: a JavaScript object `{ message, buffer, files }`.

use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::File;

/// What travels beside a message.
pub enum Transfer<'a> {
    /// Nothing.
    Nothing,
    /// Bytes.
    Bytes(&'a [u8]),
    /// Files that the user chose.
    Files(&'a [File]),
}

/// Packs a message; returns it with the list of what is moved.
///
/// # Errors
/// If the message cannot be serialised.
pub fn encode<T: Serialize>(
    message: &T,
    transfer: Transfer<'_>,
) -> Result<(JsValue, Array), JsValue> {
    let envelope = Object::new();
    // Maps are plain objects on the other side, too.
    let message = message.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?;
    Reflect::set(&envelope, &"message".into(), &message)?;
    let moved = Array::new();
    match transfer {
        Transfer::Nothing => {}
        Transfer::Bytes(bytes) => {
            let array = Uint8Array::from(bytes);
            moved.push(&array.buffer());
            Reflect::set(&envelope, &"buffer".into(), &array)?;
        }
        Transfer::Files(files) => {
            let list: Array = files.iter().collect();
            Reflect::set(&envelope, &"files".into(), &list)?;
        }
    }
    Ok((envelope.into(), moved))
}

/// A message unpacked.
pub struct Envelope<T> {
    /// The message.
    pub message: T,
    /// Bytes beside it; empty without.
    pub bytes: Vec<u8>,
    /// Files beside it; empty without.
    pub files: Vec<File>,
}

/// Unpacks a message.
///
/// # Errors
/// If it is no such message.
pub fn decode<T: DeserializeOwned>(envelope: &JsValue) -> Result<Envelope<T>, JsValue> {
    let get = |key: &str| Reflect::get(envelope, &key.into());
    let (message, buffer, files) = (get("message")?, get("buffer")?, get("files")?);
    let files = files.dyn_ref::<Array>().map(|files| files.iter().collect::<Vec<_>>());
    Ok(Envelope {
        message: serde_wasm_bindgen::from_value(message)?,
        bytes: buffer.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default(),
        files: files.into_iter().flatten().filter_map(|file| file.dyn_into().ok()).collect(),
    })
}
