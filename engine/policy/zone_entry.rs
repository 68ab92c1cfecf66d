//! Zones as a policy file or a flag has them.

use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::keys::{ZONE, find};
use super::limits::cells;
use super::value::{Fault, StyleName, Value, clip, in_order, unknown};
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

    pub(super) fn from_table(entry: Value<'_>, number: usize) -> Result<ZoneEntry, Fault> {
        let table = entry.table()?;
        let required = |name: &str, example: &str| {
            let found = table.iter().find(|(k, _)| k.get_ref() == name).zip(find(&format!("{ZONE}{name}")));
            let missing =
                || Fault::new(entry.at, format!("zone {number} has no {name}; add {name} = {example}"));
            found.map(|((_, v), key)| Value::new(key, v)).ok_or_else(missing)
        };
        // Unknown keys first: a misspelt one would otherwise be reported as missing.
        for (written, _) in in_order(table) {
            find(&format!("{ZONE}{}", written.get_ref())).ok_or_else(|| unknown(written, true))?;
        }
        let name = required("name", "\"door\"")?;
        let area = required("area", "[[0, 0], [0.5, 0], [0.5, 1]]")?;
        let outline = polygon(area, name.text()?)?;
        let mut zone = name.place(ZoneEntry::new(name.text()?, outline))?;
        for (written, value) in in_order(table) {
            let Some(key) = find(&format!("{ZONE}{}", written.get_ref())) else {
                return Err(unknown(written, true));
            };
            let value = Value::new(key, value);
            match key.short() {
                "name" | "area" => {}
                "style" => {
                    zone.style = Some(value.choice()?);
                    value.place(zone.style(None, None).map(drop))?;
                }
                "color" => zone.color = Some(value.color()?),
                "cells" => zone.cells = Some(value.place(cells(value.whole()?))?),
                "inverted" => zone.inverted = value.switch()?,
                "enabled" => zone.enabled = value.switch()?,
                _ => return Err(unknown(written, true)),
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

    fn style(&self, color: Option<Color>, cells: Option<u8>) -> Result<Style, PolicyError> {
        let named = self.style.unwrap_or(StyleName::Fill);
        style(named, self.color.or(color), self.cells.or(cells)).ok_or_else(|| PolicyError::Zone {
            zone: self.name.clone(),
            why: "style = \"off\" is not for zones; write enabled = false, or remove the zone".into(),
        })
    }

    /// The engine's zone; `file` gives the colour and cells that the zone leaves open.
    ///
    /// # Errors
    /// A name or value that cannot be accepted.
    pub fn zone(&self, file: &PolicyFile) -> Result<Zone, PolicyError> {
        self.cells.map_or(Ok(0), |n| cells(n.into()))?;
        let style = self.style(file.color, file.cells)?;
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
            let key = find("zone.style").ok_or_else(|| wrong("no styles"))?;
            let word = Spanned::new(0..0, DeValue::String(named.into()));
            zone.style = Some(Value::new(key, &word).choice().map_err(|fault| fault.error)?);
        }
        zone.style(None, None)?;
        Ok(zone)
    }
}

fn polygon(area: Value<'_>, zone: &str) -> Result<Polygon, Fault> {
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
pub(super) fn style(name: StyleName, color: Option<Color>, cells: Option<u8>) -> Option<Style> {
    let cells = cells.unwrap_or(DEFAULT_CELLS);
    match name {
        StyleName::Off => None,
        StyleName::Blur => Some(Style::Blur { cells }),
        StyleName::Pixelate => Some(Style::Pixelate { cells }),
        StyleName::Fill => Some(Style::Fill(color.unwrap_or(Color::BLACK))),
    }
}
