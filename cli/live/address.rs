//! Addresses of servers that frames are sent to, and what of them nobody may read.

use percent_encoding::percent_decode_str;
use url::{Position, Url};

use crate::outcome::Failure;

/// Refuses an address in which the end of a password cannot be told: what follows it would be taken for a host, and be shown.
pub fn check(scheme: &str, address: &str) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(format!("--to {scheme}://...: {why}")));
    let escapes = "write / ? # in a password as %2F %3F %23, and @ in a path as %40";
    if address.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return refuse("there are blanks in it: write them as %20".into());
    }
    match Url::parse(address) {
        // What a browser cannot read, such as an interface behind an address of IPv6, may be read by ffmpeg.
        Err(e) if address.contains(['@', '?', '#']) => refuse(format!("{e}; {escapes}")),
        // A passphrase of SRT stands behind a question mark, and may have one.
        Ok(url) if scheme != "srt" && !has_user(&url) && url[Position::BeforePath..].contains('@') => {
            refuse(format!("an @ follows the end of the host: {escapes}"))
        }
        _ => Ok(()),
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// An address without user, password and query, which may hold keys, and without an RTMP stream key. The name of a file is
/// shown as it is.
pub fn without_secrets(address: &str) -> String {
    let Some((scheme, _)) = address.split_once("://") else { return address.into() };
    let Ok(mut url) = Url::parse(address) else { return format!("{scheme}://...") };
    let path = match stream_key(&url) {
        Some(key) => format!("{}...", &url.path()[..url.path().len() - key.len()]),
        None => url.path().to_owned(),
    };
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    // They fail where there is no host, and so no user.
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    url.into()
}

/// What follows the name of the application in an RTMP address: whoever knows it can publish.
fn stream_key(url: &Url) -> Option<&str> {
    let path = url.path().strip_prefix('/').filter(|_| url.scheme().starts_with("rtmp"))?;
    path.split_once('/').map(|(_, key)| key).filter(|key| !key.is_empty())
}

/// What of an address must not be repeated.
pub struct Secrets {
    address: String,
    shown: String,
    /// As they stand in the address; `None` when it cannot be taken apart.
    parts: Option<Vec<String>>,
}

impl Secrets {
    /// Of the name of a file: none.
    pub fn of(address: &str) -> Secrets {
        let shown = without_secrets(address);
        let parts = match Url::parse(address) {
            _ if !address.contains("://") => Some(Vec::new()),
            Ok(url) => Some(parts(&url)),
            Err(_) => None,
        };
        Secrets { address: address.into(), shown, parts }
    }

    /// A line of somebody else's, with the address as it may be shown; nothing of it when it holds a part that may not.
    pub fn clean(&self, words: &str) -> String {
        let plain = words.replace(&self.address, &self.shown);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let said = decoded(&plain);
        let told = |part: &String| plain.contains(part) || said.contains(&decoded(part));
        match &self.parts {
            Some(parts) if !parts.iter().any(told) => plain,
            _ => "ffmpeg failed; its message is not shown, for it holds a part of the address".into(),
        }
    }
}

fn parts(url: &Url) -> Vec<String> {
    let query = url.query().unwrap_or_default();
    let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    // Three letters are a mode or a number, and would be found in every message.
    let values = values.filter(|value| value.len() > 3);
    let user = url.password().filter(|word| !word.is_empty()).unwrap_or(url.username());
    let rest = [user, query, url.fragment().unwrap_or_default(), stream_key(url).unwrap_or_default()];
    rest.into_iter().chain(values).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_says_is_shown_without_secrets() {
        let said = |address: &str, words: &str| Secrets::of(address).clean(words);
        let address = "rtsp://me:p%40ss^1@host:8554/cam?token=abcd";
        assert_eq!(
            said(address, &format!("{address}: Connection refused")),
            "rtsp://host:8554/cam: Connection refused"
        );
        for leak in ["auth me:p%40ss^1 failed", "wrong password p@ss^1", "p%40ss%5E1", "?token=abcd", "abcd"]
        {
            let shown = said(address, leak);
            assert!(
                shown.contains("not shown") && !shown.contains("ss^") && !shown.contains("abcd"),
                "{shown}"
            );
        }
        let key = "rtmp://live.host/app/k-e-y?more=1";
        assert_eq!(said(key, "Connection timed out"), "Connection timed out");
        assert!(said(key, "cannot publish k-e-y").contains("not shown"));
        assert!(said("rtsp://token@host/cam", "token: 401").contains("not shown"));
        // Nobody can tell what of it is secret.
        assert!(said("rtmp://[fe80::1%eth0]/app/key", "key: refused").contains("not shown"));
        assert_eq!(said("cam.mp4", "cam.mp4: no space"), "cam.mp4: no space");
    }

    #[test]
    fn an_address_is_shown_without_what_opens_doors() {
        for (address, shown) in [
            ("rtsp://me:secret@[2001:db8::1]:8554/cam#secret", "rtsp://[2001:db8::1]:8554/cam"),
            ("rtmp://host", "rtmp://host"),
            ("rtmp://host/app", "rtmp://host/app"),
            ("rtmps://host/live2/secret/secret?more=secret", "rtmps://host/live2/..."),
            ("rtmp://[fe80::1%eth0]/app/secret", "rtmp://..."),
            ("folder/cam@home.mp4", "folder/cam@home.mp4"),
        ] {
            assert_eq!(without_secrets(address), shown);
        }
        assert!(check("rtsp", "rtsp://[fe80::1%eth0]/cam").is_ok());
        for wrong in ["rtsp://me:se cret@host/", "rtsp://me:1/secret@host/cam", "rtsp://me:se\tcret@host/x"] {
            let refused = check("rtsp", wrong).unwrap_err().to_string();
            assert!(!refused.contains("cret@") && refused.contains('%'), "{refused}");
        }
    }
}
