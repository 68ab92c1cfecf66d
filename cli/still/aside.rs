//! What else than EXIF may tell which way up a still is: XMP, and the texts in which some programs keep EXIF or XMP in a PNG.
//!
//! Some viewers follow these and others do not. So they are never followed here, and a picture that they turn in another way
//! than its EXIF is refused: one kind of viewer would show lying what the detector saw upright.

use std::io;

use super::exif::{Exif, PngChunk};

/// Texts are not longer than this when they are unpacked: EXIF of 1 MiB as hexadecimal digits, with room.
const LONGEST: usize = 4 << 20;
/// No more texts than this are unpacked; real files have one or two.
const MOST: usize = 16;

/// What is told beside EXIF proper.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Orientations, 1 to 8.
    pub ways: Vec<u8>,
    /// EXIF in texts.
    pub exif: Vec<Exif>,
    texts: usize,
}

impl Aside {
    /// Takes in a packet of XMP: an attribute or an element of this name, whatever stands for its namespace, in bytes or in
    /// pairs of them.
    pub fn add_xmp(&mut self, xml: &[u8]) {
        const NAME: &[u8] = b":Orientation";
        let xml: Vec<u8> = xml.iter().copied().filter(|byte| *byte != 0).collect();
        let after = |at: usize| xml[at + NAME.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
        for at in xml.windows(NAME.len()).enumerate().filter(|(_, w)| *w == NAME).map(|(at, _)| at) {
            let mut rest = after(at);
            let begins = match rest.next() {
                Some(b'>') => true,
                Some(b'=') => matches!(rest.next(), Some(b'"' | b'\'')),
                _ => false,
            };
            if let (true, Some(way @ b'1'..=b'8'), Some(b'"' | b'\'' | b'<')) =
                (begins, rest.next(), rest.next())
            {
                self.ways.push(way - b'0');
            }
        }
    }

    /// Takes in a segment of a JPEG.
    pub fn add_segment(&mut self, marker: u8, content: &[u8]) {
        if let (0xe1, Some(xml)) = (marker, content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")) {
            self.add_xmp(xml);
        }
    }

    /// Takes in a chunk of a PNG.
    ///
    /// # Errors
    /// For a text that may tell something and cannot be read.
    pub fn add_chunk(&mut self, chunk: &PngChunk) -> io::Result<()> {
        let Some((keyword, text)) = text_of(chunk) else { return Ok(()) };
        let profile = keyword.strip_prefix(b"Raw profile type ");
        let told = match profile {
            Some(kind) => {
                [&b"exif"[..], b"APP1", b"xmp"].iter().any(|known| kind.eq_ignore_ascii_case(known))
            }
            None => keyword == b"XML:com.adobe.xmp",
        };
        if !told {
            return Ok(());
        }
        self.texts += 1;
        let text = match text {
            Text::Plain(text) => Some(text.to_vec()),
            Text::Packed(bytes) => {
                miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(bytes, LONGEST).ok()
            }
        };
        let text = text.filter(|text| self.texts <= MOST && text.len() <= LONGEST).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a text in it that may turn the picture is damaged or too long",
            )
        })?;
        if profile.is_none() {
            self.add_xmp(&text);
            return Ok(());
        }
        // Its name and its length, each on a line, then digits.
        let digits = text.trim_ascii_start().splitn(3, |byte| *byte == b'\n').nth(2).unwrap_or_default();
        let digits: Vec<u8> = digits
            .iter()
            .filter_map(|digit| char::from(*digit).to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
        let exif = Exif::read(&bytes);
        self.ways.extend(exif.orientation);
        self.exif.push(exif);
        self.add_xmp(&bytes);
        Ok(())
    }
}

enum Text<'a> {
    Plain(&'a [u8]),
    Packed(&'a [u8]),
}

/// Keyword and text of a PNG's chunk of text, of whichever of the three kinds.
fn text_of(chunk: &PngChunk) -> Option<(&[u8], Text<'_>)> {
    let up_to_zero = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0);
    let content = &chunk.content;
    let end = up_to_zero(content)?;
    let (keyword, rest) = (&content[..end], &content[end + 1..]);
    let text = match &chunk.kind {
        b"tEXt" => Text::Plain(rest),
        b"zTXt" => Text::Packed(rest.get(1..)?),
        b"iTXt" => {
            let (packed, rest) = (*rest.first()? != 0, rest.get(2..)?);
            let rest = &rest[up_to_zero(rest)? + 1..];
            let rest = &rest[up_to_zero(rest)? + 1..];
            if packed { Text::Packed(rest) } else { Text::Plain(rest) }
        }
        _ => return None,
    };
    Some((keyword, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever follows a keyword that is looked at, it ends in an answer.
        #[test]
        fn rubbish_is_read_or_refused(
            kind in prop::sample::select(vec![*b"tEXt", *b"zTXt", *b"iTXt", *b"eXIf"]),
            keyword in prop::sample::select(vec!["", "Raw profile type exif\0", "Raw profile type xmp\0\0", "XML:com.adobe.xmp\0"]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
            packed in any::<bool>(),
        ) {
            let rest = if packed { miniz_oxide::deflate::compress_to_vec_zlib(&rest, 1) } else { rest };
            let mut aside = Aside::default();
            let _ = aside.add_chunk(&PngChunk { kind, content: [keyword.as_bytes(), &rest].concat() });
            aside.add_xmp(&rest);
            prop_assert!(aside.ways.iter().all(|way| (1..=8).contains(way)));
        }
    }

    #[test]
    fn xmp_tells_it_as_an_attribute_and_as_an_element() {
        let told = |xml: &str| {
            let mut aside = Aside::default();
            aside.add_xmp(xml.as_bytes());
            let mut wide = Aside::default();
            wide.add_xmp(&xml.bytes().flat_map(|byte| [0, byte]).collect::<Vec<_>>());
            assert_eq!(aside.ways, wide.ways);
            aside.ways
        };
        assert_eq!(told(r#"<rdf:Description tiff:Orientation="6" tiff:Make="x">"#), [6]);
        assert_eq!(told("<a:Orientation>\n 8 </a:Orientation> <b tiff:Orientation = '3'/>"), [8, 3]);
        for nothing in
            ["", ":Orientation", r#"t:Orientation="9""#, r#"t:Orientation="12""#, r#"t:OrientationX="6""#]
        {
            assert_eq!(told(nothing), [0; 0], "{nothing}");
        }
    }
}
