//! From a driver's buffer into one of the pool.

use std::io;

use milkglass_parsers::jpeg::Mjpeg;

use super::format::unsupported;
use super::format::{CameraFormat, Negotiated, Rows, copy_rows, is_whole};
use super::sys::{Filled, Stream};
use crate::error::Result;
use crate::frame::{FrameMeta, FramePool, RawFrame};
use crate::picture::FrameFormat;
use crate::source::Captured;

/// How to get the samples out of the driver's memory.
pub(super) enum Picture {
    Rows(Vec<Rows>),
    Jpeg(Box<Mjpeg>),
}

impl Picture {
    pub fn new(negotiated: &Negotiated, format: &FrameFormat, stream: &Stream) -> Result<Picture> {
        if negotiated.camera_format()? == CameraFormat::Mjpeg {
            return Ok(Picture::Jpeg(Box::new(Mjpeg::new(format.size(), stream.capacity(0)))));
        }
        let rows = negotiated.rows(format).map_err(unsupported)?;
        if rows.iter().any(|r| stream.capacity(r.memory) < r.end) {
            return Err(unsupported("its buffers are smaller than a picture".into()));
        }
        Ok(Picture::Rows(rows))
    }

    /// Copies the picture and gives the driver's buffer back. The inner error says why the picture is withheld.
    pub fn take(
        &mut self,
        filled: Filled<'_>,
        meta: FrameMeta,
        pool: &FramePool,
    ) -> io::Result<Result<Captured, String>> {
        if filled.damaged {
            filled.requeue()?;
            return Ok(Err("the driver marked it".into()));
        }
        match self {
            Picture::Rows(rows) => {
                let frame = filled.read(|picture| {
                    is_whole(rows, |i| picture.memory(i)).then(|| {
                        pool.fill(meta, |view| {
                            copy_rows(rows, |i| picture.memory(i), view);
                            Ok(())
                        })
                    })
                });
                filled.requeue()?;
                Ok(match frame {
                    Ok(Some(frame)) => skipped_if_full(frame),
                    Ok(None) => Err("it is cut off".into()),
                    Err(e) => Err(unreadable(&e)),
                })
            }
            Picture::Jpeg(jpeg) => {
                let loaded = filled.read(|picture| jpeg.load(picture.memory(0)));
                filled.requeue()?;
                match loaded {
                    Ok(whole) => {
                        if let Err(why) = whole.and_then(|()| jpeg.decode()) {
                            return Ok(Err(why.to_string()));
                        }
                    }
                    Err(e) => return Ok(Err(unreadable(&e))),
                }
                let frame = pool.fill(meta, |view| {
                    for plane in 0..view.format().planes().len() {
                        let rows = 0..view.format().planes()[plane].height;
                        rows.for_each(|y| jpeg.row(plane, y, view.row_mut(plane, y)));
                    }
                    Ok(())
                });
                Ok(skipped_if_full(frame))
            }
        }
    }
}

fn unreadable(why: &io::Error) -> String {
    format!("its memory cannot be read: {why}")
}

fn skipped_if_full(frame: Result<Option<RawFrame>>) -> Result<Captured, String> {
    frame.map(|f| f.map_or(Captured::Skipped, Captured::Frame)).map_err(|e| e.to_string())
}
