//! Numbers for pictures that are drawn anew each time.

use crate::error::{Error, Result};

pub(crate) fn from_kernel() -> Result<u64> {
    let bytes = milkglass_common::random().map_err(|e| Error::io("the self-test", e))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Numbers that look random: SplitMix64, so every seed gives another sequence.
pub(crate) struct Draw(pub u64);

impl Draw {
    /// From a seed of the kernel's.
    #[cfg(feature = "models")]
    pub fn from_kernel() -> Result<Draw> {
        from_kernel().map(Draw)
    }

    /// The next one, from `from` to below `to`.
    pub fn between(&mut self, from: f32, to: f32) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        from + (to - from) * ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }
}
