//! Faults played on the element: whatever fails, hangs, panics or is slow, no marked byte leaves. Every test also asks for
//! frames that leave, since leaving none would pass otherwise.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use support::*;

#[test]
fn a_detector_that_fails_lets_only_obscured_frames_out() {
    let info = nv12();
    for live in [false, true] {
        let measuring = if live { MEASURING } else { 0 };
        let element = element(move |call| if call < measuring { Ok(()) } else { broken() });
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..80);
        let frames = end(&mut h);
        assert!(frames.len() >= 70, "live {live}: {}", frames.len());
        assert_eq!(count(&frames, &info, Shows::Obscured), frames.len());
        assert!(stat(&element, "detector-errors") > 0);
        assert_eq!(stat(&element, "covered"), 0);
    }
}

#[test]
fn a_detector_that_hangs_obscures_in_time_and_recovers() {
    let info = nv12();
    let element = element(|call| {
        if call == MEASURING + 5 {
            std::thread::sleep(Duration::from_millis(900));
        }
        Ok(())
    });
    let mut h = running(&element, true, &info);
    let hang = Instant::now();
    push(&mut h, &info, 0..75);
    // The detector is still away, and frames leave all the same.
    let meanwhile = take(&mut h, Duration::from_millis(30));
    assert!(hang.elapsed() < Duration::from_millis(1500), "the source was held up");
    assert!(count(&meanwhile, &info, Shows::Obscured) >= 5, "{}", meanwhile.len());
    push(&mut h, &info, 75..200);
    let frames = end(&mut h);
    assert!(count(&frames, &info, Shows::Covered) >= 20, "did not recover");
    let states: Vec<String> = messages(&element)
        .iter()
        .filter_map(|m| m.structure().filter(|s| s.name() == "milkglass-state")?.get("state").ok())
        .collect();
    assert!(states.iter().any(|s| s == "degraded") && states.iter().any(|s| s == "covered"), "{states:?}");
}

#[test]
fn a_detector_that_panics_ends_the_stream_with_an_error() {
    let info = nv12();
    // Frames of a file wait for those of the next second.
    for (live, calls, frames) in [(false, 50, 220), (true, MEASURING + 8, 60)] {
        let element = element(move |call| {
            assert!(call < calls, "scripted");
            Ok(())
        });
        let mut h = running(&element, live, &info);
        let mut refused = 0;
        for n in 0..frames {
            refused += u64::from(h.push(frame(&info, n)).is_err());
            std::thread::sleep(Duration::from_millis(if live { 10 } else { 0 }));
        }
        assert!(refused > 20, "live {live}: {refused}");
        let left = take(&mut h, Duration::from_millis(100));
        left.iter().for_each(|b| {
            look(b, &info);
        });
        assert!(!left.is_empty() && (left.len() as u64) < frames, "live {live}: {}", left.len());
        let said = complaints(&element);
        assert!(said.iter().any(|s| s.contains("panicked") || s.contains("Panicked")), "{said:?}");
    }
}

#[test]
fn a_detector_that_fails_while_it_is_measured_is_told_with_the_first_frame() {
    let info = nv12();
    let element = element(|_| broken());
    let mut h = running(&element, true, &info);
    assert_eq!(h.push(frame(&info, 0)), Err(gst::FlowError::Error));
    assert!(take(&mut h, Duration::from_millis(50)).is_empty());
    assert!(complaints(&element)[0].contains("broken"));
}

#[test]
fn downstream_that_stalls_holds_up_neither_the_source_nor_what_obscures() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, true, &info);
    // The harness's own pad blocks the task: nothing is taken before it may go on.
    let pad = h.sinkpad().unwrap();
    let block =
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BLOCK, |_, _| gst::PadProbeReturn::Ok);
    let start = Instant::now();
    push(&mut h, &info, 0..150);
    assert!(start.elapsed() < Duration::from_secs(4), "the source was held up");
    pad.remove_probe(block.unwrap());
    let frames = end(&mut h);
    assert!(stat(&element, "missed") > 0);
    assert_eq!(stat(&element, "pushed"), 150);
    assert!(count(&frames, &info, Shows::Covered) > 10);
    assert!(frames.iter().any(|b| b.flags().contains(gst::BufferFlags::DISCONT)), "a gap is told");
}

#[test]
fn downstream_that_wants_no_more_is_told_upstream() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    h.push(frame(&info, 0)).unwrap();
    h.sinkpad().unwrap().add_probe(gst::PadProbeType::BUFFER, |_, info| {
        info.flow_res = Err(gst::FlowError::Eos);
        gst::PadProbeReturn::Handled
    });
    let mut n = 1;
    let start = Instant::now();
    let told = loop {
        match h.push(frame(&info, n)) {
            Ok(_) => n += 1,
            Err(why) => break why,
        }
        assert!(start.elapsed() < Duration::from_secs(10), "never told");
    };
    assert_eq!(told, gst::FlowError::Eos);
}

#[test]
fn frames_that_come_too_fast_for_a_live_stream_are_skipped_and_counted() {
    let info = nv12();
    let element = element(|_| {
        std::thread::sleep(Duration::from_millis(60));
        Ok(())
    });
    let mut h = running(&element, true, &info);
    let start = Instant::now();
    (0..3000).for_each(|n| {
        h.push(frame(&info, n)).unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(3), "it waited");
    let frames = end(&mut h);
    frames.iter().for_each(|b| {
        look(b, &info);
    });
    assert!(stat(&element, "skipped") > 1000, "{}", stat(&element, "skipped"));
    assert!(!frames.is_empty());
}

#[test]
fn a_stop_in_the_middle_of_a_detection_shows_nothing_more() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|call| {
            if call > MEASURING {
                std::thread::sleep(Duration::from_millis(40));
            }
            Ok(())
        });
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..20);
        element.set_state(gst::State::Null).unwrap();
        let left = take(&mut h, Duration::from_millis(20));
        left.iter().for_each(|b| {
            look(b, &info);
        });
        assert!(take(&mut h, Duration::from_millis(300)).is_empty(), "live {live}");
        assert_eq!(element.property::<String>("state"), "stopped");
    }
}
