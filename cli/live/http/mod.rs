//! `--to http://HOST:PORT`: a page, an MJPEG stream, a still, figures, and privacy mode for whoever has the token.
//!
//! ```text
//! pipeline's thread --RedactedFrame--> [hub: newest picture, JPEG] --> one connection for each client
//! page, POST /privacy ----------------> [control]
//! ```
//! All network code runs on one thread with its own runtime. It is given redacted frames and figures; it can ask for nothing
//! else.

mod auth;
mod figures;
mod hub;
mod jpeg;
mod page;
mod places;
mod routes;
mod server;
mod socket;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use milkglass::frame::RedactedFrame;
use milkglass::{Error, FrameSink, Result};

use crate::args::LiveArgs;
use crate::live::control::Control;
use crate::outcome::Failure;
#[cfg(feature = "rtsp-server")]
pub use auth::read_secret;
use auth::{Names, Token};
use hub::Hub;
use routes::Site;

/// The pipeline's end of the server.
pub struct HttpSink {
    hub: Arc<Hub>,
    server: Option<JoinHandle<()>>,
}

impl HttpSink {
    /// Listens at `host:port` and serves from then on.
    ///
    /// # Errors
    /// The address cannot be listened at, or is beyond loopback without a token.
    pub fn open(at: &str, args: &LiveArgs, control: &Arc<Control>) -> Result<HttpSink, Failure> {
        let about = |why: String| Failure::new(format!("--to http://{at}: {why}"));
        let token = args.token_file.as_deref().map(Token::read).transpose()?;
        let (host, addresses) = resolve(at).map_err(about)?;
        // A proxy brings others here, wherever it listens itself.
        let public = !addresses.iter().all(|a| a.ip().is_loopback()) || !args.trusted_proxy.is_empty();
        if public && token.is_none() {
            return Err(about(
                "this would listen beyond this machine: add --token-file FILE, or use 127.0.0.1 and no \
                 --trusted-proxy"
                    .into(),
            ));
        }
        let hub = Arc::new(Hub::new({
            let control = Arc::clone(control);
            move || control.privacy()
        }));
        let site = Site {
            hub: Arc::clone(&hub),
            control: Arc::clone(control),
            names: Names { written: host },
            token,
            public,
            proxies: args.trusted_proxy.clone(),
        };
        let (bound, listens) = channel();
        let server = std::thread::Builder::new().name("http".into());
        let server =
            server.spawn(move || server::run(site, &addresses, &bound)).map_err(|e| about(e.to_string()))?;
        let local = listens.recv().map_err(|e| about(e.to_string()))?.map_err(about)?;
        log::info!(
            "http://{local} shows the redacted picture: a page, /stream.mjpg, /snapshot.jpg, /metrics, /healthz"
        );
        Ok(HttpSink { hub, server: Some(server) })
    }
}

/// The host, in lower case and without brackets, and the addresses that it stands for.
fn resolve(at: &str) -> Result<(String, Vec<SocketAddr>), String> {
    let wrong = || "write it as http://HOST:PORT, such as http://127.0.0.1:8080".to_string();
    let (host, port) = at.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_ascii_lowercase();
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || host.contains(['/', '@', '[', ']', '?', '#']) {
        return Err(wrong());
    }
    let found = (host.as_str(), port).to_socket_addrs().map_err(|e| e.to_string())?;
    let found: Vec<_> = found.collect();
    Ok((host, found))
}

impl FrameSink for HttpSink {
    fn send(&mut self, frame: &RedactedFrame) -> Result<()> {
        match &self.server {
            Some(server) if !server.is_finished() => self.hub.show(frame),
            _ => Err(Error::other("the HTTP server has ended")),
        }
    }

    fn forget(&mut self) {
        self.hub.forget();
    }
}

impl Drop for HttpSink {
    fn drop(&mut self) {
        self.hub.end();
        if let Some(server) = self.server.take() {
            // It ends within server::GRACE; if it panicked, that was said.
            let _ = server.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (at, host, ip) in [("127.0.0.1:80", "127.0.0.1", "127.0.0.1:80"), ("[::1]:0", "::1", "[::1]:0")] {
            assert_eq!(resolve(at), Ok((host.into(), vec![ip.parse().unwrap()])));
        }
        for wrong in
            ["", "127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:80/x", "a@127.0.0.1:80"]
        {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }
}
