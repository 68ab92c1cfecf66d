//! `milkglass.h` is what cbindgen makes of the code, and every name in it is documented.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in ["lib.rs", "types.rs", "detector.rs", "logging.rs"] {
        builder = builder.with_src(root.join(file));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

/// MILKGLASS_BLESS=1 writes it anew.
#[test]
fn the_header_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("milkglass.h");
    let header = generated();
    if std::env::var_os("MILKGLASS_BLESS").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(header == committed, "capi/milkglass.h is not up to date: run this test with MILKGLASS_BLESS=1");
}

#[test]
fn every_name_is_documented() {
    let header = generated();
    let lines: Vec<&str> = header.lines().map(str::trim).collect();
    let mut names = 0;
    for pair in lines.windows(2) {
        let declares = pair[1].starts_with("#define MILKGLASS_")
            && pair[1].contains(' ')
            && pair[1] != "#define MILKGLASS_H"
            || pair[1].starts_with("enum milkglass_status milkglass_")
            || pair[1].starts_with("milkglass_status milkglass_")
            || pair[1].starts_with("const char *milkglass_")
            || (pair[1].starts_with("typedef ") && !pair[0].starts_with('#'))
            || pair[1].starts_with("MILKGLASS_") && pair[1].contains(" = ");
        if declares {
            names += 1;
            assert!(pair[0].starts_with("//"), "undocumented: {}", pair[1]);
        }
    }
    assert!(names > 40, "only {names} names were looked at:\n{header}");
}
