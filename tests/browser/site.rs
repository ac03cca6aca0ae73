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
    /// Where the files are read from.
    root: Arc<Mutex<PathBuf>>,
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
        let root = Arc::new(Mutex::new(folder()));
        let shown = root.clone();
        std::thread::spawn(move || {
            for request in listener.incoming_requests() {
                let url = request.url().to_owned();
                let path = url.split('?').next().unwrap_or_default();
                let within = path.strip_prefix(BELOW).unwrap_or("nothing/lies/outside");
                log.lock().expect("the log").push(within.to_owned());
                let within = if within.is_empty() { "index.html" } else { within };
                let (within, replaced) = (within.to_owned(), replaced.clone());
                let root = shown.lock().expect("the root").clone();
                // Each by itself, as real hosts do: a browser may leave one answer unread for long.
                std::thread::spawn(move || {
                    let within = within.as_str();
                    let body = replaced
                        .get(within)
                        .cloned()
                        .or_else(|| std::fs::read(root.join(within)).ok());
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
        Self { server, requested, root }
    }

    /// Puts another version of the site in the place of this one.
    pub fn deploy(&self, folder: &Path) {
        *self.root.lock().expect("the root") = folder.to_owned();
    }

    /// Writes a version of the site to `folder` that differs by the name of its programs' folder.
    pub fn write_version(folder: &Path, version: &str) {
        let copy = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            std::fs::copy(from, to).expect("a copy");
        };
        let mut folders = vec![self::folder()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).expect("the site").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let within = path.strip_prefix(self::folder()).expect("a path within");
                let mut parts = within.to_string_lossy().into_owned();
                if let Some((_, rest)) = parts.strip_prefix("app-").and_then(|p| p.split_once('/'))
                {
                    parts = format!("app-{version}/{rest}");
                }
                copy(&path, &folder.join(parts));
            }
        }
        let old = std::fs::read_dir(self::folder()).expect("the site").flatten();
        let mut old = old.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let old = old.find(|name| name.starts_with("app-")).expect("the programs");
        for file in ["index.html", "service-worker.js"] {
            let text = std::fs::read_to_string(folder.join(file)).expect("a file");
            let mut text = text.replace(&old, &format!("app-{version}"));
            if let Some(start) = text.find("const VERSION = \"") {
                let end = text[start..].find(';').expect("its end");
                text.replace_range(start..start + end, &format!("const VERSION = \"{version}\""));
            }
            std::fs::write(folder.join(file), text).expect("a written file");
        }
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
