//! What leaves the source pad: formats, strides, memory, metadata, times.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as video;
use support::*;

const FORMATS: [video::VideoFormat; 4] =
    [video::VideoFormat::Nv12, video::VideoFormat::I420, video::VideoFormat::Yuy2, video::VideoFormat::Rgb];

#[test]
fn every_format_and_odd_sizes_leave_covered_with_their_times() {
    for format in FORMATS {
        for (width, height) in [(96, 64), (97, 65), (67, 51)] {
            let info = info(format, width, height);
            let element = element(|_| Ok(()));
            let mut h = running(&element, false, &info);
            (0..30).for_each(|n| {
                h.push(frame(&info, n)).unwrap();
            });
            let frames = end(&mut h);
            assert_eq!(frames.len(), 30, "{format} {width}x{height}");
            assert_eq!(count(&frames, &info, Shows::Covered), 30, "{format} {width}x{height}");
            for (n, buffer) in (0..).zip(&frames) {
                assert_eq!(buffer.pts(), Some(gst::ClockTime::from_mseconds(n * 10)));
                assert_eq!(buffer.duration(), Some(gst::ClockTime::from_mseconds(10)));
            }
        }
    }
}

#[test]
fn strides_and_offsets_of_the_input_are_followed_and_what_lies_between_stays_behind() {
    for format in FORMATS {
        let info = info(format, 97, 65);
        let (mut offsets, mut strides, mut at) = (vec![], vec![], 128);
        for (_, _, channels, width, height) in planes(&info) {
            let stride = width * channels + 37;
            offsets.push(at);
            strides.push(stride as i32);
            at += stride * height + 11;
        }
        let element = element(|_| Ok(()));
        let mut h = running(&element, false, &info);
        for n in 0..10 {
            let mut buffer = stamped(picture(&info, &offsets, &strides, at), n);
            let flags = video::VideoFrameFlags::empty();
            video::VideoMeta::add_full(buffer.get_mut().unwrap(), flags, format, 97, 65, &offsets, &strides)
                .unwrap();
            h.push(buffer).unwrap();
        }
        let frames = end(&mut h);
        assert_eq!(count(&frames, &info, Shows::Covered), 10, "{format}");
        // The same pictures without padding give the same frames.
        let plain = support::element(|_| Ok(()));
        let mut h = running(&plain, false, &info);
        (0..10).for_each(|n| {
            h.push(frame(&info, n)).unwrap();
        });
        for (a, b) in frames.iter().zip(end(&mut h)) {
            assert_eq!(*a.map_readable().unwrap(), *b.map_readable().unwrap());
        }
    }
}

#[test]
fn a_second_owner_of_the_input_finds_it_unchanged_and_the_output_elsewhere() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    let kept: Vec<gst::Buffer> = (0..20).map(|n| frame(&info, n)).collect();
    kept.iter().for_each(|b| {
        h.push(b.clone()).unwrap();
    });
    let frames = end(&mut h);
    assert_eq!(count(&frames, &info, Shows::Covered), 20);
    let raw = picture(&info, info.offset(), info.stride(), info.size());
    for buffer in &kept {
        assert_eq!(buffer.map_readable().unwrap().as_slice(), raw);
    }
    let places = |buffers: &[gst::Buffer]| -> Vec<usize> {
        buffers.iter().map(|b| b.map_readable().unwrap().as_ptr() as usize).collect()
    };
    let inputs = places(&kept);
    assert!(places(&frames).iter().all(|place| !inputs.contains(place)));
}

#[test]
fn nothing_of_the_input_hangs_on_the_output() {
    let info = nv12();
    let element = element(|_| Ok(()));
    let mut h = running(&element, false, &info);
    for n in 0..5 {
        let mut buffer = frame(&info, n);
        let parent = frame(&info, n);
        let b = buffer.get_mut().unwrap();
        gst::ParentBufferMeta::add(b, &parent);
        video::VideoRegionOfInterestMeta::add(b, "face", (30, 18, 20, 24));
        let caps = gst::Caps::new_empty_simple("timestamp/x-test");
        gst::ReferenceTimestampMeta::add(b, &caps, gst::ClockTime::ZERO, gst::ClockTime::NONE);
        h.push(buffer).unwrap();
    }
    for buffer in end(&mut h) {
        assert_eq!(buffer.iter_meta::<gst::Meta>().count(), 0);
        assert_eq!(look(&buffer, &info), Shows::Covered);
    }
}

#[test]
fn caps_lose_what_describes_no_picture() {
    let info = nv12();
    let element = element(|_| Ok(()));
    element.set_property_from_str("pace", "wait");
    let mut h = harness(&element);
    let mut caps = info.to_caps().unwrap();
    let secret = frame(&info, 0);
    caps.get_mut().unwrap().structure_mut(0).unwrap().set("streamheader", &secret);
    h.set_src_caps(caps);
    h.push(frame(&info, 0)).unwrap();
    assert_eq!(end(&mut h).len(), 1);
    let out = h.sinkpad().unwrap().current_caps().unwrap();
    let out = out.structure(0).unwrap();
    assert!(!out.has_field("streamheader"), "{out}");
    assert_eq!(out.get::<i32>("width").unwrap(), 96);
    assert!(out.has_field("framerate"));
}

#[test]
fn buffers_that_hold_no_whole_picture_are_skipped() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &info);
        push(&mut h, &info, 0..5);
        for size in [0, 1, info.size() / 2, info.size() - 1] {
            h.push(stamped(vec![MARK; size], 6)).unwrap();
        }
        let mut wrong = stamped(vec![MARK; info.size()], 7);
        let flags = video::VideoFrameFlags::empty();
        // A meta of another size than the caps', which the bytes do not even hold.
        video::VideoMeta::add_full(
            wrong.get_mut().unwrap(),
            flags,
            info.format(),
            48,
            32,
            &[0, 1536],
            &[48, 48],
        )
        .unwrap();
        h.push(wrong).unwrap();
        push(&mut h, &info, 8..15);
        let frames = end(&mut h);
        frames.iter().for_each(|b| {
            look(b, &info);
        });
        assert_eq!(stat(&element, "skipped"), 5, "live {live}");
        assert_eq!(stat(&element, "pushed"), 12);
        assert!(count(&frames, &info, Shows::Covered) > 0, "live {live}");
        assert!(complaints(&element).is_empty());
    }
}

#[test]
fn times_that_stand_still_go_back_or_are_missing_end_nothing() {
    let info = nv12();
    for live in [false, true] {
        let element = element(|_| Ok(()));
        let mut h = running(&element, live, &info);
        for n in 0..40 {
            let mut buffer = frame(&info, n);
            let b = buffer.get_mut().unwrap();
            match n % 8 {
                3 => b.set_pts(gst::ClockTime::NONE),
                5 => b.set_pts(gst::ClockTime::ZERO),
                6 => b.set_pts(gst::ClockTime::from_mseconds(50)),
                _ => {}
            }
            h.push(buffer).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let frames = end(&mut h);
        assert_eq!(stat(&element, "pushed"), 40);
        assert!(count(&frames, &info, Shows::Covered) >= 15, "live {live}");
        assert!(frames.iter().any(|b| b.pts().is_none()), "times are handed on as they are");
    }
}

#[test]
fn a_jump_in_time_is_not_covered_by_what_was_seen_before_it() {
    let info = nv12();
    let element = element(|call| if call == 0 { Ok(()) } else { broken() });
    let mut h = running(&element, false, &info);
    for n in [0, 1, 2, 400, 401, 402] {
        h.push(frame(&info, n)).unwrap();
    }
    let frames = end(&mut h);
    assert_eq!(frames.len(), 6);
    assert_eq!(look(&frames[0], &info), Shows::Covered);
    assert_eq!(count(&frames[3..], &info, Shows::Obscured), 3);
}
