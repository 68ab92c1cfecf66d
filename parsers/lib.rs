//! Readers of what strangers write, and writers of the same: streams of raw frames ([`y4m`], [`nut`]), the pictures of MJPEG
//! cameras ([`jpeg`]) and the privacy masks of ONVIF cameras ([`onvif`]).
//!
//! They take bytes or a [`Read`](std::io::Read), open nothing themselves, and know nothing of frames, policies or the engine;
//! so a fuzzer and a test reach them as the program does. Every length is checked before it is used, and what does not fit
//! is an error that says why.

#[cfg(feature = "jpeg")]
pub mod jpeg;
pub mod nut;
#[cfg(feature = "onvif")]
pub mod onvif;
pub mod y4m;
