//! Zones as a policy file or a flag has them.

use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::keys::{Key, Kind, ZONE_STYLE};
use super::value::{Choice, Fault, OFF, StyleName, Value, Written, clip, in_order, unknown};
use super::{Color, PolicyError, PolicyFile, Polygon, Style, Zone};

/// One zone as the file (or a flag) has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneEntry {
    /// The name, unique in the file.
    pub name: String,
    /// The outline in the upright picture.
    pub area: Polygon,
    /// How it is hidden; `None`: `fill`.
    pub style: Option<StyleName>,
    /// Colour of `fill`; `None`: the file's.
    pub color: Option<Color>,
    /// Cells of `pixelate` and `blur`; `None`: the file's.
    pub cells: Option<u8>,
    /// Hides the outside instead.
    pub inverted: bool,
    /// `false`: checked, but hides nothing.
    pub enabled: bool,
}

impl ZoneEntry {
    fn new(name: &str, area: Polygon) -> Result<ZoneEntry, PolicyError> {
        // The engine's own check of the name.
        let zone = Zone::new(name, area, Style::default())?;
        Ok(ZoneEntry {
            name: zone.name,
            area: zone.area,
            style: None,
            color: None,
            cells: None,
            inverted: false,
            enabled: true,
        })
    }

    pub(super) fn from_table(keys: &[Key], entry: Written<'_>, number: usize) -> Result<ZoneEntry, Fault> {
        let table = entry.table()?;
        let find = |name: &str| keys.iter().find(|k| k.in_zone() && k.short() == name);
        let required = |name: &str, example: &str| {
            let found = table.iter().find(|(k, _)| k.get_ref() == name).zip(find(name));
            let missing =
                || Fault::new(entry.at, format!("zone {number} has no {name}; add {name} = {example}"));
            found.map(|((_, v), key)| Written::new(key, v)).ok_or_else(missing)
        };
        // Unknown keys first: a misspelt one would otherwise be reported as missing.
        for (written, _) in in_order(table) {
            find(written.get_ref()).ok_or_else(|| unknown(keys, written, true))?;
        }
        let name = required("name", "\"door\"")?;
        let area = required("area", "[[0, 0], [0.5, 0], [0.5, 1]]")?;
        let outline = polygon(area, name.text()?)?;
        let mut zone = name.place(ZoneEntry::new(name.text()?, outline))?;
        for (written, value) in in_order(table) {
            let Some(key) = find(written.get_ref()) else { return Err(unknown(keys, written, true)) };
            let written = Written::new(key, value);
            match (key.kind, key.short()) {
                (Kind::Name | Kind::Corners, _) => {}
                (_, "style") => zone.style = zone.style_of(written)?,
                (_, short) => match (written.value()?, short) {
                    (Value::Color(color), "color") => zone.color = Some(color),
                    (Value::Whole(n), "cells") => zone.cells = u8::try_from(n).ok(),
                    (Value::Switch(on), "inverted") => zone.inverted = on,
                    (Value::Switch(on), "enabled") => zone.enabled = on,
                    _ => return Err(written.wrong()),
                },
            }
        }
        Ok(zone)
    }

    pub(super) fn to_table(&self) -> toml::Table {
        let corner = |&(x, y): &(f64, f64)| toml::Value::from(vec![x, y]);
        let area: Vec<toml::Value> = self.area.points().iter().map(corner).collect();
        let mut table = toml::Table::new();
        table.insert("name".into(), self.name.as_str().into());
        table.insert("area".into(), area.into());
        table.extend(self.style.map(|s| ("style".into(), s.as_str().into())));
        table.extend(self.color.map(|c| ("color".into(), c.to_string().into())));
        table.extend(self.cells.map(|n| ("cells".into(), i64::from(n).into())));
        table.insert("inverted".into(), self.inverted.into());
        table.insert("enabled".into(), self.enabled.into());
        table
    }

    fn style_of(&self, written: Written<'_>) -> Result<Option<StyleName>, Fault> {
        if written.text().is_ok_and(|text| text == OFF) {
            return written.place(Err(self.not_off()));
        }
        let Value::Word(word) = written.value()? else { return Err(written.wrong()) };
        Ok(StyleName::of(word))
    }

    fn not_off(&self) -> PolicyError {
        let why = "style = \"off\" is not for zones; write enabled = false, or remove the zone".into();
        PolicyError::Zone { zone: self.name.clone(), why }
    }

    fn style(&self, color: Color, cells: u8) -> Result<Style, PolicyError> {
        let named = self.style.unwrap_or(StyleName::Fill);
        let style = style(named, self.color.unwrap_or(color), self.cells.unwrap_or(cells));
        style.ok_or_else(|| self.not_off())
    }

    /// The engine's zone; `file` gives the colour and cells that the zone leaves open.
    ///
    /// # Errors
    /// A name or value that cannot be accepted.
    pub fn zone(&self, file: &PolicyFile) -> Result<Zone, PolicyError> {
        let style = self.style(file.color(), file.cells())?;
        Ok(Zone::new(self.name.as_str(), self.area.clone(), style)?.inverted(self.inverted))
    }
}

/// From a flag: `NAME:x,y;x,y;x,y` and, if wanted, `:STYLE`.
impl FromStr for ZoneEntry {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<ZoneEntry, PolicyError> {
        let wrong = |why: &str| {
            let form = "write NAME:x,y;x,y;x,y or NAME:x,y;x,y;x,y:STYLE, coordinates from 0 to 1";
            PolicyError::File(format!("zone \"{}\": {why}; {form}", clip(text)))
        };
        let mut parts = text.split(':');
        let (Some(name), Some(corners), named, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("a name, corners and at most a style are separated by colons"));
        };
        let number = |s: &str| s.trim().parse::<f64>().ok();
        let corner = |s: &str| s.split_once(',').and_then(|(x, y)| Some((number(x)?, number(y)?)));
        let corners: Option<Vec<_>> = corners.split(';').map(corner).collect();
        let corners = corners.ok_or_else(|| wrong("a corner is two numbers, x,y"))?;
        let area = Polygon::checked(corners).map_err(|why| PolicyError::Zone { zone: name.into(), why })?;
        let mut zone = ZoneEntry::new(name, area)?;
        if let Some(named) = named {
            let word = Spanned::new(0..0, DeValue::String(named.into()));
            zone.style = zone.style_of(Written::new(&ZONE_STYLE, &word)).map_err(|fault| fault.error)?;
        }
        Ok(zone)
    }
}

fn polygon(area: Written<'_>, zone: &str) -> Result<Polygon, Fault> {
    let mut corners = Vec::new();
    let mut outside = None;
    for corner in area.list()? {
        let mut pair = corner.list()?;
        let (Some(x), Some(y), None) = (pair.next(), pair.next(), pair.next()) else {
            return Err(corner.wrong());
        };
        let (x, y) = (x.number()?, y.number()?);
        if !((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y)) {
            outside = outside.or(Some(corner.at));
        }
        corners.push((x, y));
    }
    let at = outside.unwrap_or(area.at);
    Polygon::checked(corners).map_err(|why| Fault { at, error: PolicyError::Zone { zone: zone.into(), why } })
}

pub(super) const DEFAULT_CELLS: u8 = 4;

/// A style by its name; `None` for `off`.
pub(super) fn style(name: StyleName, color: Color, cells: u8) -> Option<Style> {
    match name {
        StyleName::Off => None,
        StyleName::Blur => Some(Style::Blur { cells }),
        StyleName::Pixelate => Some(Style::Pixelate { cells }),
        StyleName::Fill => Some(Style::Fill(color)),
    }
}
