//! Chromium without a window, steered through its DevTools pipe: JSON messages that end with a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::camera::{PATIENCE, wait};

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe";

pub struct Browser {
    chromium: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// Exceptions and breaches of the page's policy.
    faults: Vec<String>,
    pub folder: TempDir,
}

impl Browser {
    /// Opens a page in a fresh profile.
    pub fn open(url: &str, (width, height): (u32, u32)) -> Browser {
        let folder = tempfile::tempdir().unwrap();
        // The pipe is descriptors 3 and 4.
        let script = format!(
            "exec chromium {FLAGS} --user-data-dir=\"$0\" about:blank 3<&0 4>&1 </dev/null >/dev/null"
        );
        let mut chromium = Command::new("sh")
            .args(["-c", &script])
            .arg(folder.path().join("profile"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, messages) = channel();
        let mut output = BufReader::new(chromium.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let commands = chromium.stdin.take().unwrap();
        let mut browser =
            Browser { chromium, commands, messages, session: None, sent: 0, faults: Vec::new(), folder };
        let downloads = json!({"behavior": "allow", "downloadPath": browser.folder.path()});
        browser.call("Browser.setDownloadBehavior", downloads);
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(String::from);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser.resize((width, height));
        browser.call("Page.navigate", json!({"url": url}));
        browser.until("document.readyState === 'complete' && location.href !== 'about:blank'");
        browser
    }

    pub fn resize(&mut self, (width, height): (u32, u32)) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Sends a command and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        const MISSING: &str = "chromium does not run; install it: apt-get install -y chromium";
        write!(self.commands, "{message}\0").and_then(|()| self.commands.flush()).expect(MISSING);
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect(MISSING);
            if message["id"] == self.sent {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            let fault = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => message["params"]["entry"]["source"] == "security",
                _ => false,
            };
            if fault {
                self.faults.push(message.to_string());
            }
        }
    }

    /// The value of an expression.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        wait(expression, || (self.value(expression) == true).then_some(()));
    }

    /// The left button at a place: `mousePressed`, `mouseMoved` or `mouseReleased`.
    fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let buttons = u8::from(kind != "mouseReleased");
        let params =
            json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", params);
    }

    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.mouse("mousePressed", from);
        self.mouse("mouseMoved", ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0));
        self.mouse("mouseMoved", to);
        self.mouse("mouseReleased", to);
    }

    pub fn click_at(&mut self, at: (f64, f64)) {
        self.mouse("mousePressed", at);
        self.mouse("mouseReleased", at);
    }

    /// Clicks the middle of an element.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let at = self.place(selector, (0.5, 0.5));
        self.click_at(at);
    }

    /// A place in an element, in fractions of its size, on the screen.
    #[track_caller]
    pub fn place(&mut self, selector: &str, (x, y): (f64, f64)) -> (f64, f64) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'nearest'}});
               const b = e.getBoundingClientRect(); return [b.x + b.width * {x}, b.y + b.height * {y}]; }})()"
        ));
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    /// A key by its DevTools name, such as `Enter`.
    pub fn key(&mut self, name: &str) {
        let text = if name == "Enter" { "\r" } else { "" };
        let code = match name {
            "Enter" => 13,
            "Backspace" => 8,
            "Tab" => 9,
            "Escape" => 27,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": kind, "key": name, "code": name, "text": text, "windowsVirtualKeyCode": code}),
            );
        }
    }

    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Stores what is on the screen, for people to look at.
    pub fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let base64 = shot["data"].as_str().unwrap();
        let mut decoder = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(path).unwrap())
            .spawn()
            .unwrap();
        decoder.stdin.take().unwrap().write_all(base64.as_bytes()).unwrap();
        assert!(decoder.wait().unwrap().success());
    }

    /// The page broke neither its own policy nor itself.
    #[track_caller]
    pub fn is_faultless(&mut self) {
        self.value("1");
        assert!(self.faults.is_empty(), "{:#?}", self.faults);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it takes its children along.
        let _ = write!(self.commands, "{}\0", json!({"id": 0, "method": "Browser.close"}));
        let asked = Instant::now();
        while matches!(self.chromium.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.chromium.kill();
        let _ = self.chromium.wait();
    }
}
