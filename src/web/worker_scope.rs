//! A program in a web worker: how it starts, listens and answers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use crate::web::browser;
use crate::web::messages::{self, Envelope, Transfer};

/// The worker's global scope.
fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Sends an event; a closed page is not an error.
pub fn post<E: Serialize>(event: &E, transfer: Transfer<'_>) {
    let sent = messages::encode(event, transfer)
        .and_then(|(envelope, moved)| scope().post_message_with_transfer(&envelope, &moved));
    if let Err(error) = sent {
        web_sys::console::error_1(&error);
    }
}

/// Listens to requests from now on. `failed` makes the event that tells of a panic, which ends a program
/// without a sign that the page could see, or of a request that was not understood.
pub fn listen<R: DeserializeOwned + 'static, E: Serialize + 'static>(
    on_message: impl Fn(Envelope<R>) + 'static,
    started: &E,
    failed: fn(String) -> E,
) {
    std::panic::set_hook(Box::new(move |info| {
        console_error_panic_hook::hook(info);
        post(&failed(format!("it stopped ({info})")), Transfer::Nothing);
    }));
    // A shader that fails is only logged; without this bridge nobody would ever see it.
    if console_log::init_with_level(log::Level::Warn).is_err() {
        web_sys::console::warn_1(&"a logger was installed already".into());
    }
    let listener = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        match messages::decode::<R>(&event.data()) {
            Ok(envelope) => on_message(envelope),
            Err(error) => {
                let reason = browser::describe(&error);
                post(&failed(format!("a message was not understood: {reason}")), Transfer::Nothing);
            }
        }
    });
    scope().set_onmessage(Some(listener.as_ref().unchecked_ref()));
    // The listener lives as long as the program.
    listener.forget();
    post(started, Transfer::Nothing);
}
