//! Fetching a model: manifest, then its files from the Cache API or the network, checked by hash.

use std::collections::BTreeMap;

use js_sys::{Reflect, Uint8Array};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, CacheStorage, File, ReadableStreamDefaultReader, Response};

use crate::inference::manifest::{MAX_BYTES, Manifest, ManifestError};
use crate::inference::self_test::SelfTest;
use crate::inference::{LoadedModel, ModelFile};
use crate::report::regions::RegionReference;
use crate::web::browser;
use crate::web::fetch::{self, FetchError};

/// Why a model could not be fetched.
#[derive(Debug, Error)]
pub enum ModelError {
    /// An address that gave nothing.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A list of models that cannot be read.
    #[error("{url}: {source}")]
    List {
        /// Its address.
        url: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A model that is not there, or a file that is not what the list says.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of the user's that cannot be read, or holds no model.
    #[error("{name}: {reason}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that does not end.
    #[error("{url}: more than {MAX_BYTES} bytes")]
    TooLarge {
        /// Its address.
        url: String,
    },
}

/// Name of the cache; raise the number if what is stored changes its meaning.
const CACHE: &str = "groundglass-weights-1";
/// A model that is ready for a device.
pub struct FetchedModel {
    /// Name in the manifest.
    pub name: String,
    /// The weights.
    pub model: LoadedModel,
    /// What the device must compute, where that is known.
    pub self_test: Option<SelfTest>,
    /// Licence of the weights.
    pub licence: String,
    /// Regions of labelled slices.
    pub regions: Option<RegionReference>,
    /// Names of all models in the manifest.
    pub models_of_site: Vec<String>,
}

/// Fetches the model `name`, or the default one, from `folder`. `progress` is told the bytes so far and in
/// all.
///
/// # Errors
/// If the list of models, the model or a file is missing, cannot be downloaded or is corrupt.
pub async fn fetch_model(
    folder: &str,
    name: Option<&str>,
    progress: &dyn Fn(u64, u64),
) -> Result<FetchedModel, ModelError> {
    let manifest = fetch_manifest(folder).await?;
    let (name, entry) = manifest.model(name)?;
    // A browser may forbid storage; then weights are fetched anew each time.
    let cache = open_cache().await.ok();
    if let Some(cache) = &cache {
        forget_old(cache, folder, &manifest).await;
    }
    let total: u64 =
        entry.files().iter().filter_map(|f| manifest.files.get(*f)).map(|f| f.bytes).sum();
    let (mut files, mut before) = (BTreeMap::new(), 0);
    for file in entry.files() {
        let progress = |received: u64| progress(before + received, total);
        let bytes = fetch_file(folder, &manifest, file, cache.as_ref(), &progress).await?;
        before += bytes.len() as u64;
        files.insert(file.to_owned(), bytes);
    }
    let model = manifest.load(name, entry, &files)?;
    Ok(FetchedModel {
        name: name.into(),
        model,
        self_test: Some(entry.self_test.clone()),
        licence: entry.licence.clone(),
        regions: entry.regions.clone(),
        models_of_site: manifest.models.keys().cloned().collect(),
    })
}

/// The model in a file of the user's.
///
/// # Errors
/// If it cannot be read, or holds no weights of a known network.
pub async fn read_model(name: &str, file: &File) -> Result<FetchedModel, ModelError> {
    let failed = |reason: String| ModelError::File { name: name.into(), reason };
    if file.size() > MAX_BYTES as f64 {
        return Err(failed(format!("more than {MAX_BYTES} bytes")));
    }
    let buffer = JsFuture::from(file.array_buffer()).await;
    let buffer = buffer.map_err(|error| failed(browser::describe(&error)))?;
    let read = ModelFile::read(name, &Uint8Array::new(&buffer).to_vec());
    let model = read.and_then(LoadedModel::of_file).map_err(|error| failed(error.to_string()))?;
    Ok(FetchedModel {
        name: name.into(),
        model,
        self_test: None,
        licence: String::new(),
        regions: None,
        models_of_site: Vec::new(),
    })
}

async fn fetch_manifest(folder: &str) -> Result<Manifest, ModelError> {
    let url = format!("{folder}/manifest.json");
    let response = fetch::get(&url, "no-cache").await?;
    let failed = |error: JsValue| FetchError::new(&url, &error);
    let body = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
    let body = body.as_string().unwrap_or_default();
    Manifest::parse(&body).map_err(|source| ModelError::List { url: url.clone(), source })
}

async fn open_cache() -> Result<Cache, JsValue> {
    let caches: CacheStorage = Reflect::get(&js_sys::global(), &"caches".into())?.dyn_into()?;
    let cache = JsFuture::from(caches.open(CACHE)).await?;
    cache.dyn_into()
}

/// Address under which a file of a certain content is kept.
fn cache_key(folder: &str, manifest: &Manifest, file: &str) -> Option<String> {
    let entry = manifest.files.get(file)?;
    Some(format!("{folder}/{file}?sha256={}", entry.sha256))
}

/// Removes weights of this folder that no model uses any more; another site's of the same origin stay.
async fn forget_old(cache: &Cache, folder: &str, manifest: &Manifest) {
    // The cache knows whole addresses, without the way up.
    let ending = |file: &String| {
        let key = cache_key(folder, manifest, file)?;
        Some(key.trim_start_matches("../").to_owned())
    };
    let own = format!("{}/", folder.trim_start_matches("../"));
    let wanted: Vec<String> = manifest.files.keys().filter_map(ending).collect();
    let Ok(keys) = JsFuture::from(cache.keys()).await else { return };
    for request in js_sys::Array::from(&keys).iter() {
        let url = Reflect::get(&request, &"url".into()).ok().and_then(|url| url.as_string());
        let known = url.is_none_or(|url| {
            !url.contains(own.as_str()) || wanted.iter().any(|key| url.ends_with(key.as_str()))
        });
        if !known && let Ok(request) = request.dyn_into() {
            // Left-over weights only cost space: a failure to delete them changes nothing.
            JsFuture::from(cache.delete_with_request(&request)).await.ok();
        }
    }
}

async fn fetch_file(
    folder: &str,
    manifest: &Manifest,
    file: &str,
    cache: Option<&Cache>,
    progress: &dyn Fn(u64),
) -> Result<Vec<u8>, ModelError> {
    let key =
        cache_key(folder, manifest, file).ok_or_else(|| ManifestError::UnknownFile(file.into()))?;
    if let Some(cache) = cache
        && let Some(bytes) = cached(cache, &key).await
        && manifest.check(file, &bytes).is_ok()
    {
        progress(bytes.len() as u64);
        return Ok(bytes);
    }
    let url = format!("{folder}/{file}");
    let bytes = read_body(&url, &fetch::get(&url, "default").await?, progress).await?;
    manifest.check(file, &bytes)?;
    if let Some(cache) = cache {
        keep(cache, &key, &bytes).await;
    }
    Ok(bytes)
}

async fn cached(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    let response = JsFuture::from(cache.match_with_str(key)).await.ok()?;
    let response: Response = response.dyn_into().ok()?;
    let buffer = JsFuture::from(response.array_buffer().ok()?).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// Stores checked bytes; a full or forbidden storage only means fetching them again.
async fn keep(cache: &Cache, key: &str, bytes: &[u8]) {
    let body = Uint8Array::from(bytes);
    let stored = Response::new_with_opt_js_u8_array(Some(&body))
        .map(|response| JsFuture::from(cache.put_with_str(key, &response)));
    if let Ok(stored) = stored
        && let Err(error) = stored.await
    {
        log::warn!("the weights could not be cached: {}", browser::describe(&error));
    }
}

/// Reads a body in pieces and reports progress.
async fn read_body(
    url: &str,
    response: &Response,
    progress: &dyn Fn(u64),
) -> Result<Vec<u8>, ModelError> {
    let failed = |error: JsValue| FetchError::new(url, &error);
    let stream = response.body().ok_or_else(|| failed("the server sent nothing".into()))?;
    let reader: ReadableStreamDefaultReader =
        stream.get_reader().dyn_into().map_err(|error| failed(error.into()))?;
    let mut bytes = Vec::new();
    loop {
        let piece = JsFuture::from(reader.read()).await.map_err(failed)?;
        let done = Reflect::get(&piece, &"done".into()).map_err(failed)?.is_truthy();
        if done {
            return Ok(bytes);
        }
        let value = Reflect::get(&piece, &"value".into()).map_err(failed)?;
        let value: Uint8Array = value.dyn_into().map_err(failed)?;
        bytes.extend_from_slice(&value.to_vec());
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ModelError::TooLarge { url: url.into() });
        }
        progress(bytes.len() as u64);
    }
}
