//! Privacy masks of ONVIF's Media2 service, and the zones of a policy file that say the same.
//!
//! A mask has a token, a polygon from -1 to 1 whose y axis points up, a type (`Color`, `Pixelated` or `Blurred`), a colour
//! and a switch; a zone has the same under other names, from 0 to 1 with y pointing down. A zone always acts on every
//! stream of its camera, as a mask with `SourceMask = true` does.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

/// Larger answers are none of a camera.
pub const MAX_BYTES: u64 = 1 << 20;
const RGB: &str = "http://www.onvif.org/ver10/colorspace/RGB";
const YCBCR: &str = "http://www.onvif.org/ver10/colorspace/YCbCr";

/// Why masks cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnvifError {
    /// The text is no XML.
    #[error("it is no XML: {0}")]
    Xml(#[from] quick_xml::Error),
    /// An element's attributes are damaged.
    #[error("{0}")]
    Attribute(String),
    /// XML without a mask.
    #[error("there is no mask in it; give it the XML of an answer to GetMasks (Media2)")]
    NoMask,
    /// A corner outside the picture, or none.
    #[error("a point needs x and y from -1 to 1")]
    Point,
    /// A colour that is no three numbers.
    #[error("a colour needs X, Y and Z")]
    Color,
    /// Colours of another kind.
    #[error("the colour space {0:?} is not known; RGB and YCbCr are")]
    ColorSpace(String),
    /// A way to hide that no zone has.
    #[error("mask {token:?} has the type {kind:?}; Color, Pixelated and Blurred are known")]
    Kind {
        /// Which mask.
        token: String,
        /// What it says.
        kind: String,
    },
}

type Result<T> = std::result::Result<T, OnvifError>;

/// How a mask hides. Complete: ONVIF has these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With one colour.
    Color,
    /// With squares.
    Pixelated,
    /// Out of focus.
    Blurred,
}

const KINDS: [(Kind, &str, &str); 3] = [
    (Kind::Color, "Color", "fill"),
    (Kind::Pixelated, "Pixelated", "pixelate"),
    (Kind::Blurred, "Blurred", "blur"),
];

impl Kind {
    /// The same in a policy file.
    pub fn style(self) -> &'static str {
        KINDS[self as usize].2
    }
}

/// One mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Its name.
    pub token: String,
    /// Its corners as those of a zone: from 0 to 1, from the left and from above.
    pub corners: Vec<(f64, f64)>,
    /// How it hides.
    pub kind: Kind,
    /// Red, green and blue, where it has a colour.
    pub color: Option<[u8; 3]>,
    /// What is not plainly off is on.
    pub enabled: bool,
}

/// The masks of an answer to `GetMasks` (or of the body of a `SetMask`), at least one.
///
/// # Errors
/// The text is no XML, has no mask, or has one that no zone can be.
pub fn read(xml: &str) -> Result<Vec<Mask>> {
    let mut reader = Reader::from_str(xml);
    let mut masks: Vec<Mask> = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    let (mut inside, mut text) = (false, String::new());
    loop {
        let event = reader.read_event()?;
        match event {
            Event::Start(ref e) | Event::Empty(ref e) => {
                text.clear();
                match e.local_name().as_ref() {
                    "Masks" | "Mask" => {
                        inside = !matches!(event, Event::Empty(_));
                        let token =
                            attribute(e, "token")?.unwrap_or_else(|| format!("mask {}", masks.len() + 1));
                        let corners = Vec::new();
                        masks.push(Mask { token, corners, kind: Kind::Color, color: None, enabled: true });
                        kinds.push(String::new());
                    }
                    "Point" if inside => {
                        let side = |name| -> Result<f64> {
                            let value = attribute(e, name)?.and_then(|v| v.trim().parse::<f64>().ok());
                            value.filter(|v| (-1.0..=1.0).contains(v)).ok_or(OnvifError::Point)
                        };
                        let point = ((side("x")? + 1.0) / 2.0, (1.0 - side("y")?) / 2.0);
                        masks.last_mut().into_iter().for_each(|m| m.corners.push(point));
                    }
                    "Color" if inside => {
                        let color = color(e)?;
                        masks.last_mut().into_iter().for_each(|m| m.color = Some(color));
                    }
                    _ => {}
                }
            }
            Event::Text(t) => text += &t,
            Event::GeneralRef(_) => text.push('?'),
            Event::End(e) => {
                let value = text.trim();
                match (e.local_name().as_ref(), masks.last_mut()) {
                    ("Masks" | "Mask", _) => inside = false,
                    ("Type", Some(_)) if inside => {
                        kinds.last_mut().into_iter().for_each(|kind| value.clone_into(kind));
                    }
                    ("Enabled", Some(mask)) if inside => mask.enabled = !matches!(value, "false" | "0"),
                    _ => {}
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    for (mask, kind) in masks.iter_mut().zip(kinds) {
        let known = KINDS.iter().find(|known| known.1 == kind);
        mask.kind = known.ok_or_else(|| OnvifError::Kind { token: mask.token.clone(), kind })?.0;
    }
    if masks.is_empty() { Err(OnvifError::NoMask) } else { Ok(masks) }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    let damaged = |e: String| OnvifError::Attribute(e);
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|e| damaged(e.to_string()))?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            return Ok(Some(value.map_err(|e| damaged(e.to_string()))?.into_owned()));
        }
    }
    Ok(None)
}

/// RGB as it is; YCbCr (the default) by the full-range equations of ITU-T T.871.
fn color(element: &BytesStart<'_>) -> Result<[u8; 3]> {
    let part = |name| -> Result<f64> {
        let value = attribute(element, name)?.and_then(|v| v.trim().parse::<f64>().ok());
        value.filter(|v| v.is_finite()).ok_or(OnvifError::Color)
    };
    let (x, y, z) = (part("X")?, part("Y")?, part("Z")?);
    let byte = |v: f64| v.round().clamp(0.0, 255.0) as u8;
    let space = attribute(element, "Colorspace")?.unwrap_or_else(|| YCBCR.into());
    match space.as_str() {
        RGB => Ok([x, y, z].map(byte)),
        YCBCR => {
            let (cb, cr) = (y - 128.0, z - 128.0);
            Ok([x + 1.402 * cr, x - 0.344136 * cb - 0.714136 * cr, x + 1.772 * cb].map(byte))
        }
        _ => Err(OnvifError::ColorSpace(space)),
    }
}

/// The masks as an answer to `GetMasks`. A mask of kind [`Kind::Color`] without a colour is black.
pub fn write(masks: &[Mask]) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tr2:GetMasksResponse xmlns:tr2=\"http://www.onvif.org/ver20/media/wsdl\" \
         xmlns:tt=\"http://www.onvif.org/ver10/schema\">\n",
    );
    for mask in masks {
        let _ = writeln!(xml, "  <tr2:Masks token=\"{}\">", escape(mask.token.as_str()));
        xml += "    <tr2:ConfigurationToken>VideoSourceConfig</tr2:ConfigurationToken>\n    <tr2:Polygon>\n";
        for (x, y) in &mask.corners {
            // No 0.43999999999999995; what is rounded is a hundred-thousandth of a pixel at most.
            let [x, y] = [2.0 * x - 1.0, 1.0 - 2.0 * y].map(|v| (v * 1e9).round() / 1e9);
            let _ = writeln!(xml, "      <tt:Point x=\"{x}\" y=\"{y}\"/>");
        }
        let kind = KINDS[mask.kind as usize].1;
        let _ = writeln!(xml, "    </tr2:Polygon>\n    <tr2:Type>{kind}</tr2:Type>");
        if mask.kind == Kind::Color {
            let [r, g, b] = mask.color.unwrap_or_default().map(f64::from);
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            let (cb, cr) = (128.0 + (b - y) / 1.772, 128.0 + (r - y) / 1.402);
            let _ = writeln!(
                xml,
                "    <tr2:Color X=\"{y:.2}\" Y=\"{cb:.2}\" Z=\"{cr:.2}\" Colorspace=\"{YCBCR}\"/>"
            );
        }
        let _ = writeln!(xml, "    <tr2:Enabled>{}</tr2:Enabled>\n  </tr2:Masks>", mask.enabled);
    }
    xml + "</tr2:GetMasksResponse>\n"
}

/// The masks as the zones of a policy file, which is not checked here: a mask may have too few corners, or another's name.
pub fn policy_text(masks: &[Mask]) -> String {
    let mut text = String::from(
        "# Zones made from ONVIF privacy masks. Faces are hidden as well unless you add faces = \"off\".\n",
    );
    for mask in masks {
        let corners: Vec<String> = mask.corners.iter().map(|(x, y)| format!("[{x}, {y}]")).collect();
        let _ = write!(
            text,
            "\n[[zone]]\nname = {}\narea = [{}]\nstyle = \"{}\"\n",
            toml_string(&mask.token),
            corners.join(", "),
            mask.kind.style()
        );
        if let (Some([r, g, b]), Kind::Color) = (mask.color, mask.kind) {
            let _ = writeln!(text, "color = \"#{r:02x}{g:02x}{b:02x}\"");
        }
        if !mask.enabled {
            text += "enabled = false\n";
        }
    }
    text
}

fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
