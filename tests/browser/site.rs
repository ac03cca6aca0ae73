//! The built site behind a server of our own, below a sub-path, with files that a test replaces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tiny_http::{Header, Response, Server};

/// The site lies as deep as a project page of a static host.
const BELOW: &str = "/some/project/";

/// A running server.
pub struct Site {
    server: Arc<Server>,
    requested: Arc<Mutex<Vec<String>>>,
}

/// The folder of the built site: `$GROUNDGLASS_SITE`, or `dist/`.
pub fn folder() -> PathBuf {
    std::env::var_os("GROUNDGLASS_SITE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("dist"), PathBuf::from)
}

impl Site {
    /// Serves the site with `script` before what is in a program's file.
    pub fn with_program_after(file: &str, script: &str) -> Self {
        let programs = std::fs::read_dir(folder()).expect("the site").flatten();
        let mut names = programs.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let version = names.find(|name| name.starts_with("app-")).expect("the programs");
        let path = format!("{version}/{file}");
        let program = std::fs::read_to_string(folder().join(&path)).expect("the program");
        Self::serve(BTreeMap::from([(path, format!("{script}\n{program}").into_bytes())]))
    }

    /// Serves the site; `replaced` maps paths within it to other contents.
    pub fn serve(replaced: BTreeMap<String, Vec<u8>>) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a free port"));
        let requested = Arc::new(Mutex::new(Vec::new()));
        let (listener, log) = (server.clone(), requested.clone());
        let replaced = Arc::new(replaced);
        std::thread::spawn(move || {
            for request in listener.incoming_requests() {
                let url = request.url().to_owned();
                let path = url.split('?').next().unwrap_or_default();
                let within = path.strip_prefix(BELOW).unwrap_or("nothing/lies/outside");
                log.lock().expect("the log").push(within.to_owned());
                let within = if within.is_empty() { "index.html" } else { within };
                let (within, replaced) = (within.to_owned(), replaced.clone());
                // Each by itself, as real hosts do: a browser may leave one answer unread for long.
                std::thread::spawn(move || {
                    let within = within.as_str();
                    let body = replaced
                        .get(within)
                        .cloned()
                        .or_else(|| std::fs::read(folder().join(within)).ok());
                    let sent = match body {
                        Some(body) => {
                            let kind = Header::from_bytes("Content-Type", content_type(within));
                            let response = Response::from_data(body);
                            request.respond(response.with_header(kind.expect("a header")))
                        }
                        None => request.respond(Response::empty(404)),
                    };
                    // A browser that closed the connection wants no answer.
                    sent.ok();
                });
            }
        });
        Self { server, requested }
    }

    /// Address of the page with a query such as `?device=cpu`.
    pub fn url(&self, query: &str) -> String {
        format!("http://localhost:{}{BELOW}{query}", self.port())
    }

    fn port(&self) -> u16 {
        self.server.server_addr().to_ip().map(|address| address.port()).expect("an IP address")
    }

    /// How often a path with this ending was requested.
    pub fn requests(&self, ending: &str) -> usize {
        self.requested.lock().expect("the log").iter().filter(|p| p.ends_with(ending)).count()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript",
        "wasm" => "application/wasm",
        "css" => "text/css",
        "webmanifest" => "application/manifest+json",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}
