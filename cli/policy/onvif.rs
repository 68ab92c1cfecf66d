//! `milkglass policy from-onvif|to-onvif`: zones as the privacy masks of ONVIF's Media2 service, and the other way round.

use milkglass::policy::{Color, PolicyFile, StyleName, ZoneEntry};
pub use milkglass_parsers::onvif::MAX_BYTES;
use milkglass_parsers::onvif::{self, Kind, Mask};

use crate::outcome::Failure;

/// The answer to `GetMasks` (or the body of a `SetMask`), as the zones of a policy file.
pub fn from_onvif(xml: &str) -> Result<String, Failure> {
    let text = onvif::policy_text(&onvif::read(xml).map_err(wrong)?);
    // Whatever is wrong with a mask is said in the words of a zone.
    PolicyFile::parse(&text, "the masks as a policy")?.check()?;
    Ok(text)
}

/// No ONVIF mask hides the outside of its area; where a zone is off, nothing has to.
pub fn is_left_out(zone: &ZoneEntry) -> bool {
    zone.inverted && !zone.enabled
}

/// The zones of a policy as an answer to `GetMasks`.
pub fn to_onvif(file: &PolicyFile) -> Result<String, Failure> {
    let mut masks = Vec::new();
    for zone in file.zones.iter().filter(|zone| !is_left_out(zone)) {
        if zone.inverted {
            return Err(wrong(format!(
                "zone {:?} hides the outside of its area, which no ONVIF mask can; draw what it hides as zones",
                zone.name
            )));
        }
        let kind = match zone.style {
            Some(StyleName::Pixelate) => Kind::Pixelated,
            Some(StyleName::Blur) => Kind::Blurred,
            _ => Kind::Color,
        };
        let Color { r, g, b } = zone.color.unwrap_or(file.color());
        let (token, corners) = (zone.name.clone(), zone.area.points().to_vec());
        masks.push(Mask { token, corners, kind, color: Some([r, g, b]), enabled: zone.enabled });
    }
    Ok(onvif::write(&masks))
}

fn wrong(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the ONVIF masks cannot be used: {why}"))
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
