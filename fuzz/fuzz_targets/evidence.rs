//! A log and a checkpoint that claim to be a device's: whatever they hold, they are verified to the end. Signatures count as
//! good here, so that records of every content are reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milkglass::evidence::verify;

fuzz_target!(|data: &[u8]| {
    // Parts end with a zero byte: a checkpoint, then files.
    let mut parts = data.split(|b| *b == 0);
    let checkpoint = parts.next().map(|c| String::from_utf8_lossy(c).into_owned());
    let files: Vec<(String, Vec<u8>)> =
        parts.take(4).enumerate().map(|(n, bytes)| (format!("{n}.log"), bytes.to_vec())).collect();
    for checkpoint in [None, checkpoint.as_deref()] {
        if let Ok(report) = verify(&files, None, checkpoint) {
            for finding in &report.findings {
                assert!(!finding.to_string().is_empty());
            }
            for note in &report.notes {
                assert!(!note.to_string().is_empty());
            }
        }
    }
});
