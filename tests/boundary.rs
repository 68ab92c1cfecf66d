//! The boundary, as the compiler sees it: programs that lead a raw picture around the redactor do not compile. The messages
//! kept beside them say why each fails. All are only checked, so no dependency is built a second time for them.
//!
//! New messages of a new compiler: `TRYBUILD=overwrite cargo test --test boundary`, and read what changed.

// Checked in the build without models alone, where it takes a fraction of the time: the boundary is the same code.
#[cfg(not(feature = "models"))]
#[test]
fn programs_that_must_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/boundary/no_*.rs");
}
