//! The metrics, read as Prometheus reads them.

use std::collections::BTreeMap;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::camera::{Live, wait};
use crate::client::fetch;

/// Reads the text format (version 0.0.4); panics where Prometheus would refuse it.
fn parse(text: &str) -> BTreeMap<String, (String, BTreeMap<String, f64>)> {
    let name_is_good = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut families = BTreeMap::new();
    let mut family = String::new();
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(name_is_good(name) && name.starts_with("milkglass_") && words.ends_with('.'), "{line}");
            family = name.into();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == family && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(
                families.insert(family.clone(), (kind.into(), BTreeMap::new())).is_none(),
                "{name} comes twice"
            );
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) =
                series.split_once('{').map_or((series, ""), |(n, l)| (n, l.strip_suffix('}').unwrap()));
            assert_eq!(name, family, "{line}");
            for label in labels.split_terminator(',') {
                let (label, text) = label.split_once('=').unwrap();
                assert!(
                    name_is_good(label) && text.len() > 2 && text.starts_with('"') && text.ends_with('"'),
                    "{line}"
                );
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let values: &mut (String, BTreeMap<String, f64>) = families.get_mut(name).unwrap();
            assert!(values.1.insert(labels.into(), value).is_none(), "{line} comes twice");
        }
    }
    families
}

#[test]
fn metrics_are_what_prometheus_reads_and_what_happens() {
    let live = Live::start(&["--max-gap", "300ms"]);
    let scrape = || {
        let answer = fetch(live.address, "/metrics");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        parse(answer.text())
    };
    let value = |name: &str, labels: &str| scrape()[&format!("milkglass_{name}")].1[labels];
    wait("frames leave", || (value("frames_total", "outcome=\"covered\"") >= 20.0).then_some(()));
    wait("the rate is known", || (value("frame_rate_hertz", "") > 1.0).then_some(()));
    let all = scrape();
    for (family, (_, values)) in &all {
        assert!(!values.is_empty(), "{family} has no value");
    }
    let states = &all["milkglass_state"].1;
    assert_eq!(states.len(), 7);
    assert_eq!(states.values().sum::<f64>(), 1.0, "{states:?}");
    assert_eq!(states["state=\"covered\""], 1.0, "{states:?}");
    assert_eq!(value("worst_case_exposure_seconds", ""), 0.3);
    assert_eq!(value("ladder_level", ""), 0.0);
    assert!(value("latency_seconds", "") < 60.0);
    for name in
        ["frames_skipped_total", "target_frames_dropped_total", "targets_lost_total", "detection_seconds"]
    {
        assert!(value(name, "") >= 0.0, "{name}");
    }
    assert!(!all.contains_key("milkglass_camera_connected"), "there is no camera, but a pipe");
    assert!(!all.contains_key("milkglass_ring_consumers"), "there is no ring");
    // Counters count up.
    let before = value("frames_received_total", "");
    wait("more frames come", || (value("frames_received_total", "") > before).then_some(()));
}

#[test]
fn a_ring_is_told_with_who_takes_from_it_and_what_they_lose() {
    /// Frames that one consumer may have, of the ring's eight.
    const CREDIT: f64 = 6.0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cam.sock");
    let live = Live::start(&["--to", &format!("ring:{}", path.display())]);
    let figures = || {
        let all = parse(fetch(live.address, "/metrics").text());
        ["consumers", "frames_held", "frames_lost_total"].map(|n| all[&format!("milkglass_ring_{n}")].1[""])
    };
    assert_eq!(figures(), [0.0; 3]);
    // One who never releases anything.
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let lost = wait("it loses frames", || Some(figures()).filter(|f| f[2] >= 3.0));
    assert_eq!(lost[..2], [1.0, CREDIT]);
    drop(socket);
    let gone = wait("it is gone", || Some(figures()).filter(|f| f[0] == 0.0));
    assert!(gone[1] == 0.0 && gone[2] >= lost[2], "{gone:?} after {lost:?}");
}
