//! Files of this site, for the page and for workers.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, Response};

use crate::web::browser;

/// Why an address gave nothing.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No answer, or half of one.
    #[error("{url} could not be loaded: {reason}")]
    Request {
        /// The address.
        url: String,
        /// What the browser said.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{url} could not be loaded: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// HTTP's number.
        status: u16,
    },
}

impl FetchError {
    /// From what the browser said of an address.
    pub fn new(url: &str, error: &JsValue) -> Self {
        Self::Request { url: url.into(), reason: browser::describe(error) }
    }
}

/// Requests an address of this origin, in a page or a worker; `cache_mode` as `fetch` knows it.
///
/// # Errors
/// If there is no answer, or a refusal.
pub async fn get(url: &str, cache_mode: &str) -> Result<Response, FetchError> {
    let failed = |error: JsValue| FetchError::new(url, &error);
    let options = RequestInit::new();
    Reflect::set(&options, &"cache".into(), &cache_mode.into()).map_err(failed)?;
    let response = fetch(url, &options).await.map_err(failed)?;
    if !response.ok() {
        return Err(FetchError::Status { url: url.into(), status: response.status() });
    }
    Ok(response)
}

async fn fetch(url: &str, options: &RequestInit) -> Result<Response, JsValue> {
    let global = js_sys::global();
    let fetch: Function = Reflect::get(&global, &"fetch".into())?.dyn_into()?;
    let promise: Promise = fetch.call2(&global, &url.into(), options)?.dyn_into()?;
    JsFuture::from(promise).await?.dyn_into()
}

/// The contents of a file.
///
/// # Errors
/// As [`get`].
pub async fn bytes(url: &str) -> Result<Vec<u8>, FetchError> {
    let response = get(url, "default").await?;
    let failed = |error: JsValue| FetchError::new(url, &error);
    let buffer = JsFuture::from(response.array_buffer().map_err(failed)?).await.map_err(failed)?;
    Ok(Uint8Array::new(&buffer).to_vec())
}
