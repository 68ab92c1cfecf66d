//! An HTTP client that can be as rude as a test needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use image::{ImageFormat, RgbImage};

use crate::camera::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as a picture.
    pub fn picture(&self) -> RgbImage {
        image::load_from_memory_with_format(&self.body, ImageFormat::Jpeg).unwrap().into_rgb8()
    }
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// `GET path` as curl would send it.
pub fn fetch(to: SocketAddr, path: &str) -> Reply {
    request(to, "GET", path, &[], "")
}

/// A request with more headers; one of the name `Host` replaces the usual one.
pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text += &format!("Host: {to}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    ask(to, format!("{text}\r\n{body}").as_bytes()).expect("an answer")
}

/// Sends bytes as they are. `None` when the connection ends without an answer.
pub fn ask(to: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let mut stream = connect(to);
    // A server that has refused already may have closed its end.
    let _ = stream.write_all(bytes);
    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader)?;
    let mut reply = Reply { status, headers, body: Vec::new() };
    let length = reply.header("content-length").map(|n| n.parse().unwrap());
    let _ = reader.take(length.unwrap_or(u64::MAX)).read_to_end(&mut reply.body);
    Some(reply)
}

fn head(reader: &mut impl BufRead) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    Some((status, lines(reader)))
}

/// Header lines up to the empty one.
fn lines(reader: &mut impl BufRead) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { return headers };
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
}

/// The pictures of `/stream.mjpg`, as they come; ends when the stream does.
pub struct Pictures {
    body: BufReader<Chunked>,
}

impl Pictures {
    pub fn of(to: SocketAddr) -> Pictures {
        let mut stream = connect(to);
        write!(stream, "GET /stream.mjpg HTTP/1.1\r\nHost: {to}\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = head(&mut reader).unwrap();
        assert_eq!(status, 200);
        let kind = headers.iter().find(|(n, _)| n == "content-type").unwrap();
        assert!(kind.1.starts_with("multipart/x-mixed-replace; boundary=milkglass"), "{kind:?}");
        Pictures { body: BufReader::new(Chunked { inner: reader, left: 0 }) }
    }

    /// The bytes of the next part.
    fn part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut boundary = String::new();
        while boundary.trim().is_empty() {
            boundary.clear();
            if self.body.read_line(&mut boundary)? == 0 {
                return Ok(None);
            }
        }
        assert_eq!(boundary.trim_end(), "--milkglass");
        let headers = lines(&mut self.body);
        // The boundary of a picture that never came.
        let Some((_, length)) = headers.iter().find(|(n, _)| n == "content-length") else { return Ok(None) };
        let mut jpeg = vec![0; length.parse().unwrap()];
        self.body.read_exact(&mut jpeg)?;
        Ok(Some(jpeg))
    }
}

impl Iterator for Pictures {
    /// `None` for a picture that was cut off because it may no longer be shown.
    type Item = Option<RgbImage>;

    fn next(&mut self) -> Option<Self::Item> {
        let jpeg = self.part().ok()??;
        let whole = jpeg.ends_with(&[0xff, 0xd9]);
        let decoded = || image::load_from_memory_with_format(&jpeg, ImageFormat::Jpeg).unwrap().into_rgb8();
        Some(whole.then(decoded))
    }
}

/// A body in chunks, put together.
struct Chunked {
    inner: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.inner.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).unwrap();
        }
        let most = buf.len().min(self.left);
        let read = self.inner.read(&mut buf[..most])?;
        self.left -= read;
        Ok(read)
    }
}

/// Nothing of the picture is left.
pub fn is_blank(picture: &RgbImage) -> bool {
    let first = picture.get_pixel(0, 0);
    picture.pixels().all(|p| p.0.iter().zip(first.0).all(|(a, b)| a.abs_diff(b) <= 6))
}

/// The left half is black, and on the right there is something to see.
#[track_caller]
pub fn left_half_is_hidden(picture: &RgbImage) {
    let half = picture.width() / 2;
    let left = image::imageops::crop_imm(picture, 0, 0, half - 8, picture.height()).to_image();
    assert!(left.pixels().all(|p| p.0.iter().all(|v| *v <= 16)), "something shows in the zone");
    assert!(!is_blank(picture), "nothing shows beside the zone");
}
