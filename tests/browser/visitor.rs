//! A person before a headless Chromium: looks at roles and labels, clicks, waits, takes pictures.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Whether the browser offers WebGPU (on the CPU, through SwiftShader).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WebGpu {
    On,
    Off,
}

/// A command that only Chromium's driver knows.
#[derive(Debug)]
struct DevTools {
    command: String,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// A browser with its driver; both end with it.
pub struct Visitor {
    pub client: Client,
    driver: Child,
    profile: tempfile::TempDir,
}

/// Programs that the tests need.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

impl Visitor {
    pub async fn new(web_gpu: WebGpu) -> Self {
        Self::with(web_gpu, &[], json!({})).await
    }

    /// Someone whose browser lets no site store anything.
    pub async fn who_forbids_storage() -> Self {
        let preferences = json!({ "profile.default_content_setting_values.cookies": 2 });
        Self::with(WebGpu::Off, &[], preferences).await
    }

    /// Someone who likes dark pages.
    pub async fn in_the_dark() -> Self {
        Self::with(
            WebGpu::Off,
            &["--force-prefers-color-scheme=dark", "--blink-settings=preferredColorScheme=0"],
            json!({}),
        )
        .await
    }

    async fn with(web_gpu: WebGpu, more: &[&str], mut preferences: Value) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-dev-shm-usage".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--window-size=1200,1000".into(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if web_gpu == WebGpu::On {
            arguments.push("--enable-unsafe-webgpu".into());
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let mut capabilities = serde_json::Map::new();
        let downloads = profile.path().join("downloads");
        preferences["download.default_directory"] = json!(downloads);
        let options = json!({ "args": arguments, "prefs": preferences });
        capabilities.insert("goog:chromeOptions".into(), options);
        capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));

        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let started = Instant::now();
        let client = loop {
            match builder.connect(&format!("http://127.0.0.1:{port}")).await {
                Ok(client) => break client,
                Err(error) if started.elapsed() > Duration::from_secs(30) => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        Self { client, driver, profile }
    }

    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// What the page says in its status line.
    pub async fn status(&self) -> String {
        self.text("[role=status]").await.unwrap_or_default()
    }

    /// What the page says in an alert.
    pub async fn alert(&self) -> Option<String> {
        self.text("[role=alert]").await
    }

    /// Text of the first match.
    pub async fn text(&self, css: &str) -> Option<String> {
        self.client.find(Locator::Css(css)).await.ok()?.text().await.ok()
    }

    /// Waits until the page as a whole shows `wanted`; fails with what it shows instead.
    pub async fn wait_for(&self, wanted: &str, seconds: u64) {
        let started = Instant::now();
        loop {
            let shown = self.text("body").await.unwrap_or_default();
            if shown.contains(wanted) {
                return;
            }
            let hopeless = shown.contains("could not start");
            if hopeless || started.elapsed() > Duration::from_secs(seconds) {
                self.picture("failure").await;
                panic!("the page does not show `{wanted}` after {seconds} s, but:\n{shown}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Clicks the button with this text; one of a closed sheet after opening it, which is then closed again.
    pub async fn press(&self, button: &str) {
        let path = format!("//button[normalize-space()='{button}']");
        let button = self.client.find(Locator::XPath(&path)).await.expect("the button");
        let lies_in_a_sheet = !button.is_displayed().await.expect("a page");
        if lies_in_a_sheet {
            self.toggle_sheet().await.expect("the sheet opens");
        }
        // The driver scrolls only for what lies beyond the window, not beyond the edge of a panel.
        let element = serde_json::to_value(&button).expect("a reference");
        let show = "arguments[0].scrollIntoView({ block: 'nearest' })";
        self.client.execute(show, vec![element]).await.expect("a button in view");
        button.click().await.expect("a click");
        if lies_in_a_sheet {
            self.toggle_sheet().await.expect("the sheet closes");
        }
    }

    /// Opens or closes the sheet of files to save.
    pub async fn toggle_sheet(&self) -> Result<(), CmdError> {
        let opener = "[popovertarget]:not([popovertargetaction])";
        self.client.find(Locator::Css(opener)).await?.send_keys(" ").await
    }

    /// Unfolds what has this title.
    pub async fn unfold(&self, title: &str) {
        let path = format!("//summary[starts-with(normalize-space(), '{title}')]");
        let summary = self.client.find(Locator::XPath(&path)).await.expect("the title");
        summary.click().await.expect("a click");
    }

    /// Types on an element.
    pub async fn keys(&self, css: &str, keys: &str) {
        let element = self.client.find(Locator::Css(css)).await.expect("the element");
        element.send_keys(keys).await.expect("keys");
    }

    /// An attribute; empty if it is not there.
    pub async fn attribute(&self, css: &str, name: &str) -> String {
        let element = self.client.find(Locator::Css(css)).await.expect("the element");
        element.attr(name).await.expect("an attribute").unwrap_or_default()
    }

    /// Waits until something holds.
    pub async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        seconds: u64,
        holds: impl Fn() -> F,
    ) {
        let started = Instant::now();
        while !holds().await {
            if started.elapsed() > Duration::from_secs(seconds) {
                self.picture("failure").await;
                panic!("after {seconds} s still not: {what}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A sum over what the slice's canvas shows, which differs with the picture.
    pub async fn pixels(&self) -> u64 {
        let script = "const canvas = document.querySelector('.slice canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let sum = 0;
            for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) % 4294967291;
            return sum;";
        let sum = self.client.execute(script, Vec::new()).await.expect("the pixels");
        sum.as_f64().map(|sum| sum as u64).expect("a number")
    }

    /// How many elements there are.
    pub async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.expect("elements").len()
    }

    /// Mean grey value of a canvas.
    pub async fn brightness(&self, css: &str) -> f64 {
        let script = "const canvas = document.querySelector(arguments[0]);
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let sum = 0;
            for (let i = 0; i < data.length; i += 4) sum += data[i];
            return sum / data.length * 4;";
        let mean = self.client.execute(script, vec![json!(css)]).await.expect("the pixels");
        mean.as_f64().expect("a number")
    }

    /// Presses the mouse on an element, at a place in shares of its width and height.
    pub async fn point_at(&self, css: &str, (across, down): (f64, f64)) {
        let script = "const element = document.querySelector(arguments[0]);
            const { left, top, width, height } = element.getBoundingClientRect();
            const at = { pointerId: 1, pointerType: 'mouse', buttons: 1, bubbles: true,
                clientX: left + arguments[1] * width, clientY: top + arguments[2] * height };
            element.dispatchEvent(new PointerEvent('pointerdown', at));
            element.dispatchEvent(new PointerEvent('pointerup', { ...at, buttons: 0 }));";
        let arguments = vec![json!(css), json!(across), json!(down)];
        self.client.execute(script, arguments).await.expect("the element");
    }

    /// The chosen option of the labelled list.
    pub async fn chosen(&self, label: &str) -> String {
        let script = "return [...document.querySelectorAll('label')]
            .find(label => label.textContent.trim().startsWith(arguments[0]))
            .querySelector('select').selectedOptions[0].textContent";
        let text = self.client.execute(script, vec![json!(label)]).await.expect("the list");
        text.as_str().expect("a text").to_owned()
    }

    /// Chooses an option of the labelled list.
    pub async fn select(&self, label: &str, option: &str) {
        let script = "const list = [...document.querySelectorAll('label')]
            .find(label => label.textContent.trim().startsWith(arguments[0])).querySelector('select');
            list.selectedIndex = [...list.options].findIndex(option => option.textContent === arguments[1]);
            list.dispatchEvent(new Event('change', { bubbles: true }));";
        let arguments = vec![json!(label), json!(option)];
        self.client.execute(script, arguments).await.expect("the list");
    }

    /// A saved file whose name ends so, once it is whole.
    pub async fn saved(&self, ending: &str) -> Vec<u8> {
        let folder = self.profile.path().join("downloads");
        let started = Instant::now();
        loop {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut paths = entries.map(|entry| entry.path());
            if let Some(path) = paths.find(|path| path.to_string_lossy().ends_with(ending)) {
                return std::fs::read(path).expect("the saved file");
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no {ending} was saved");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Where what was saved with this ending lies.
    pub fn downloads(&self, ending: &str) -> Vec<PathBuf> {
        let folder = self.profile.path().join("downloads");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }

    /// All that was saved with this ending.
    pub fn saved_so_far(&self, ending: &str) -> Vec<Vec<u8>> {
        let read = |path| std::fs::read(path).expect("the saved file");
        self.downloads(ending).into_iter().map(read).collect()
    }

    /// Moves a slider to a value, as a key or a finger would.
    pub async fn slide(&self, label: &str, value: &str) {
        let script = "const input = [...document.querySelectorAll('label')]
                .find(label => label.textContent.trim().startsWith(arguments[0])).querySelector('input');
            input.value = arguments[1];
            input.dispatchEvent(new Event('input', { bubbles: true }));";
        let moved = self.client.execute(script, vec![json!(label), json!(value)]).await;
        moved.expect("the slider");
    }

    /// Gives files to the labelled input.
    pub async fn choose_all(&self, files: &[PathBuf]) {
        let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        self.choose(Path::new(&paths.join("\n"))).await;
    }

    /// Gives a file to the labelled input.
    pub async fn choose(&self, file: &Path) {
        let label = "//input[@id=//label[contains(., 'Open slices')]/@for]";
        let input = self.client.find(Locator::XPath(label)).await.expect("the labelled input");
        input.send_keys(&file.display().to_string()).await.expect("a path");
    }

    /// Values of the three meters, in percent, by label.
    pub async fn meters(&self) -> Vec<(String, f64)> {
        let mut values = Vec::new();
        for meter in self.client.find_all(Locator::Css("[role=meter]")).await.expect("meters") {
            let label = meter.attr("aria-label").await.ok().flatten().expect("a label");
            let value = meter.attr("aria-valuenow").await.ok().flatten().expect("a value");
            values.push((label, value.parse().expect("a number")));
        }
        values
    }

    /// Items of the list labelled Lesions.
    pub async fn lesions(&self) -> Vec<String> {
        let path = "//ul[@aria-labelledby=//h2[normalize-space()='Lesions']/@id]/li";
        let mut texts = Vec::new();
        for item in self.client.find_all(Locator::XPath(path)).await.expect("the list") {
            texts.push(item.text().await.expect("its text").replace('\n', " "));
        }
        texts
    }

    /// Addresses that the page has requested.
    pub async fn resources(&self) -> Vec<String> {
        let script = "return performance.getEntriesByType('resource').map(e => e.name)";
        let names = self.client.execute(script, Vec::new()).await.expect("the entries");
        serde_json::from_value(names).expect("a list of addresses")
    }

    /// Keeps a picture of the page in `artifacts/`.
    pub async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
        std::fs::create_dir_all(&folder).expect("the folder of artefacts");
        let png = self.client.screenshot().await.expect("a screenshot");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("a written screenshot");
    }

    /// A command of the browser's developer tools.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = DevTools { command: command.to_owned(), parameters };
        self.client.issue_cmd(command).await.expect("the developer tools")
    }

    /// MiB that the largest of the browser's tabs holds.
    pub fn memory(&self) -> u64 {
        let of = |status: String| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let tabs = self.processes("--type=renderer");
        let sizes = tabs.iter().filter_map(|process| {
            of(std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
        });
        sizes.max().unwrap_or_default() / 1024
    }

    /// Ends the browser's graphics process, as a driver crash does.
    pub fn crash_graphics(&self) {
        assert!(self.kill("--type=gpu-process") > 0, "no graphics process was found");
    }

    /// This browser's processes with `argument` in their command line.
    fn processes(&self, argument: &str) -> Vec<String> {
        let profile = self.profile.path().display().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let is_ours = |entry: &std::fs::DirEntry| {
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            command.contains(argument) && command.contains(&profile)
        };
        let ours = processes.flatten().filter(is_ours);
        ours.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Ends this browser's processes with `argument` in their command line; how many there were.
    fn kill(&self, argument: &str) -> usize {
        let ends = |process: &String| {
            let status = Command::new("kill").arg("-KILL").arg(process).status();
            status.is_ok_and(|status| status.success())
        };
        self.processes(argument).iter().filter(|process| ends(process)).count()
    }

    pub async fn leave(self) {
        // The driver is ended in any case.
        self.client.clone().close().await.ok();
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.driver.kill().ok();
        self.driver.wait().ok();
        self.kill("chrom");
    }
}
