//! What several parts need and a mistake in is costly, once for all: [`keys`], [`random`] bytes, [`files`] that appear whole,
//! comparison of secrets ([`same`]), [`hex`]adecimal, and [`Seldom`], for lines of the log that would otherwise come too often.

pub mod files;
mod hexadecimal;
#[cfg(feature = "keys")]
pub mod keys;
mod seldom;

pub use hexadecimal::{hex, unhex};
pub use seldom::Seldom;

use std::io;

use subtle::ConstantTimeEq as _;

/// Random bytes of the kernel's, fit for keys. Waits where a machine has just started and has none yet.
///
/// # Errors
/// The kernel has no such call.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let (mut bytes, mut filled) = ([0; N], 0);
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(io::Error::new(io::Error::from(e).kind(), format!("random numbers: {e}"))),
        }
    }
    Ok(bytes)
}

/// Whether two secrets are the same, in a time that tells nothing of where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_not_the_same_twice_and_secrets_are_compared_whole() {
        let (a, b) = (random::<300>().unwrap(), random::<300>().unwrap());
        assert!(a != b && a[280..] != [0; 20]);
        let mut other = a;
        assert!(same(&a, &other));
        other[299] ^= 1;
        assert!(!same(&a, &other) && !same(&a, &a[..299]));
    }
}
