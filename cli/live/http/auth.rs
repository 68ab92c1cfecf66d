//! Who may ask for what: the names that this server goes by, the token, and the session that is made from it.
//!
//! A page of another origin must neither show the picture nor steer privacy mode, although the browser that it runs in can
//! reach this server. So every request has to name this server as `Host` (a foreign name that was made to point here is
//! refused), and one that tells its origin has to come from here.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use milkglass_common::{hex, random, same};
use sha2::{Digest as _, Sha256};

use crate::outcome::Failure;

/// The shortest token, in characters.
const SHORTEST: usize = 16;
/// The longest; nothing longer is read.
const LONGEST: u64 = 1024;

/// Why a request was refused: status and one line.
pub type Refusal = (StatusCode, &'static str);

/// The owner's token. Kept as a salted hash, so that neither a log nor a comparison's time can tell it.
pub struct Token {
    salt: [u8; 32],
    digest: [u8; 32],
    /// What a browser's cookie holds.
    session: String,
}

impl Token {
    /// Reads the token of `--token-file`.
    ///
    /// # Errors
    /// The file cannot be read, can be read by others, or holds less than [`SHORTEST`] printable characters.
    pub fn read(path: &Path) -> Result<Token, Failure> {
        let token = read_secret(path)?;
        let refuse = |why: String| Failure::new(format!("--token-file {}: {why}", path.display()));
        let salt = random().map_err(|e| refuse(e.to_string()))?;
        let digest = hash(&salt, "token", &token);
        let session = hex(hash(&salt, "session", &token));
        Ok(Token { salt, digest, session })
    }

    /// Whether the request carries the token itself.
    pub fn is_borne(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let borne = value.and_then(|v| v.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
        borne.is_some_and(|(_, token)| same(&hash(&self.salt, "token", token.trim()), &self.digest))
    }

    /// Whether the request carries the token or the cookie of a session.
    pub fn admits(&self, headers: &HeaderMap, port: u16) -> bool {
        let name = cookie_name(port);
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let pairs = cookies.flat_map(|v| v.split(';')).filter_map(|p| p.trim().split_once('='));
        let alike = |given: &str| {
            same(&hash(&self.salt, "cookie", given), &hash(&self.salt, "cookie", &self.session))
        };
        let session = pairs.filter(|(n, _)| *n == name).any(|(_, given)| alike(given));
        session || self.is_borne(headers)
    }

    /// The cookie that a browser is given for the token. It lets look, not change, and ends with this program: the salt is
    /// drawn anew at every start.
    pub fn cookie(&self, port: u16) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie_name(port), self.session)
    }
}

/// Cookies do not know ports: two cameras of one machine would log each other out.
fn cookie_name(port: u16) -> String {
    format!("milkglass-{port}")
}

fn hash(salt: &[u8; 32], purpose: &str, text: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(text)
        .finalize()
        .into()
}

/// The names that this server goes by.
#[derive(Clone, Debug)]
pub struct Names {
    /// The host as the owner wrote it in `--to`, in lower case and without brackets.
    pub written: String,
}

impl Names {
    /// Checks where a request wants to go and where it comes from; `local` is the address that it came in at.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
        let foreign = (
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not go by that name; use the address that milkglass printed at its start",
        );
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(foreign) };
        let named = |text: &str| text.parse().is_ok_and(|a| self.are_ours(&a, local));
        if !host.to_str().is_ok_and(named) || !uri.authority().is_none_or(|a| self.are_ours(a, local)) {
            return Err(foreign);
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            if !origin.is_some_and(named) {
                return Err((StatusCode::FORBIDDEN, "pages of another origin may not use this server"));
            }
        }
        // What a browser fetches for a page of another origin, such as <img>, tells no Origin, but this. A link is fine.
        let told = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let embedded = !matches!(told("sec-fetch-site"), "" | "same-origin" | "none");
        if embedded && told("sec-fetch-mode") != "navigate" {
            return Err((
                StatusCode::FORBIDDEN,
                "pages of another origin may not embed this server's pictures",
            ));
        }
        Ok(())
    }

    fn are_ours(&self, authority: &Authority, local: SocketAddr) -> bool {
        let host = authority.host().to_ascii_lowercase();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if authority.as_str().contains('@') || authority.port_u16().unwrap_or(80) != local.port() {
            return false;
        }
        let ip = local.ip().to_canonical();
        match host.parse::<IpAddr>() {
            Ok(named) if named == ip => true,
            Ok(named) => {
                ip.is_loopback()
                    && [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)].contains(&named)
            }
            Err(_) => host == self.written || (ip.is_loopback() && host == "localhost"),
        }
    }
}

/// The one line of `--token-file`: the token of the page, and the password of the RTSP server.
///
/// # Errors
/// The file cannot be read, can be read by others, or holds less than [`SHORTEST`] printable characters.
pub fn read_secret(path: &Path) -> Result<String, Failure> {
    let refuse = |why: String| Failure::new(format!("--token-file {}: {why}", path.display()));
    let io = |e: std::io::Error| refuse(e.to_string());
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(refuse("others can read it; run chmod 600 on it".into()));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(io)?;
    let token = text.trim();
    if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refuse(format!(
            "a token has at least {SHORTEST} printable characters and no blanks; make one with \
             `openssl rand -hex 24`"
        )));
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_goes_by_its_address_and_on_loopback_by_localhost() {
        let names = Names { written: "camera.example".into() };
        let ours = |text: &str, local: &str| names.are_ours(&text.parse().unwrap(), local.parse().unwrap());
        for good in
            ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "camera.example:8080"]
        {
            assert!(ours(good, "127.0.0.1:8080"), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:8080",
            "localhost.:8080",
            "evil:8080",
            "me@localhost:8080",
        ] {
            assert!(!ours(bad, "127.0.0.1:8080"), "{bad}");
        }
        assert!(ours("192.0.2.7:8080", "192.0.2.7:8080") && ours("192.0.2.7", "192.0.2.7:80"));
        assert!(ours("192.0.2.7:8080", "[::ffff:192.0.2.7]:8080"));
        for bad in ["localhost:8080", "127.0.0.1:8080", "192.0.2.8:8080"] {
            assert!(!ours(bad, "192.0.2.7:8080"), "{bad}");
        }
    }
}
