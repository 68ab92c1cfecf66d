//! `milkglass policy from-onvif|to-onvif`: zones as the privacy masks of ONVIF's Media2 service.
//!
//! A mask has a token, a polygon from -1 to 1 whose y axis points up, a type (`Color`, `Pixelated` or `Blurred`), a colour
//! and a switch; a zone has the same under other names, from 0 to 1 with y pointing down. A zone always acts on every
//! stream of its camera, as a mask with `SourceMask = true` does.

use std::fmt::Write as _;

use milkglass::{Color, PolicyFile, StyleName, ZoneEntry};
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use crate::outcome::Failure;

/// Larger answers are none of a camera.
pub const MAX_BYTES: u64 = 1 << 20;
const RGB: &str = "http://www.onvif.org/ver10/colorspace/RGB";
const YCBCR: &str = "http://www.onvif.org/ver10/colorspace/YCbCr";

#[derive(Default)]
struct Mask {
    token: String,
    corners: Vec<(f64, f64)>,
    kind: String,
    color: Option<Color>,
    enabled: bool,
}

/// The answer to `GetMasks` (or the body of a `SetMask`), as the zones of a policy file.
pub fn from_onvif(xml: &str) -> Result<String, Failure> {
    let masks = read(xml)?;
    if masks.is_empty() {
        return Err(wrong("there is no mask in it; give it the XML of an answer to GetMasks (Media2)"));
    }
    let mut text = String::from(
        "# Zones made from ONVIF privacy masks. Faces are hidden as well unless you add faces = \"off\".\n",
    );
    for mask in &masks {
        let style = match mask.kind.as_str() {
            "Color" => "fill",
            "Pixelated" => "pixelate",
            "Blurred" => "blur",
            other => {
                return Err(wrong(format!(
                    "mask {:?} has the type {other:?}; Color, Pixelated and Blurred are known",
                    mask.token
                )));
            }
        };
        let corners: Vec<String> =
            mask.corners.iter().map(|(x, y)| format!("[{}, {}]", (x + 1.0) / 2.0, (1.0 - y) / 2.0)).collect();
        let _ = write!(
            text,
            "\n[[zone]]\nname = {}\narea = [{}]\nstyle = \"{style}\"\n",
            toml_string(&mask.token),
            corners.join(", ")
        );
        if let (Some(color), "fill") = (mask.color, style) {
            let _ = writeln!(text, "color = \"{color}\"");
        }
        if !mask.enabled {
            text += "enabled = false\n";
        }
    }
    // Whatever is wrong with a mask is said in the words of a zone.
    PolicyFile::parse(&text, "the masks as a policy")?.check()?;
    Ok(text)
}

fn read(xml: &str) -> Result<Vec<Mask>, Failure> {
    let mut reader = Reader::from_str(xml);
    let mut masks: Vec<Mask> = Vec::new();
    let (mut inside, mut text) = (false, String::new());
    loop {
        let event = reader.read_event().map_err(|e| wrong(format!("it is no XML: {e}")))?;
        match event {
            Event::Start(ref e) | Event::Empty(ref e) => {
                text.clear();
                match e.local_name().as_ref() {
                    "Masks" | "Mask" => {
                        inside = !matches!(event, Event::Empty(_));
                        let token =
                            attribute(e, "token")?.unwrap_or_else(|| format!("mask {}", masks.len() + 1));
                        masks.push(Mask { token, enabled: true, ..Mask::default() });
                    }
                    "Point" if inside => {
                        let side = |name| -> Result<f64, Failure> {
                            let value = attribute(e, name)?.and_then(|v| v.trim().parse::<f64>().ok());
                            value
                                .filter(|v| (-1.0..=1.0).contains(v))
                                .ok_or_else(|| wrong("a point needs x and y from -1 to 1"))
                        };
                        let point = (side("x")?, side("y")?);
                        masks.last_mut().into_iter().for_each(|m| m.corners.push(point));
                    }
                    "Color" if inside => {
                        let color = color(e)?;
                        masks.last_mut().into_iter().for_each(|m| m.color = color);
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
                    ("Type", Some(mask)) if inside => mask.kind = value.into(),
                    ("Enabled", Some(mask)) if inside => {
                        // What is not plainly off is on.
                        mask.enabled = !matches!(value, "false" | "0");
                    }
                    _ => {}
                }
                text.clear();
            }
            Event::Eof => return Ok(masks),
            _ => {}
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, Failure> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|e| wrong(e.to_string()))?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|e| wrong(e.to_string()))?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

/// RGB as it is; YCbCr (the default) by the full-range equations of ITU-T T.871.
fn color(element: &BytesStart<'_>) -> Result<Option<Color>, Failure> {
    let part = |name| -> Result<f64, Failure> {
        let value = attribute(element, name)?.and_then(|v| v.trim().parse::<f64>().ok());
        value.filter(|v| v.is_finite()).ok_or_else(|| wrong("a colour needs X, Y and Z"))
    };
    let (x, y, z) = (part("X")?, part("Y")?, part("Z")?);
    let byte = |v: f64| v.round().clamp(0.0, 255.0) as u8;
    let space = attribute(element, "Colorspace")?.unwrap_or_else(|| YCBCR.into());
    Ok(match space.as_str() {
        RGB => Some(Color { r: byte(x), g: byte(y), b: byte(z) }),
        YCBCR => {
            let (cb, cr) = (y - 128.0, z - 128.0);
            Some(Color {
                r: byte(x + 1.402 * cr),
                g: byte(x - 0.344136 * cb - 0.714136 * cr),
                b: byte(x + 1.772 * cb),
            })
        }
        other => return Err(wrong(format!("the colour space {other:?} is not known; RGB and YCbCr are"))),
    })
}

/// No ONVIF mask hides the outside of its area; where a zone is off, nothing has to.
pub fn is_left_out(zone: &ZoneEntry) -> bool {
    zone.inverted && !zone.enabled
}

/// The zones of a policy as an answer to `GetMasks`.
pub fn to_onvif(file: &PolicyFile) -> Result<String, Failure> {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tr2:GetMasksResponse xmlns:tr2=\"http://www.onvif.org/ver20/media/wsdl\" \
         xmlns:tt=\"http://www.onvif.org/ver10/schema\">\n",
    );
    for zone in &file.zones {
        if is_left_out(zone) {
            continue;
        }
        if zone.inverted {
            return Err(wrong(format!(
                "zone {:?} hides the outside of its area, which no ONVIF mask can; draw what it hides as zones",
                zone.name
            )));
        }
        let kind = match zone.style {
            Some(StyleName::Pixelate) => "Pixelated",
            Some(StyleName::Blur) => "Blurred",
            _ => "Color",
        };
        let _ = writeln!(xml, "  <tr2:Masks token=\"{}\">", escape(zone.name.as_str()));
        xml += "    <tr2:ConfigurationToken>VideoSourceConfig</tr2:ConfigurationToken>\n    <tr2:Polygon>\n";
        for (x, y) in zone.area.points() {
            // No 0.43999999999999995; what is rounded is a hundred-thousandth of a pixel at most.
            let [x, y] = [2.0 * x - 1.0, 1.0 - 2.0 * y].map(|v| (v * 1e9).round() / 1e9);
            let _ = writeln!(xml, "      <tt:Point x=\"{x}\" y=\"{y}\"/>");
        }
        let _ = writeln!(xml, "    </tr2:Polygon>\n    <tr2:Type>{kind}</tr2:Type>");
        if kind == "Color" {
            let c = zone.color.unwrap_or(file.color());
            let [r, g, b] = [c.r, c.g, c.b].map(f64::from);
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            let (cb, cr) = (128.0 + (b - y) / 1.772, 128.0 + (r - y) / 1.402);
            let _ = writeln!(
                xml,
                "    <tr2:Color X=\"{y:.2}\" Y=\"{cb:.2}\" Z=\"{cr:.2}\" Colorspace=\"{YCBCR}\"/>"
            );
        }
        let _ = writeln!(xml, "    <tr2:Enabled>{}</tr2:Enabled>\n  </tr2:Masks>", zone.enabled);
    }
    Ok(xml + "</tr2:GetMasksResponse>\n")
}

fn wrong(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the ONVIF masks cannot be used: {why}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"
 xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body><tr2:GetMasksResponse>
 <tr2:Masks token="win &quot;1&quot;"><tr2:ConfigurationToken>vsc</tr2:ConfigurationToken>
  <tr2:Polygon><tt:Point x="-1" y="1"/><tt:Point x="0" y="1"/><tt:Point x="0" y="0.5"/></tr2:Polygon>
  <tr2:Type>Color</tr2:Type><tr2:Color X="255" Y="0" Z="0" Colorspace="http://www.onvif.org/ver10/colorspace/RGB"/>
  <tr2:Enabled>true</tr2:Enabled></tr2:Masks>
 <tr2:Masks token="b"><tr2:ConfigurationToken>vsc</tr2:ConfigurationToken>
  <tr2:Polygon><tt:Point x="0" y="0"/><tt:Point x="1" y="0"/><tt:Point x="1" y="-1"/></tr2:Polygon>
  <tr2:Type>Pixelated</tr2:Type><tr2:Enabled>false</tr2:Enabled></tr2:Masks>
</tr2:GetMasksResponse></s:Body></s:Envelope>"#;

    #[test]
    fn masks_become_zones() {
        let text = from_onvif(ANSWER).unwrap();
        let file = PolicyFile::parse(&text, "p").unwrap();
        assert_eq!(file.zones.len(), 2);
        let [a, b] = &file.zones[..] else { panic!("two zones") };
        assert_eq!((a.name.as_str(), a.style, a.enabled), ("win \"1\"", Some(StyleName::Fill), true));
        assert_eq!(a.color, Color::from_hex("#ff0000"));
        assert_eq!(a.area.points(), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.25)]);
        assert_eq!((b.style, b.enabled), (Some(StyleName::Pixelate), false));
        assert_eq!(b.area.points(), [(0.5, 0.5), (1.0, 0.5), (1.0, 1.0)]);
    }

    #[test]
    fn zones_become_masks_and_zones_again() {
        let text = "color = \"#3060c0\"\n[[zone]]\nname = \"a<b>&\"\narea = [[0.1, 0.2], [0.7, 0.2], [0.33, 0.9]]\n\
                    [[zone]]\nname = \"c\"\narea = [[0, 0], [1, 0], [1, 1]]\nstyle = \"blur\"\nenabled = false\n";
        let file = PolicyFile::parse(text, "p").unwrap();
        let back = PolicyFile::parse(&from_onvif(&to_onvif(&file).unwrap()).unwrap(), "p").unwrap();
        for (was, is) in file.zones.iter().zip(&back.zones) {
            assert_eq!((&was.name, was.enabled), (&is.name, is.enabled));
            assert_eq!(was.style.unwrap_or(StyleName::Fill), is.style.unwrap());
            for ((ax, ay), (bx, by)) in was.area.points().iter().zip(is.area.points()) {
                assert!((ax - bx).abs() < 1e-12 && (ay - by).abs() < 1e-12);
            }
        }
        let (was, is) = (file.color(), back.zones[0].color.unwrap());
        for (a, b) in [(was.r, is.r), (was.g, is.g), (was.b, is.b)] {
            assert!(a.abs_diff(b) <= 1, "{was} {is}");
        }
    }

    #[test]
    fn what_cannot_be_a_zone_is_refused() {
        for (from, to) in [
            ("x=\"-1\"", "x=\"-1.5\""),
            ("x=\"-1\"", "x=\"NaN\""),
            ("x=\"-1\" ", ""),
            ("Pixelated", "Mosaic"),
            ("token=\"b\"", "token=\"win &quot;1&quot;\""),
            ("<tt:Point x=\"0\" y=\"1\"/>", ""),
            ("colorspace/RGB", "colorspace/HSV"),
            ("</tr2:Polygon>", "</tr2:Polygo>"),
        ] {
            assert!(ANSWER.contains(from));
            assert!(from_onvif(&ANSWER.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
        assert!(from_onvif("").is_err() && from_onvif("no xml").is_err());
        let inverted = "[[zone]]\nname = \"c\"\narea = [[0, 0], [1, 0], [1, 1]]\ninverted = true\n";
        assert!(to_onvif(&PolicyFile::parse(inverted, "p").unwrap()).is_err());
        // One that is off hides nothing.
        let off = to_onvif(&PolicyFile::parse(&format!("{inverted}enabled = false\n"), "p").unwrap());
        assert!(!off.unwrap().contains("<tr2:Masks"));
    }
}
