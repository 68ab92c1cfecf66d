//! Errors say of which kind they are, about what, and what lies below: no program has to read their text.
#![allow(clippy::unwrap_used, missing_docs)]

use std::error::Error as _;

use milkglass::error::{DetectorKind, SourceKind};
use milkglass::frame::FramePool;
use milkglass::picture::{PixelFormat, View};
use milkglass::policy::{PolicyError, Polygon, Style};
use milkglass::source::{Captured, Y4mSource};
use milkglass::{Class, Detection, Detector, Error, FrameFormat, FrameSource, Pipeline, Policy, Result};

/// What an integrator's driver says.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the NPU is asleep")]
struct Asleep;

struct Npu;

impl Detector for Npu {
    fn classes(&self) -> &[Class] {
        &[Class::Face]
    }
    fn detect(&mut self, _: &View<'_>) -> Result<Vec<Detection>> {
        Err(Error::doing("waking the NPU", Asleep))
    }
}

struct Silent;

impl FrameSource for Silent {
    fn capture(&mut self, _: &FramePool) -> Result<Captured> {
        Err(Error::other(Asleep))
    }
}

fn policy() -> Policy {
    Policy::builder().hide(Class::Face, Style::default()).build().unwrap()
}

fn format() -> FrameFormat {
    FrameFormat::new(PixelFormat::Nv12, 64, 48).unwrap()
}

/// The causes of an error, from the nearest to the last.
fn causes(e: &Error) -> Vec<&(dyn std::error::Error + 'static)> {
    std::iter::successors(e.source(), |e| (*e).source()).collect()
}

#[test]
fn what_an_integrator_says_arrives_as_it_was_said() {
    let refused = Pipeline::builder(policy(), format(), Silent).detector(Npu).start().err().unwrap();
    let Error::Detector(detector) = &refused else { panic!("{refused}") };
    assert_eq!(detector.kind(), DetectorKind::Own);
    assert!(refused.to_string().ends_with("covers nothing: waking the NPU: the NPU is asleep"), "{refused}");
    assert!(causes(&refused).iter().any(|cause| cause.downcast_ref() == Some(&Asleep)), "{refused:?}");

    let area = Polygon::new([(0.0, 0.0), (0.5, 0.0), (0.5, 1.0)]).unwrap();
    let zone = milkglass::policy::Zone::new("z", area, Style::default()).unwrap();
    let zones = Policy::builder().zone(zone).build().unwrap();
    let failed = Pipeline::builder(zones, format(), Silent).start().unwrap().wait().unwrap_err();
    assert!(failed.to_string().starts_with("the NPU is asleep; "), "{failed}");
    assert!(causes(&failed).iter().any(|cause| cause.downcast_ref() == Some(&Asleep)), "{failed:?}");
}

#[test]
fn a_stream_that_is_none_is_no_damaged_frame() {
    let error = Y4mSource::open(&b"GIF89a\n"[..], false).err().unwrap();
    let Error::Source(source) = &error else { panic!("{error}") };
    assert_eq!(source.kind(), SourceKind::Stream);
    assert!(!error.to_string().contains("frame"), "{error}");
}

#[test]
fn corners_without_an_area_are_a_mistake_in_the_policy() {
    let error: Error = Polygon::new([(0.0, 0.0), (1.0, 1.0)]).unwrap_err().into();
    assert!(matches!(&error, Error::Policy(PolicyError::Area(_))), "{error}");
}

#[test]
#[cfg(feature = "models")]
fn a_model_error_names_the_model_and_what_is_wrong_with_it() {
    use milkglass::detect::ModelStore;
    use milkglass::error::ModelKind;
    use std::io;
    let dir = tempfile::tempdir().unwrap();
    let store = ModelStore::new(dir.path());
    let part = |e: Error| match e {
        Error::Model(e) => e,
        other => panic!("{other}"),
    };
    let missing = part(store.manifest("yunet").unwrap_err());
    assert_eq!((missing.kind(), missing.subject()), (ModelKind::Missing, Some("yunet")));
    let cause = missing.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);

    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/models/yunet.toml");
    std::fs::copy(real, dir.path().join("yunet.toml")).unwrap();
    let manifest = store.manifest("yunet").unwrap();
    assert_eq!(part(store.read(&manifest).unwrap_err()).kind(), ModelKind::Missing);
    std::fs::write(dir.path().join(&manifest.file), b"another network").unwrap();
    let altered = part(store.read(&manifest).unwrap_err());
    assert_eq!((altered.kind(), altered.subject()), (ModelKind::Altered, Some("yunet")));
    std::fs::write(dir.path().join("yunet.toml"), "name = 7").unwrap();
    assert_eq!(part(store.manifest("yunet").unwrap_err()).kind(), ModelKind::Manifest);
}

#[test]
#[cfg(feature = "evidence")]
fn an_evidence_error_tells_folder_from_key_and_what_the_system_said() {
    use milkglass::error::EvidenceKind;
    use milkglass::evidence::{EvidenceLog, EvidenceSettings, Identity, device_key};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("device.key");
    let key = device_key(&path).unwrap();
    std::fs::write(&path, "no key").unwrap();
    let part = |e: Error| match e {
        Error::Evidence(e) => e,
        other => panic!("{other}"),
    };
    assert_eq!(part(device_key(&path).unwrap_err()).kind(), EvidenceKind::Key);
    // A file stands where the folder should be.
    let settings = EvidenceSettings::new(&path, key, Identity::new("test", "rules", &[]));
    let folder = part(EvidenceLog::open(settings).err().unwrap());
    assert_eq!((folder.kind(), folder.subject()), (EvidenceKind::Folder, path.to_str()));
    assert!(folder.source().unwrap().is::<std::io::Error>());
}

#[test]
#[cfg(feature = "ring")]
fn a_ring_of_too_few_slots_is_told_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let error = milkglass::sink::RingSink::open(dir.path().join("ring"), &format(), 1).err().unwrap();
    assert!(
        matches!(&error, Error::Sink(e) if e.kind() == milkglass::error::SinkKind::Unsupported),
        "{error}"
    );
}
