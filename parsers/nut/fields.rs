//! The numbers and fields that headers are made of.

use std::io::Read;

use super::{Result, crc, invalid};

/// The fields of a packet that was read whole.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn v(&mut self) -> Result<u64> {
        let mut bytes = self.0;
        let value = varint(|| {
            let Some((&first, rest)) = bytes.split_first() else {
                return invalid("a header ends too early");
            };
            bytes = rest;
            Ok(first)
        })?;
        self.0 = bytes;
        Ok(value)
    }

    pub fn s(&mut self) -> Result<i64> {
        let coded = self.v()?;
        let half = (coded / 2) as i64 + i64::from(coded % 2 == 1);
        Ok(if coded % 2 == 1 { half } else { -half })
    }

    pub fn bytes(&mut self, most: u64) -> Result<&'a [u8]> {
        let len = self.v()?;
        if len > most || len > self.0.len() as u64 {
            return invalid(format!("a field of {len} bytes"));
        }
        let (bytes, rest) = self.0.split_at(len as usize);
        self.0 = rest;
        Ok(bytes)
    }

    pub fn timestamp(&mut self, time_bases: &[(u32, u32)]) -> Result<(u64, (u32, u32))> {
        let coded = self.v()?;
        let count = time_bases.len() as u64;
        Ok((coded / count, time_bases[(coded % count) as usize]))
    }
}

/// Bytes of a frame's head with their running checksum.
pub(super) struct Summed<'a, R> {
    pub input: &'a mut R,
    pub crc: u32,
}

impl<R: Read> Summed<'_, R> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.crc = crc(self.crc, &byte);
        Ok(byte[0])
    }

    pub fn v(&mut self) -> Result<u64> {
        varint(|| self.byte())
    }

    pub fn checksum(&mut self, what: &str) -> Result<()> {
        let wanted = self.crc;
        let mut sum = [0; 4];
        self.input.read_exact(&mut sum)?;
        if u32::from_be_bytes(sum) == wanted || cfg!(fuzzing) {
            Ok(())
        } else {
            invalid(format!("{what} has a wrong checksum"))
        }
    }
}

fn varint(mut next: impl FnMut() -> Result<u8>) -> Result<u64> {
    let mut value = 0u64;
    // Nine groups of seven bits, and at most eight bytes of stuffing before them.
    for _ in 0..17 {
        let byte = next()?;
        if value >> 56 != 0 {
            return invalid("a number of more than 63 bits");
        }
        value = value << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    invalid("a number without an end")
}
