//! Privacy masks as a camera's XML has them: what is taken from them is a policy that reads, and makes masks again.
#![no_main]

// These need nothing else of the command, which would take minutes to compile.
#[path = "../../cli/policy/onvif.rs"]
mod onvif;

use libfuzzer_sys::fuzz_target;
use milkglass::PolicyFile;

/// The command's way to fail, as far as masks need it.
mod outcome {
    #[derive(Debug)]
    pub struct Failure(#[allow(dead_code)] pub String);

    impl Failure {
        pub fn new(message: impl Into<String>) -> Failure {
            Failure(message.into())
        }
    }

    impl From<milkglass::PolicyError> for Failure {
        fn from(e: milkglass::PolicyError) -> Failure {
            Failure(e.to_string())
        }
    }
}

fuzz_target!(|xml: &str| {
    if xml.len() as u64 > onvif::MAX_BYTES {
        return;
    }
    let Ok(text) = onvif::from_onvif(xml) else { return };
    let file = PolicyFile::parse(&text, "masks").expect("what masks say is a policy");
    assert!(!file.zones.is_empty());
    file.check().expect("and one that is accepted");
    let again = onvif::to_onvif(&file).expect("masks hide no outsides");
    assert_eq!(again.matches("<tr2:Masks ").count(), file.zones.len(), "{again}");
});
