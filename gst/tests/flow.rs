//! Events, queries, states and properties: in order, and nothing with them that could show somebody.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use support::*;

#[test]
fn at_the_end_every_frame_is_out_before_the_end_is() {
    let info = nv12();
    for (live, frames) in [(false, 300), (true, 60)] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &info);
        (0..frames).for_each(|n| {
            h.push(frame(&info, n)).unwrap();
            if live {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let out = end(&mut h);
        let skipped = stat(&element, "skipped") + stat(&element, "missed");
        assert_eq!(out.len() as u64 + skipped, frames, "live {live}");
        assert!(live || skipped == 0, "a file's frames are all kept");
        let least = if live { frames as usize / 2 } else { frames as usize };
        assert!(count(&out, &info, Shows::Covered) >= least, "live {live}");
        let times: Vec<_> = out.iter().map(|b| b.pts()).collect();
        assert!(times.is_sorted());
        assert_eq!(h.push(frame(&info, frames)), Err(gst::FlowError::Eos));
    }
}

#[test]
fn upstream_of_a_file_waits_for_downstream() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    let pad = h.sinkpad().unwrap();
    let block =
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BLOCK, |_, _| gst::PadProbeReturn::Ok);
    let src = h.srcpad().unwrap();
    let pusher = std::thread::spawn({
        let info = info.clone();
        move || (0..400).filter(|n| src.push(frame(&info, *n)).is_ok()).count()
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(!pusher.is_finished(), "400 frames went somewhere");
    pad.remove_probe(block.unwrap());
    assert_eq!(pusher.join().unwrap(), 400);
    assert_eq!(count(&end(&mut h), &info, Shows::Covered), 400);
}

#[test]
fn a_flush_leaves_nothing_of_before_and_the_stream_goes_on() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..30);
        assert!(h.push_event(gst::event::FlushStart::new()));
        assert_eq!(h.push(frame(&info, 30)), Err(gst::FlowError::Flushing));
        assert!(h.push_event(gst::event::FlushStop::new(true)));
        take(&mut h, Duration::from_millis(20));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(h.push_event(gst::event::Segment::new(&segment)));
        push(&mut h, &info, 1000..1050);
        let frames = end(&mut h);
        let first = gst::ClockTime::from_mseconds(10_000);
        assert!(frames.iter().all(|b| b.pts().unwrap() >= first), "live {live}: a frame of before the flush");
        assert!(count(&frames, &info, Shows::Covered) >= 20, "live {live}");
        assert!(live || frames.len() == 50);
    }
}

/// Upstream does not send them again. Without them large frames would go out as small ones.
#[test]
fn new_caps_that_wait_for_downstream_outlive_a_flush() {
    let (small, large) = (nv12(), info(video::VideoFormat::I420, 160, 121));
    // They wait behind a frame that downstream does not take; or are on their way to it themselves.
    for kind in [gst::PadProbeType::BUFFER, gst::PadProbeType::EVENT_DOWNSTREAM] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, true, &small);
        push(&mut h, &small, 0..10);
        let pad = h.sinkpad().unwrap();
        let (stuck, is_stuck) = std::sync::mpsc::channel();
        let block = pad.add_probe(kind | gst::PadProbeType::BLOCK, move |_, info| {
            let other = info.event().is_some_and(|event| event.type_() != gst::EventType::Caps);
            if other {
                return gst::PadProbeReturn::Pass;
            }
            let _ = stuck.send(());
            gst::PadProbeReturn::Ok
        });
        push(&mut h, &small, 10..20);
        assert!(h.push_event(gst::event::Caps::new(&large.to_caps().unwrap())));
        is_stuck.recv_timeout(Duration::from_secs(20)).expect("something is held up");
        assert!(h.push_event(gst::event::FlushStart::new()));
        pad.remove_probe(block.unwrap());
        assert!(h.push_event(gst::event::FlushStop::new(true)));
        take(&mut h, Duration::from_millis(20));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(h.push_event(gst::event::Segment::new(&segment)));
        push(&mut h, &large, 1000..1030);
        let frames = end(&mut h);
        assert!(count(&frames, &large, Shows::Covered) >= 10, "{kind:?}");
        let caps = pad.current_caps().unwrap();
        assert_eq!(caps.structure(0).unwrap().get::<i32>("width").unwrap(), 160, "{kind:?}");
    }
}

#[test]
fn new_caps_come_after_the_old_frames_and_before_the_new_ones() {
    let (small, large) = (nv12(), info(video::VideoFormat::I420, 160, 121));
    for live in [false, true] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &small);
        push(&mut h, &small, 0..30);
        assert!(h.push_event(gst::event::Caps::new(&large.to_caps().unwrap())));
        push(&mut h, &large, 30..60);
        let frames = end(&mut h);
        let split = frames.iter().position(|b| b.size() != small.size()).unwrap();
        let (before, after) = frames.split_at(split);
        assert!(count(before, &small, Shows::Covered) >= 15, "live {live}");
        assert!(count(after, &large, Shows::Covered) >= 10, "live {live}");
        assert!(live || (before.len(), after.len()) == (30, 30));
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        assert_eq!(caps.structure(0).unwrap().get::<i32>("width").unwrap(), 160);
        assert_eq!(stat(&element, "pushed"), 60, "counters go on");
    }
}

#[test]
fn the_same_caps_again_and_formats_that_there_are_none_of() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    push(&mut h, &info, 0..5);
    assert!(h.push_event(gst::event::Caps::new(&info.to_caps().unwrap())));
    push(&mut h, &info, 5..10);
    let gray = support::info(video::VideoFormat::Gray8, 96, 64);
    h.push_event(gst::event::Caps::new(&gray.to_caps().unwrap()));
    assert_eq!(h.push(stamped(vec![MARK; gray.size()], 10)), Err(gst::FlowError::NotNegotiated));
    h.push_event(gst::event::Caps::new(&info.to_caps().unwrap()));
    assert_eq!(count(&end(&mut h), &info, Shows::Covered), 10);
}

#[test]
fn events_keep_their_place_among_the_frames() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &info);
        let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = std::sync::Arc::clone(&order);
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        h.sinkpad().unwrap().add_probe(kinds, move |_, probe| {
            match &probe.data {
                Some(gst::PadProbeData::Buffer(b)) => seen.lock().unwrap().push(b.pts().unwrap().mseconds()),
                Some(gst::PadProbeData::Event(e)) if e.type_() == gst::EventType::Gap => {
                    seen.lock().unwrap().push(7777)
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        push(&mut h, &info, 0..20);
        assert!(h.push_event(gst::event::Gap::builder(gst::ClockTime::from_mseconds(200)).build()));
        push(&mut h, &info, 21..40);
        end(&mut h);
        let order = order.lock().unwrap().clone();
        let gap = order.iter().position(|t| *t == 7777).unwrap();
        assert!(gap > 0 && order[..gap].iter().all(|t| *t < 200), "live {live}: {order:?}");
        assert!(order[gap + 1..].iter().all(|t| *t > 200) && order.len() > gap + 5, "live {live}: {order:?}");
    }
}

/// An event that waits for a frame must not overtake it while it is still being copied.
#[test]
fn an_event_behind_every_frame_costs_none() {
    let info = info(video::VideoFormat::Nv12, 1920, 1080);
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    let bytes = vec![BACK; info.size()];
    for n in 0..150 {
        h.push(stamped(bytes.clone(), n)).unwrap();
        assert!(h.push_event(gst::event::Gap::builder(gst::ClockTime::from_mseconds(n * 10)).build()));
    }
    let out = end(&mut h).len() as u64;
    assert_eq!((out, stat(&element, "skipped"), stat(&element, "missed")), (150, 0, 0));
}

#[test]
fn tags_and_events_that_may_hold_pictures_stay_behind() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    h.push(frame(&info, 0)).unwrap();
    let sample = gst::Sample::builder().buffer(&frame(&info, 0)).build();
    let mut tags = gst::TagList::new();
    {
        let tags = tags.get_mut().unwrap();
        tags.add::<gst::tags::PreviewImage>(&sample, gst::TagMergeMode::Append);
        tags.add::<gst::tags::GeoLocationName>(&"at home", gst::TagMergeMode::Append);
        tags.add::<gst::tags::ImageOrientation>(&"rotate-180", gst::TagMergeMode::Append);
    }
    assert!(h.push_event(gst::event::Tag::new(tags)));
    let secret = gst::Structure::builder("secret").field("buffer", frame(&info, 0)).build();
    assert!(h.push_event(gst::event::CustomDownstream::new(secret.clone())));
    assert!(h.push_event(gst::event::CustomDownstreamOob::new(secret.clone())));
    assert!(h.push_event(gst::event::CustomDownstreamSticky::new(secret)));
    let key = video::DownstreamForceKeyUnitEvent::builder().all_headers(true).build();
    assert!(h.push_event(key));
    h.push(frame(&info, 1)).unwrap();
    assert!(h.push_event(gst::event::Eos::new()));
    let mut seen = Vec::new();
    let start = std::time::Instant::now();
    while !seen.iter().any(|e: &gst::Event| e.type_() == gst::EventType::Eos) {
        seen.extend(events(&mut h));
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(2));
    }
    let tags: Vec<gst::TagList> = seen
        .iter()
        .filter_map(|e| match e.view() {
            gst::EventView::Tag(t) => Some(t.tag_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(tags.len(), 1);
    assert_eq!(tags[0].n_tags(), 1, "{tags:?}");
    assert!(!seen.iter().any(|e| e.has_name("secret")));
    assert!(seen.iter().any(|e| e.has_name("GstForceKeyUnit")));
}

#[test]
fn latency_is_the_deadline_and_a_message_says_when_it_changes() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, true, &info);
    h.set_upstream_latency(gst::ClockTime::from_mseconds(7));
    push(&mut h, &info, 0..3);
    assert_eq!(h.query_latency(), Some(gst::ClockTime::from_mseconds(507)));
    assert!(messages(&element).iter().any(|m| m.type_() == gst::MessageType::Latency));
    assert_eq!(stat(&element, "deadline"), 500_000_000);
}

#[test]
fn upstream_gets_no_memory_of_downstreams() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, true, &info);
    push(&mut h, &info, 0..2);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&asked);
    h.sinkpad().unwrap().add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, probe| {
        if let Some(gst::PadProbeData::Query(q)) = &probe.data
            && q.type_() == gst::QueryType::Allocation
        {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        gst::PadProbeReturn::Ok
    });
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), true);
    assert!(h.srcpad().unwrap().peer_query(&mut query));
    assert_eq!(query.allocation_pools().len(), 0);
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn privacy_mode_from_the_start_and_switched_while_it_runs() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|_| Ok(()));
        element.set_property("privacy-mode", true);
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..30);
        let first = take(&mut h, Duration::from_millis(60));
        assert_eq!(count(&first, &info, Shows::Covered), 0, "live {live}");
        element.set_property("privacy-mode", false);
        push(&mut h, &info, 30..90);
        let second = take(&mut h, Duration::from_millis(60));
        if live {
            assert!(count(&second, &info, Shows::Covered) > 10);
        }
        let boundary = gst::ClockTime::from_mseconds(300);
        let early = second.iter().filter(|b| b.pts().unwrap() < boundary);
        assert!(early.into_iter().all(|b| look(b, &info) == Shows::Obscured), "taken in during privacy mode");
        element.set_property("privacy-mode", true);
        // What was on its way to the pad already.
        let leaving = usize::from(h.buffers_in_queue() > 0);
        push(&mut h, &info, 90..120);
        let third = end(&mut h);
        assert!(count(&third, &info, Shows::Covered) <= leaving, "live {live}");
        assert!(count(&third, &info, Shows::Obscured) >= 20, "live {live}");
    }
}

/// docs/THREAT-MODEL.md, "Memory that outlives its use".
#[test]
fn a_detector_is_told_to_forget_in_privacy_mode_and_at_the_end() {
    let info = nv12();
    for live in [false, true] {
        let (element, forgot) = element_that_forgets(|_| Ok(()));
        let forgot = || forgot.load(std::sync::atomic::Ordering::SeqCst);
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..30);
        assert_eq!(forgot(), 0, "live {live}: forgotten while there are pictures");
        element.set_property("privacy-mode", true);
        let end = std::time::Instant::now() + Duration::from_secs(20);
        for n in 30.. {
            if forgot() > 0 {
                break;
            }
            assert!(std::time::Instant::now() < end, "live {live}: it keeps the last picture");
            push(&mut h, &info, n..n + 1);
        }
        let before = forgot();
        element.set_property("privacy-mode", false);
        push(&mut h, &info, 5000..5030);
        self::end(&mut h);
        assert!(forgot() > before, "live {live}: it keeps the last picture after the end");
    }
}

#[test]
fn privacy_mode_keeps_the_stream_alive_without_frames() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, true, &info);
    push(&mut h, &info, 0..20);
    element.set_property("privacy-mode", true);
    take(&mut h, Duration::from_millis(100));
    let alive: Vec<gst::Buffer> = (0..2).map(|_| h.pull().unwrap()).collect();
    assert_eq!(count(&alive, &info, Shows::Obscured), 2);
    assert!(alive[0].pts().unwrap() > gst::ClockTime::from_mseconds(200), "{:?}", alive[0].pts());
}

#[test]
fn a_policy_is_exchanged_while_it_runs_and_a_broken_one_is_refused() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    (0..5).for_each(|n| {
        h.push(frame(&info, n)).unwrap();
    });
    // The corner that the tests look at.
    let zone = "[[zone]]\nname = \"corner\"\narea = [[0.0, 0.5], [0.3, 0.5], [0.3, 1.0], [0.0, 1.0]]\n";
    element.set_property("policy", format!("{POLICY}{zone}"));
    assert!(complaints(&element).is_empty());
    element.set_property("policy", "faces = \"of\"");
    let said = complaints(&element);
    assert!(
        said.len() == 1 && said[0].contains("did you mean \"off\"") && said[0].contains("old policy"),
        "{said:?}"
    );
    element.set_property("policy", format!("{POLICY}preset = \"fast\"\n"));
    assert!(complaints(&element)[0].contains("preset"));
    let corner = zone.replace("[[zone]]\n", "[[zone]]\nstyle = \"blur\"\n");
    element.set_property("policy", format!("reversible = false\n{POLICY}{corner}"));
    assert!(complaints(&element)[0].contains("reversible = false"));
    (5..10).for_each(|n| {
        h.push(frame(&info, n)).unwrap();
    });
    // All of them still waited, or came later: the zone is in every one.
    assert_eq!(count(&end(&mut h), &info, Shows::Obscured), 10);
    assert!(element.property::<String>("policy").contains("corner"));
}

/// A zone is hidden until somebody says that it is not: a property that is unset or emptied does not say so.
#[test]
fn a_policy_is_not_dropped_for_nothing_and_the_other_kind_takes_its_place() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let zone = "[[zone]]\nname = \"corner\"\narea = [[0.0, 0.5], [0.3, 0.5], [0.3, 1.0], [0.0, 1.0]]\n";
    element.set_property("policy", format!("{POLICY}{zone}"));
    let mut h = running(&element, false, &info);
    push(&mut h, &info, 0..5);
    for nothing in [None, Some(""), Some("# nothing\n")] {
        element.set_property("policy", nothing);
        let said = complaints(&element);
        assert!(
            said.len() == 1 && said[0].contains("says nothing") && said[0].contains("old policy"),
            "{said:?}"
        );
    }
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("gst-nothing");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("camera.toml");
    std::fs::write(&file, "").unwrap();
    let name = file.to_str().unwrap();
    element.set_property("policy-file", name);
    assert!(complaints(&element)[0].contains("says nothing"));
    assert!(element.property::<Option<String>>("policy").is_some(), "it is still the one in force");
    // A whole one takes the place of the text, with no moment between without either.
    std::fs::write(&file, format!("{POLICY}{zone}")).unwrap();
    element.set_property("policy-file", name);
    assert!(complaints(&element).is_empty());
    assert_eq!(element.property::<Option<String>>("policy"), None);
    element.set_property("policy-file", None::<String>);
    assert!(complaints(&element)[0].contains("says nothing"));
    push(&mut h, &info, 5..10);
    assert_eq!(count(&end(&mut h), &info, Shows::Obscured), 10);
}

#[test]
fn pixels_have_the_shape_that_caps_or_the_property_tell() {
    let info = nv12();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shapes = |element: &gstmilkglass::MilkGlass, par: (i32, i32)| {
        seen.lock().unwrap().clear();
        let told = Arc::clone(&seen);
        element.set_detectors(move || Ok(vec![Box::new(Shapes(Arc::clone(&told)))]));
        let mut h = harness(element);
        let info = video::VideoInfo::builder(info.format(), 96, 64).fps(gst::Fraction::new(100, 1));
        h.set_src_caps(info.par(gst::Fraction::new(par.0, par.1)).build().unwrap().to_caps().unwrap());
        push(&mut h, &nv12(), 0..3);
        assert_eq!(end(&mut h).len(), 3);
        element.set_state(gst::State::Null).unwrap();
        seen.lock().unwrap()[0].clone()
    };
    let plain = || {
        let element = element(|_| Ok(()));
        element.set_property_from_str("pace", "wait");
        element
    };
    assert_eq!(shapes(&plain(), (1, 1)), "1:1");
    assert_eq!(shapes(&plain(), (64, 45)), "64:45 1:1", "what is told is doubted");
    assert_eq!(shapes(&plain(), (100, 1)), "1:1", "nobody believes that");
    let own = plain();
    own.set_property("pixel-aspect", gst::Fraction::new(2, 1));
    assert_eq!(shapes(&own, (64, 45)), "2:1");
    let wrong = plain();
    wrong.set_property("pixel-aspect", gst::Fraction::new(1, 9));
    assert!(wrong.set_state(gst::State::Paused).is_err());
    assert!(complaints(&wrong)[0].contains("pixel-aspect"));
    wrong.set_state(gst::State::Null).unwrap();
}

/// Finds nobody, and writes down what it is told of the pixels.
struct Shapes(Arc<Mutex<Vec<String>>>);

impl milkglass::Detector for Shapes {
    fn classes(&self) -> &[milkglass::Class] {
        &[milkglass::Class::Face]
    }

    fn detect(
        &mut self,
        view: &milkglass::picture::View<'_>,
    ) -> milkglass::Result<Vec<milkglass::Detection>> {
        let all: Vec<String> = view.format().pixel_aspects().iter().map(ToString::to_string).collect();
        self.0.lock().unwrap().push(all.join(" "));
        Ok(Vec::new())
    }
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_flows() {
    let refused = |name: &str, value: &str, part: &str| {
        let element = element(|_| Ok(()));
        element.set_property("policy", None::<String>);
        element.set_property(name, value);
        assert!(element.set_state(gst::State::Paused).is_err(), "{name} = {value}");
        let said = complaints(&element);
        assert!(said.len() == 1 && said[0].contains(part), "{name} = {value}: {said:?}");
        element.set_state(gst::State::Null).unwrap();
    };
    refused("policy", "faces = \"of\"", "did you mean");
    refused("policy", "faces = \"off\"", "hide");
    refused("policy", "reversible = false\nfaces = \"pixelate\"", "use fill");
    refused("policy-file", "/nowhere/policy.toml", "/nowhere/policy.toml");
    refused("lock", "/nowhere/lock.toml", "state-dir");
    refused("owner-key", &"0".repeat(64), "state-dir");
    let element = element(|_| Ok(()));
    element.set_property("policy-file", "also.toml");
    assert!(element.set_state(gst::State::Paused).is_err());
    assert!(complaints(&element)[0].contains("set one"));
    element.set_state(gst::State::Null).unwrap();
    let models = gst::ElementFactory::make("milkglass").property("models", "/nowhere").build().unwrap();
    models.set_bus(Some(&gst::Bus::new()));
    assert!(models.set_state(gst::State::Paused).is_err());
    models.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_locked_policy_is_strengthened_by_anybody_and_weakened_by_nobody() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("gst-lock");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let owner = milkglass::lock::OwnerSecretKey::generate().unwrap();
    // The detector of these tests is a script, and untested.
    let untested = [milkglass::lock::Lock::OWN_DETECTOR.into()].into();
    let bound = milkglass::lock::Bound { serial: 1, untested, ..Default::default() };
    let zone = "[[zone]]\nname = \"bed\"\narea = [[0.0, 0.0], [0.1, 0.0], [0.1, 0.1], [0.0, 0.1]]\n";
    let locked = format!("{POLICY}{zone}");
    std::fs::write(dir.join("lock.toml"), milkglass::lock::Lock::sign(&locked, &bound, &owner).unwrap())
        .unwrap();
    let made = |policy: Option<String>, lock: bool| {
        let element = element(|_| Ok(()));
        element.set_property("policy", policy);
        element.set_property("state-dir", dir.to_str().unwrap());
        element.set_property("lock", lock.then(|| dir.join("lock.toml").to_str().unwrap().to_owned()));
        element
    };
    // Without a policy of its own, the lock's.
    let first = made(None, true);
    let info = nv12();
    let mut h = running(&first, false, &info);
    push(&mut h, &info, 0..5);
    assert!(complaints(&first).is_empty());
    first.set_property("policy", format!("{locked}{}", zone.replace("bed", "door").replace("0.1", "0.2")));
    assert!(complaints(&first).is_empty(), "a zone more is stronger");
    first.set_property("policy", POLICY);
    assert!(complaints(&first)[0].contains("bed"));
    // Nor by taking the lock off first.
    for name in ["lock", "state-dir"] {
        first.set_property(name, None::<String>);
    }
    first.set_property("policy", POLICY);
    assert!(complaints(&first)[0].contains("at the start alone"));
    assert_eq!(end(&mut h).len(), 5);
    for (policy, lock) in [(Some(POLICY.to_owned()), true), (None, false), (Some(locked.clone()), true)] {
        let element = made(policy.clone(), lock);
        assert!(element.set_state(gst::State::Paused).is_err(), "{policy:?}, lock {lock}");
        element.set_state(gst::State::Null).unwrap();
    }
}

/// Promises faces, and sees none.
struct Blind;

impl milkglass::Detector for Blind {
    fn classes(&self) -> &[milkglass::Class] {
        &[milkglass::Class::Face]
    }
    fn proof(&self) -> milkglass::detect::Proof {
        milkglass::detect::Proof::Wanted { smallest_face: 12 }
    }
    fn detect(&mut self, _: &milkglass::picture::View<'_>) -> milkglass::Result<Vec<milkglass::Detection>> {
        Ok(Vec::new())
    }
}

/// With the self-test off, and whether upstream waits or not.
#[test]
fn a_blind_detector_lets_no_frame_out() {
    for live in [false, true] {
        let element = element(|_| Ok(()));
        element.set_detectors(|| Ok(vec![Box::new(Blind)]));
        let info = nv12();
        let mut h = running(&element, live, &info);
        assert!(h.push(frame(&info, 0)).is_err(), "live {live}");
        assert!(complaints(&element)[0].contains("not admitted"), "live {live}");
        assert!(h.try_pull().is_none());
    }
}

#[test]
fn another_stream_is_not_turned_as_the_one_before() {
    init();
    let left = "faces = \"off\"\n[[zone]]\nname = \"left\"\narea = [[0.0, 0.0], [0.4, 0.0], [0.4, 1.0], [0.0, 1.0]]\n";
    let info = nv12();
    let element = gst::ElementFactory::make("milkglass").property("policy", left).build().unwrap();
    let element = element.downcast::<gstmilkglass::MilkGlass>().unwrap();
    let mut h = running(&element, false, &info);
    let mut tags = gst::TagList::new();
    let list = tags.get_mut().unwrap();
    list.add::<gst::tags::ImageOrientation>(&"rotate-180", gst::TagMergeMode::Append);
    assert!(h.push_event(gst::event::Tag::new(tags)));
    h.push(frame(&info, 0)).unwrap();
    assert!(h.push_event(gst::event::StreamStart::new("another")));
    assert!(h.push_event(gst::event::Caps::new(&info.to_caps().unwrap())));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    h.push(frame(&info, 1)).unwrap();
    let hidden: Vec<[bool; 2]> = end(&mut h)
        .iter()
        .map(|buffer| {
            let map = buffer.map_readable().unwrap();
            [map[0] != BACK, map[info.width() as usize - 1] != BACK]
        })
        .collect();
    assert_eq!(hidden, [[false, true], [true, false]], "left and right of the stored picture");
}

#[test]
fn a_deadline_that_cannot_hold_is_refused_with_the_first_frame() {
    let info = nv12();
    let element = element(|_| {
        std::thread::sleep(Duration::from_millis(30));
        Ok(())
    });
    element.set_property("policy", "self_test = \"off\"\ndeadline = \"20ms\"\n");
    let mut h = running(&element, true, &info);
    assert_eq!(h.push(frame(&info, 0)), Err(gst::FlowError::Error));
    assert!(take(&mut h, Duration::from_millis(50)).is_empty());
    let said = complaints(&element);
    assert!(said.len() == 1 && said[0].contains("deadline"), "{said:?}");
}

#[test]
fn zones_alone_need_no_detector_and_wait_for_nothing() {
    init();
    let zones = "faces = \"off\"\n[[zone]]\nname = \"all\"\narea = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]\n";
    let info = nv12();
    let element = gst::ElementFactory::make("milkglass").property("policy", zones).build().unwrap();
    let element = element.downcast::<gstmilkglass::MilkGlass>().unwrap();
    let mut h = running(&element, true, &info);
    push(&mut h, &info, 0..10);
    assert_eq!(h.query_latency(), Some(gst::ClockTime::ZERO));
    let frames = end(&mut h);
    assert_eq!(count(&frames, &info, Shows::Obscured), frames.len());
    assert_eq!(frames.len() as u64 + stat(&element, "missed"), 10);
    assert!(frames.len() >= 5);
}

#[test]
fn a_stopped_element_starts_again_with_counters_of_its_own() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    for round in 0..3 {
        push(&mut h, &info, 0..10);
        assert_eq!(count(&end(&mut h), &info, Shows::Covered), 10);
        assert_eq!(stat(&element, "covered"), 10, "round {round}");
        element.set_state(gst::State::Null).unwrap();
        element.set_state(gst::State::Playing).unwrap();
        assert!(h.push_event(gst::event::StreamStart::new("again")));
        assert!(h.push_event(gst::event::Caps::new(&info.to_caps().unwrap())));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(h.push_event(gst::event::Segment::new(&segment)));
    }
}

#[test]
fn covered_frames_that_wait_for_downstream_leave_no_more_in_privacy_mode() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, true, &info);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BLOCK;
    let pad = h.sinkpad().unwrap();
    let block = pad.add_probe(kinds, |_, _| gst::PadProbeReturn::Ok);
    push(&mut h, &info, 0..40);
    assert!(stat(&element, "covered") > 10);
    element.set_property("privacy-mode", true);
    pad.remove_probe(block.unwrap());
    push(&mut h, &info, 40..60);
    let frames = end(&mut h);
    // The one that stood at the pad already.
    assert!(count(&frames, &info, Shows::Covered) <= 1);
    assert!(count(&frames, &info, Shows::Obscured) > 5);
}
