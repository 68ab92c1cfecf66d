//! Every case of `milkglass bench`, and peers that do the same, each checked before it is timed.
//!
//!     cargo bench --package milkglass-benches --bench kernels [-- NAME]
#![allow(missing_docs)]

mod peers;

use criterion::{Criterion, criterion_group, criterion_main};
use milkglass_benches::{InstructionSet, cases};

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

fn others(criterion: &mut Criterion) {
    for (what, sides) in [("pixelate", peers::mosaics()), ("blur", peers::blurs())] {
        for mut side in sides {
            criterion
                .bench_function(&format!("{what}/nv12-200x200/{}", side.name), |b| b.iter(|| (side.run)()));
        }
    }
}

criterion_group!(benches, kernels, others);
criterion_main!(benches);
