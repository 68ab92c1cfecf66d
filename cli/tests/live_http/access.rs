//! Who may ask, and what everybody is told.

use std::os::unix::fs::PermissionsExt as _;

use crate::camera::{LEFT_HALF, Live, TOKEN, token_file, wait};
use crate::client::{ask, fetch, request};
use crate::common::{milkglass, run};

const ROUTES: [&str; 6] = ["/", "/snapshot.jpg", "/status", "/metrics", "/healthz", "/nothing"];

#[test]
fn every_answer_forbids_storing_framing_guessing_and_foreign_use() {
    let live = Live::start(&[]);
    wait("there is a still", || (fetch(live.address, "/snapshot.jpg").status == 200).then_some(()));
    let foreign = request(live.address, "GET", "/", &[("Host", "evil.example")], "");
    let wrong_method = request(live.address, "DELETE", "/privacy", &[], "");
    assert_eq!((foreign.status, wrong_method.status), (421, 405));
    for answer in ROUTES.iter().map(|path| fetch(live.address, path)).chain([foreign, wrong_method]) {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(fetch(live.address, "/nothing").status, 404);
}

#[test]
fn only_our_own_host_and_origin_may_ask() {
    let live = Live::start(&[]);
    let port = live.address.port();
    let ours = |name: &str| format!("{name}:{port}");
    let get = |headers: &[(&str, &str)]| request(live.address, "GET", "/status", headers, "").status;
    for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]"] {
        assert_eq!(get(&[("Host", &ours(host))]), 200, "{host}");
        assert_eq!(get(&[("Origin", &format!("http://{}", ours(host)))]), 200, "{host}");
    }
    let others =
        [ours("evil.example"), ours("127.0.0.2"), "127.0.0.1".into(), "127.0.0.1:1".into(), "".into()];
    for host in others {
        let refused = request(live.address, "GET", "/status", &[("Host", &host)], "");
        assert_eq!(refused.status, 421, "{host}");
        assert!(refused.text().lines().count() == 1 && refused.text().len() > 20, "{}", refused.text());
    }
    let foreign = [
        "null".into(),
        format!("https://{}", ours("127.0.0.1")),
        "http://127.0.0.1:1".into(),
        "http://evil.example".into(),
    ];
    for origin in foreign {
        assert_eq!(get(&[("Origin", &origin)]), 403, "{origin}");
    }
    // What a page of another origin embeds tells no origin, but this; a link is followed.
    assert_eq!(get(&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]), 403);
    assert_eq!(get(&[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")]), 403);
    assert_eq!(get(&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]), 200);
    assert_eq!(get(&[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "no-cors")]), 200);
    // Two hosts, none, and one in the request line.
    let raw = |text: &str| ask(live.address, text.as_bytes()).map(|r| r.status);
    let host = ours("127.0.0.1");
    assert_eq!(
        raw(&format!("GET /status HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nConnection: close\r\n\r\n")),
        Some(421)
    );
    assert_eq!(raw("GET /status HTTP/1.0\r\n\r\n"), Some(421));
    let absolute =
        format!("GET http://evil.example/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(raw(&absolute), Some(421));
}

#[test]
fn without_a_token_nothing_can_be_changed() {
    let live = Live::start(&[]);
    let refused = request(live.address, "POST", "/privacy", &[], "{\"on\": true}");
    assert!(refused.status == 403 && refused.text().contains("--token-file"), "{refused:?}");
    assert!(fetch(live.address, "/status").text().contains("\"changeable\":false"));
}

#[test]
fn on_loopback_a_change_needs_the_token_and_looking_does_not() {
    let live = Live::with_token("127.0.0.1:0");
    let post = |token: &str, body: &str| {
        request(live.address, "POST", "/privacy", &[("Authorization", token)], body).status
    };
    let right = format!("Bearer {TOKEN}");
    assert_eq!(request(live.address, "POST", "/privacy", &[], "{\"on\":true}").status, 401);
    for wrong in
        ["Bearer", "Bearer x", "Bearer correct-horse-battery-stapl", TOKEN, &format!("Basic {TOKEN}")]
    {
        assert_eq!(post(wrong, "{\"on\":true}"), 401, "{wrong}");
    }
    assert!(fetch(live.address, "/status").text().contains("\"privacy\":false"));
    for body in [
        "",
        "{}",
        "{\"on\":1}",
        "{\"on\":true,\"x\":1}",
        "true",
        &format!("{{\"on\":true}}{}", " ".repeat(2000)),
    ] {
        assert_eq!(post(&right, body), 400, "{body}");
    }
    wait("the pipeline runs", || (post(&right, "{\"on\":true}") == 200).then_some(()));
    assert!(fetch(live.address, "/status").text().contains("\"privacy\":true"));
    // Not even with the token from another origin.
    let foreign = [("Authorization", right.as_str()), ("Origin", "http://evil.example")];
    assert_eq!(request(live.address, "POST", "/privacy", &foreign, "{\"on\":false}").status, 403);
    for path in ROUTES.iter().take(5) {
        assert_eq!(fetch(live.address, path).status, 200, "{path}");
    }
    assert!(!live.said().contains(TOKEN));
}

#[test]
fn beyond_loopback_everything_needs_the_token() {
    let live = Live::with_token("0.0.0.0:0");
    for path in ROUTES.iter().chain(&["/stream.mjpg"]) {
        let refused = fetch(live.address, path);
        assert_eq!((refused.status, refused.header("cache-control")), (401, Some("no-store")), "{path}");
    }
    // The page comes along with the refusal, to ask for the token, and holds nothing.
    assert!(fetch(live.address, "/").text().contains("<dialog"));
    let bearer = format!("Bearer {TOKEN}");
    let with = |headers: &[(&str, &str)], path: &str| request(live.address, "GET", path, headers, "");
    let answers = |headers: &[(&str, &str)]| -> Vec<u16> {
        ["/", "/status", "/metrics", "/nothing"].iter().map(|path| with(headers, path).status).collect()
    };
    assert_eq!(answers(&[("Authorization", &bearer)]), [200, 200, 200, 404]);
    assert_eq!(answers(&[("Authorization", "Bearer wrong-wrong-wrong-wrong")]), [401; 4]);

    let login = |token: &str| request(live.address, "POST", "/login", &[("Authorization", token)], "");
    assert_eq!(login("Bearer wrong-wrong-wrong-wrong").status, 401);
    let cookie = login(&bearer);
    let cookie = cookie.header("set-cookie").unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    assert!(!session.contains(TOKEN) && session.len() > 64, "{session}");
    assert_eq!(answers(&[("Cookie", session)]), [200, 200, 200, 404]);
    assert_eq!(answers(&[("Cookie", &format!("a=b; {session}"))]), [200, 200, 200, 404]);
    assert_eq!(answers(&[("Cookie", &session[..session.len() - 1])]), [401; 4]);
    // A session lets look, not change.
    let change = request(live.address, "POST", "/privacy", &[("Cookie", session)], "{\"on\":true}");
    assert_eq!(change.status, 401);
    // A foreign name is refused here too, with the token or without.
    assert_eq!(with(&[("Host", "evil.example"), ("Authorization", &bearer)], "/status").status, 421);
    assert!(!live.said().contains(TOKEN));
}

#[test]
fn a_bad_token_file_or_address_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = |at: &str, token: Option<(&str, u32)>| {
        let mut command = milkglass();
        command.args(["--quiet", "live", "--to", at, "--from"]).arg(crate::common::shared("start.y4m"));
        command.args(LEFT_HALF).arg("--state-dir").arg(folder.path());
        if let Some((token, mode)) = token {
            let file = token_file(folder.path(), token);
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            command.arg("--token-file").arg(file);
        }
        run(&mut command)
    };
    let clip = crate::common::shared("start.y4m");
    crate::common::ffmpeg(crate::common::words(
        "-f lavfi -i testsrc=s=64x48:d=0.2 -pix_fmt yuv420p {}",
        &[&clip],
    ));
    let loopback = "http://127.0.0.1:0";
    for token in ["", "short", "fifteen-letters", "blanks in the token here", "ünprintable-tökens"] {
        let ran = start(loopback, Some((token, 0o600))).failed(1, &["--token-file", "16 printable"]);
        assert!(token.is_empty() || !ran.err.contains(token), "{}", ran.err);
    }
    for mode in [0o640, 0o604, 0o660] {
        start(loopback, Some((TOKEN, mode))).failed(1, &["--token-file", "chmod 600"]);
    }
    start("http://0.0.0.0:0", None).failed(1, &["http://0.0.0.0:0", "beyond this machine", "--token-file"]);
    let behind = |proxy: &str, token: &[&str]| {
        let mut command = milkglass();
        command.args(["live", "--to", loopback, "--from"]).arg(&clip).args(LEFT_HALF);
        run(command.args(["--trusted-proxy", proxy]).args(token))
    };
    let refused = behind("127.0.0.1", &[]).ended(1);
    assert!(refused.err.contains("--token-file <FILE>"), "{}", refused.err);
    let refused = behind("proxy.example", &["--token-file", "x"]).ended(1);
    assert!(
        refused.err.contains("--trusted-proxy") && refused.err.contains("proxy.example"),
        "{}",
        refused.err
    );
    for wrong in ["http://127.0.0.1", "http://127.0.0.1:99999", "http://127.0.0.1:80/x"] {
        start(wrong, None).failed(1, &[wrong, "http://127.0.0.1:8080"]);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", taken.local_addr().unwrap());
    start(&at, None).failed(1, &[&at, "in use", "choose another port"]);
}
