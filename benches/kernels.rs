//! Every case of `milkglass bench`, each checked before it is timed.
//!
//!     cargo bench --package milkglass-benches --bench kernels [-- NAME]
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use milkglass::bench::{InstructionSet, cases};

fn kernels(criterion: &mut Criterion) {
    for set in InstructionSet::available() {
        for mut case in cases(set) {
            if let Err(wrong) = case.check() {
                panic!("{} with {}: {wrong}", case.name, set.name());
            }
            criterion.bench_function(&format!("{}/{}", case.name, set.name()), |b| b.iter(|| case.run()));
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
