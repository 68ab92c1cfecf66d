//! What of the picture comes out, and what of it no longer does.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::camera::{Live, TOKEN, wait};
use crate::client::{Pictures, Reply, fetch, is_blank, left_half_is_hidden, request};
use crate::common::{ffmpeg, shared, words};

#[test]
fn ffmpeg_plays_the_stream_and_the_zone_is_hidden_in_every_picture() {
    let live = Live::start(&[]);
    let url = format!("http://{}/stream.mjpg", live.address);
    let args = [
        "-nostdin",
        "-v",
        "error",
        "-i",
        &url,
        "-frames:v",
        "12",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ];
    let played = Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let frames: Vec<&[u8]> = played.stdout.chunks(640 * 360 * 3).collect();
    assert_eq!(frames.len(), 12);
    assert!(frames.windows(2).any(|pair| pair[0] != pair[1]), "the picture does not change");
    for frame in frames {
        left_half_is_hidden(&image::RgbImage::from_raw(640, 360, frame.to_vec()).unwrap());
    }
}

#[test]
fn a_still_has_the_colors_that_ffmpeg_gives_the_same_frame() {
    // The same picture all the time, so that it does not matter which one is taken.
    let (clip, wanted) = (shared("still.y4m"), shared("still.png"));
    ffmpeg(words(
        "-i {} -vf trim=start_frame=12:end_frame=13,scale=640:360 -pix_fmt yuv420p -f yuv4mpegpipe {}",
        &[&crate::common::small(), &clip],
    ));
    ffmpeg(words("-i {} -frames:v 1 -update 1 {}", &[&clip, &wanted]));
    let live =
        Live::of(&clip, "127.0.0.1:0", &["--faces", "off", "--zone", "corner:0,0;0.1,0;0.1,0.1;0,0.1"]);
    let got = still(&live).picture();
    let wanted = image::open(wanted).unwrap().into_rgb8();
    assert_eq!(got.dimensions(), wanted.dimensions());
    let (mut sum, mut count) = (0_u64, 0_u64);
    for (x, y, pixel) in got.enumerate_pixels().filter(|(x, y, _)| *x > 80 || *y > 50) {
        sum +=
            pixel.0.iter().zip(wanted.get_pixel(x, y).0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>();
        count += 3;
    }
    let difference = sum as f64 / count as f64;
    assert!(difference < 3.0, "mean difference {difference:.2}");
}

#[test]
fn a_still_expires_when_the_camera_stops_and_comes_back_with_it() {
    let live = Live::start(&[]);
    left_half_is_hidden(&still(&live).picture());
    assert_eq!(fetch(live.address, "/healthz").status, 200);
    live.freeze(true);
    let frozen = Instant::now();
    let gone =
        wait("the still expires", || Some(fetch(live.address, "/snapshot.jpg")).filter(|r| r.status != 200));
    assert_eq!(gone.status, 503, "{}", gone.text());
    assert!(frozen.elapsed() < Duration::from_secs(20), "{:?}", frozen.elapsed());
    let ill = wait("that is unhealthy", || Some(fetch(live.address, "/healthz")).filter(|r| r.status != 200));
    assert!(ill.status == 503 && ill.text().contains("no camera"), "{}", ill.text());
    live.freeze(false);
    left_half_is_hidden(&still(&live).picture());
    wait("that is healthy", || (fetch(live.address, "/healthz").status == 200).then_some(()));
}

#[test]
fn when_privacy_mode_is_confirmed_no_older_picture_comes_out_of_any_route() {
    let live = Live::with_token("127.0.0.1:0");
    let mut pictures = Pictures::of(live.address);
    left_half_is_hidden(&pictures.by_ref().flatten().next().unwrap());
    let privacy = |on: bool| {
        let bearer = format!("Bearer {TOKEN}");
        let body = format!("{{\"on\": {on}}}");
        request(live.address, "POST", "/privacy", &[("Authorization", &bearer)], &body)
    };
    for _ in 0..2 {
        // Pictures are read all the time, so that none is old merely because it waited here.
        let address = live.address;
        let reader = std::thread::spawn(move || {
            let mut seen: Vec<(Instant, bool)> = Vec::new();
            let mut blank = 0;
            for picture in Pictures::of(address).flatten() {
                blank += usize::from(is_blank(&picture));
                seen.push((Instant::now(), is_blank(&picture)));
                if blank == 20 {
                    break;
                }
            }
            seen
        });
        let on = privacy(true);
        let confirmed = Instant::now();
        assert_eq!((on.status, on.text()), (200, "{\"privacy\":true}"), "{on:?}");
        let at_once = fetch(live.address, "/snapshot.jpg");
        assert!(at_once.status == 503 || is_blank(&at_once.picture()), "an old still came out");
        assert!(live.state.path().join("privacy-").exists(), "confirmed before it was stored");
        let seen = reader.join().unwrap();
        let late = seen.iter().filter(|(at, _)| *at > confirmed + Duration::from_millis(500));
        assert!(
            late.clone().count() > 3 && late.clone().all(|(_, blank)| *blank),
            "a picture shows too late"
        );
        let first = seen.iter().position(|(_, blank)| *blank).unwrap();
        assert!(seen[first..].iter().all(|(_, blank)| *blank), "an old picture came after a blank one");
        // Once more changes nothing.
        assert_eq!(privacy(true).status, 200);
        assert!(is_blank(&still(&live).picture()));
        assert!(fetch(live.address, "/status").text().contains("\"state\":\"privacy\""));
        assert_eq!(fetch(live.address, "/healthz").status, 200);

        assert_eq!(privacy(false).status, 200);
        assert!(!live.state.path().join("privacy-").exists());
        wait("the picture is back", || (!is_blank(&still(&live).picture())).then_some(()));
    }
    // The stream that was open from the start has gone through it all.
    assert!(pictures.flatten().any(|picture| is_blank(&picture)));
}

#[test]
fn privacy_mode_takes_back_the_last_still_of_a_camera_that_stands_still() {
    let live = Live::with_token("127.0.0.1:0");
    let mut pictures = Pictures::of(live.address);
    left_half_is_hidden(&pictures.by_ref().flatten().next().unwrap());
    live.freeze(true);
    let bearer = format!("Bearer {TOKEN}");
    let on = request(live.address, "POST", "/privacy", &[("Authorization", &bearer)], "{\"on\": true}");
    assert_eq!(on.status, 200);
    // No newer frame can have replaced it, and it is younger than two seconds.
    let still = fetch(live.address, "/snapshot.jpg");
    assert!(still.status == 503 || is_blank(&still.picture()), "an old still came out");
}

#[test]
fn the_stream_ends_properly_and_soon_when_milkglass_does() {
    let mut live = Live::start(&[]);
    let mut pictures = Pictures::of(live.address);
    left_half_is_hidden(&pictures.by_ref().flatten().next().unwrap());
    live.signal(Signal::TERM);
    let asked = Instant::now();
    while pictures.next().is_some() {}
    assert_eq!(live.exit_code(), 0, "{}", live.said());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

/// The newest still, once there is one.
fn still(live: &Live) -> Reply {
    wait("there is a still", || Some(fetch(live.address, "/snapshot.jpg")).filter(|r| r.status == 200))
}
