//! `gst-launch-1.0` as an integrator types it, on real pictures: what the detector finds in them is covered afterwards.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use milkglass::detect::backend::Backend;
use milkglass::detect::{Ensemble, ModelStore};
use milkglass::picture::View;
use milkglass::policy::{BackendChoice, Preset};
use milkglass::source::{Captured, Y4mSource};
use milkglass::{Class, Detection, Detector, FrameSource};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where cargo put the plugin: beside this test's folder.
fn plugins() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let found = [folder.clone(), folder.parent().unwrap().to_owned()];
    found
        .into_iter()
        .find(|dir| dir.join("libgstmilkglass.so").exists())
        .expect("cargo builds the plugin first")
}

fn launch(dir: &Path, description: &str) -> Output {
    Command::new("gst-launch-1.0")
        .args(["-m"])
        .args(description.split_whitespace())
        .current_dir(dir)
        .env("GST_PLUGIN_PATH", plugins())
        .env("GST_REGISTRY", dir.join("registry.bin"))
        .env("MILKGLASS_MODELS", root().join("models"))
        .output()
        .expect("gst-launch-1.0 is there (gstreamer1.0-tools)")
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every frame of a Y4M file, shown one after the other.
fn frames(path: &Path, mut look: impl FnMut(u32, &View<'_>)) -> u32 {
    let mut source = Y4mSource::open(BufReader::new(File::open(path).unwrap()), false).unwrap();
    let pool = milkglass::frame::FramePool::new(source.format().unwrap(), 3);
    let zones =
        milkglass::Policy::builder().hide(Class::Face, milkglass::policy::Style::default()).build().unwrap();
    let mut engine = milkglass::engine::Engine::new(zones, pool.clone(), &[Class::Face]).unwrap();
    let mut n = 0;
    while let Captured::Frame(frame) = source.capture(&pool).unwrap() {
        let now = frame.meta().captured;
        engine.push(frame, now).unwrap();
        let job = engine.next_job().unwrap();
        look(n, &job.view());
        engine.observe(job, Ok(Vec::new()));
        while engine.release(now).is_some() {}
        n += 1;
    }
    n
}

#[test]
fn faces_of_a_real_clip_are_covered() {
    let dir = scratch("launch-clip");
    let clip = root().join("examples/people.mp4");
    let description = format!(
        "filesrc location={} ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=I420,width=640,height=360 ! tee name=t \
         t. ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! y4menc ! filesink location=raw.y4m \
         t. ! queue ! milkglass preset=fast backend=rten ! y4menc ! filesink location=redacted.y4m",
        clip.display()
    );
    let ran = launch(&dir, &description);
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}: {said}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("milkglass-state") && said.contains("covered"), "{said}");

    let store = ModelStore::new(root().join("models"));
    let backend = Backend::choose(BackendChoice::Rten, 2).unwrap();
    let mut detector = Ensemble::load(&store, &backend, &Preset::Fast.settings(&[Class::Face])).unwrap();
    let mut found: Vec<(u32, Detection)> = Vec::new();
    let raw = frames(&dir.join("raw.y4m"), |n, view| {
        if n % 20 == 0 {
            found.extend(detector.detect(view).unwrap().into_iter().filter(|d| !d.tentative).map(|d| (n, d)));
        }
    });
    assert!(found.len() >= 8, "{} faces", found.len());
    let mut plain = 0;
    let redacted = frames(&dir.join("redacted.y4m"), |n, view| {
        for (_, face) in found.iter().filter(|(at, _)| *at == n) {
            let (w, h) = view.format().size();
            let (x0, x1) = (face.rect.x0().max(0.0) as u32, face.rect.x1().min(w as f32) as u32);
            let (y0, y1) = (face.rect.y0().max(0.0) as u32, face.rect.y1().min(h as f32) as u32);
            for y in y0..y1 {
                let row = &view.row(0, y)[x0 as usize..x1 as usize];
                assert!(row.iter().all(|v| *v == 16), "frame {n}, row {y}: a face is seen");
            }
        }
        plain += usize::from(view.row(0, view.format().height() - 1).iter().any(|v| *v != 16));
    });
    assert_eq!(raw, redacted, "frames out are frames in");
    assert_eq!(plain, redacted as usize, "none is obscured whole");
    for file in ["raw.y4m", "redacted.y4m"] {
        std::fs::remove_file(dir.join(file)).unwrap();
    }
}

#[test]
fn a_live_pipeline_that_keeps_to_the_clock_loses_next_to_nothing() {
    let dir = scratch("launch-live");
    let zones = "faces=\"off\"\n[[zone]]\nname=\"z\"\narea=[[0,0],[1,0],[1,1],[0,1]]\n";
    std::fs::write(dir.join("zones.toml"), zones).unwrap();
    let ran = launch(
        &dir,
        "videotestsrc is-live=true num-buffers=30 pattern=white ! video/x-raw,format=NV12,width=64,height=48,framerate=30/1 \
         ! milkglass policy-file=zones.toml ! tee name=t t. ! queue ! fakesink sync=true t. ! queue ! filesink location=out.nv12",
    );
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let bytes = std::fs::read(dir.join("out.nv12")).unwrap();
    let frame = 64 * 48 * 3 / 2;
    assert_eq!(bytes.len() % frame, 0);
    assert!(bytes.len() / frame >= 25, "{} frames", bytes.len() / frame);
    assert!(bytes.chunks(frame).all(|f| f[..64 * 48].iter().all(|v| *v == 16)), "white was seen");
}

/// The guide's pipeline as it stands, with a test picture in the place of the camera.
#[test]
fn the_pipeline_of_the_guide_records_what_is_redacted() {
    let dir = scratch("launch-guide");
    let guide = std::fs::read_to_string(root().join("docs/INTEGRATING.md")).unwrap();
    let (_, block) = guide.split_once("<!-- run: gst/tests/launch.rs -->\n```sh\ngst-launch-1.0 ").unwrap();
    let (typed, _) = block.split_once("\n```").unwrap();
    assert!(typed.contains("v4l2src") && typed.contains("policy-file=camera.toml"), "{typed}");
    let typed = typed.replace("\\\n", " ");
    let typed = typed.replace("v4l2src", "videotestsrc is-live=true num-buffers=45 pattern=white");
    let left = "faces=\"off\"\n[[zone]]\nname=\"left\"\narea=[[0,0],[0.5,0],[0.5,1],[0,1]]\n";
    std::fs::write(dir.join("camera.toml"), left).unwrap();
    let ran = launch(&dir, &typed);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let decoded = Command::new("ffmpeg")
        .args("-v error -nostdin -i cam.mp4 -vf scale=16:9:flags=area -pix_fmt gray -f rawvideo -".split(' '))
        .current_dir(&dir)
        .output()
        .expect("ffmpeg is there");
    let frames: Vec<&[u8]> = decoded.stdout.chunks_exact(16 * 9).collect();
    assert!(frames.len() >= 10, "{} frames: {}", frames.len(), String::from_utf8_lossy(&decoded.stderr));
    for row in frames.iter().flat_map(|frame| frame.chunks_exact(16)) {
        assert!(row[..7].iter().all(|v| *v < 20) && row[9..].iter().all(|v| *v > 200), "{row:?}");
    }
    std::fs::remove_file(dir.join("cam.mp4")).unwrap();
}

#[test]
fn a_wrong_policy_ends_gst_launch_before_anything_is_written() {
    let dir = scratch("launch-wrong");
    std::fs::write(dir.join("wrong.toml"), "faces = \"of\"\n").unwrap();
    let ran = launch(
        &dir,
        "videotestsrc num-buffers=5 ! milkglass policy-file=wrong.toml ! filesink location=out.raw",
    );
    assert!(!ran.status.success());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("wrong.toml:1:9") && said.contains("did you mean"), "{said}");
    assert_eq!(std::fs::metadata(dir.join("out.raw")).map_or(0, |m| m.len()), 0);
}

#[test]
fn gst_inspect_reads_well() {
    let dir = scratch("inspect");
    let ran = Command::new("gst-inspect-1.0")
        .arg("milkglass")
        .env("GST_PLUGIN_PATH", plugins())
        .env("GST_REGISTRY", dir.join("registry.bin"))
        .output()
        .expect("gst-inspect-1.0 is there (gstreamer1.0-tools)");
    let said = String::from_utf8_lossy(&ran.stdout);
    for part in [
        "Milkglass privacy redactor",
        "privacy-mode",
        "policy-file",
        "NV12, (string)I420, (string)YUY2, (string)RGB",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn valgrind_finds_no_bad_access_and_nothing_lost() {
    let dir = scratch("launch-valgrind");
    let zones = "faces=\"off\"\n[[zone]]\nname=\"z\"\narea=[[0,0],[1,0],[1,1],[0,1]]\n";
    std::fs::write(dir.join("zones.toml"), zones).unwrap();
    // The registry of plugins is made without valgrind, which would take minutes for it.
    assert!(launch(&dir, "fakesrc num-buffers=1 ! fakesink").status.success());
    let description = "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 \
         gst-launch-1.0 -q --no-fault videotestsrc num-buffers=10 is-live=true ! video/x-raw,format=NV12,width=64,height=48 \
         ! milkglass policy-file=zones.toml ! fakesink";
    let ran = Command::new("valgrind")
        .arg(format!("--suppressions={}", root().join("gst/tests/valgrind.supp").display()))
        .args(description.split_whitespace())
        .current_dir(&dir)
        .env("GST_PLUGIN_PATH", plugins())
        .env("GST_REGISTRY", dir.join("registry.bin"))
        .env("GST_REGISTRY_FORK", "no")
        .output()
        .expect("valgrind is there");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
}
