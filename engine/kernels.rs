//! Which instruction set the loops over pixels use: chosen once, at the first frame.
//!
//! The plain loops are the oracle: every other set gives the same numbers, to the bit.

use std::sync::OnceLock;

/// A set of instructions that loops are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Plain Rust, for every processor.
    Scalar,
    /// x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AArch64, every one of which has it.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl InstructionSet {
    /// Those that this processor has, the plain one first.
    pub fn available() -> Vec<InstructionSet> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut all = vec![InstructionSet::Scalar];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            all.push(InstructionSet::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        all.push(InstructionSet::Neon);
        all
    }

    /// The one in use: the best there is, or the one that `MILKGLASS_KERNELS` names.
    pub fn chosen() -> InstructionSet {
        static CHOSEN: OnceLock<InstructionSet> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let available = Self::available();
            let best = available.last().copied().unwrap_or(InstructionSet::Scalar);
            let Ok(asked) = std::env::var("MILKGLASS_KERNELS") else { return best };
            let named = available.iter().find(|set| set.name() == asked);
            named.copied().unwrap_or_else(|| {
                let names: Vec<_> = available.iter().map(|set| set.name()).collect();
                log::warn!("MILKGLASS_KERNELS={asked} is not one of {}: not heeded", names.join(", "));
                best
            })
        })
    }

    /// Its name, as in `MILKGLASS_KERNELS`.
    pub fn name(self) -> &'static str {
        match self {
            InstructionSet::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => "neon",
        }
    }
}
