//! NUT, the container on the pipes to and from `ffmpeg`: one video stream, exact timestamps.
//!
//! Raw pipes carry no timestamps, so a clip of variable frame rate would lose its timing; NUT is the one container
//! with exact time bases that every `ffmpeg` reads and writes on a pipe. What is implemented is the part of the
//! public NUT specification (version 3) that a single raw video stream needs.
//!
//! The reader takes its bytes from a decoder that may have been taken over by the clip it decodes. Every length is
//! checked against a bound before it is used, nothing is allocated from a size in the stream, and whatever does not
//! fit is an error that says what it was. A fuzzer cannot guess checksums, so they alone are not compared when it is at
//! work (`--cfg fuzzing`).

mod fields;
mod reader;
mod writer;

use std::io;

pub use reader::Reader;
pub use writer::Writer;

const FILE_ID: &[u8] = b"nut/multimedia container\0";
const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;
const INFO: u64 = 0x4E49_AB68_B596_BA78;

/// Frame flags, as numbered by the specification.
mod flag {
    pub const KEY: u64 = 1;
    pub const EOR: u64 = 2;
    pub const CODED_PTS: u64 = 8;
    pub const STREAM_ID: u64 = 16;
    pub const SIZE_MSB: u64 = 32;
    pub const CHECKSUM: u64 = 64;
    pub const RESERVED: u64 = 128;
    pub const HEADER_IDX: u64 = 1024;
    pub const MATCH_TIME: u64 = 2048;
    pub const CODED: u64 = 4096;
    pub const INVALID: u64 = 8192;
}

/// Why a NUT stream could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NutError {
    /// The pipe failed or ended inside a packet.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not the NUT stream they should be.
    #[error("{0}")]
    Invalid(String),
}

type Result<T> = std::result::Result<T, NutError>;

fn invalid<T>(what: impl Into<String>) -> Result<T> {
    Err(NutError::Invalid(what.into()))
}

/// The one video stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoStream {
    /// Picture width in pixels, 1..=65535.
    pub width: u32,
    /// Picture height in pixels, 1..=65535.
    pub height: u32,
    /// Length of a timestamp tick in seconds, as numerator and denominator, both non-zero and below 2^31.
    pub time_base: (u32, u32),
    /// Shape of a pixel, width to height; `(0, 0)` when unknown.
    pub sample_aspect_ratio: (u32, u32),
    /// Average rate in frames per second as numerator and denominator; a hint for encoders, not stored by the reader.
    pub frame_rate: Option<(u32, u32)>,
    /// The four characters that name the pixel layout (`I420`).
    pub fourcc: [u8; 4],
}

/// Head of a frame whose `len` bytes follow in [`Reader::read_exact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Presentation time in ticks of the stream's time base, never negative.
    pub pts: i64,
    /// Bytes of the frame.
    pub len: u64,
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04C1_1DB7 } else { sum << 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, &byte| sum << 8 ^ CRC_TABLE[usize::from((sum >> 24) as u8 ^ byte)])
}
