//! The shape of a picture's pixels: a camera or a file may store them wider or higher than they are shown.

use std::fmt;
use std::str::FromStr;

/// Two shapes that differ by less than this factor look alike to a detector.
const ALIKE: f64 = 1.11;

/// Width to height of a pixel as it is shown, from 1:8 to 8:1, in lowest terms. 64:45 is PAL 16:9 in 720x576 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PixelAspect {
    width: u16,
    height: u16,
}

impl PixelAspect {
    /// As wide as high.
    pub const SQUARE: PixelAspect = PixelAspect { width: 1, height: 1 };
    /// The longer side of a pixel is at most so many times the shorter one.
    pub const MOST: u32 = 8;
    /// The most shapes that the pixels of one format may have, [`FrameFormat::pixel_aspects`](crate::FrameFormat::pixel_aspects).
    pub const MOST_POSSIBLE: usize = 4;

    /// From a fraction. `None` when a part of it is 0, or one is more than [`PixelAspect::MOST`] times the other: no picture
    /// is stored so. Parts beyond 16 bits are rounded.
    pub fn new(width: u32, height: u32) -> Option<PixelAspect> {
        let (w, h) = (u64::from(width), u64::from(height));
        let most = u64::from(Self::MOST);
        if w == 0 || h == 0 || w > most * h || h > most * w {
            return None;
        }
        let divisor = gcd(w, h);
        let (w, h) = (w / divisor, h / divisor);
        let bits = u64::BITS - (w | h).leading_zeros();
        let excess = bits.saturating_sub(u16::BITS);
        // The shorter one has at least 12 bits left, so that rounding does not show.
        let part = |v: u64| u16::try_from((v >> excess).max(1)).unwrap_or(u16::MAX);
        Some(PixelAspect { width: part(w), height: part(h) })
    }

    /// The width of the fraction.
    pub fn width(self) -> u32 {
        self.width.into()
    }

    /// The height of the fraction.
    pub fn height(self) -> u32 {
        self.height.into()
    }

    /// Width divided by height.
    pub fn ratio(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// Whether it is as wide as high.
    pub fn is_square(self) -> bool {
        self == Self::SQUARE
    }

    /// The shape in a picture that was turned by a quarter.
    #[must_use]
    pub fn turned(self) -> PixelAspect {
        PixelAspect { width: self.height, height: self.width }
    }

    /// Square pixels per pixel, along rows and columns: 1 along its shorter side, so that no detail is lost.
    pub(crate) fn squares(self) -> (f64, f64) {
        let ratio = self.ratio();
        (ratio.max(1.0), ratio.recip().max(1.0))
    }

    fn is_like(self, other: PixelAspect) -> bool {
        let factor = self.ratio() / other.ratio();
        factor.max(factor.recip()) < ALIKE
    }
}

impl Default for PixelAspect {
    fn default() -> Self {
        Self::SQUARE
    }
}

impl fmt::Display for PixelAspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.width, self.height)
    }
}

impl FromStr for PixelAspect {
    type Err = String;

    /// Reads `width:height`, such as `64:45`.
    fn from_str(text: &str) -> Result<PixelAspect, String> {
        let parts = text.split_once([':', '/']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        let aspect = parts.and_then(|(w, h)| PixelAspect::new(w, h));
        aspect.ok_or_else(|| format!("{text}: write a pixel's width:height, such as 64:45, from 1:8 to 8:1"))
    }
}

/// The shapes that the pixels of a format may have, the likeliest first; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Possible {
    all: [PixelAspect; PixelAspect::MOST_POSSIBLE],
    count: usize,
}

impl Possible {
    pub const SQUARE: Possible =
        Possible { all: [PixelAspect::SQUARE; PixelAspect::MOST_POSSIBLE], count: 1 };

    pub fn of(aspects: &[PixelAspect]) -> Possible {
        let mut possible = Possible { count: 0, ..Possible::SQUARE };
        for aspect in aspects {
            let known = possible.all[..possible.count].iter().any(|known| known.is_like(*aspect));
            if !known && possible.count < possible.all.len() {
                possible.all[possible.count] = *aspect;
                possible.count += 1;
            }
        }
        Possible { count: possible.count.max(1), ..possible }
    }

    /// Those that a file or driver told, square ones, and those of half a picture.
    pub fn told(size: (u32, u32), told: &[PixelAspect]) -> Possible {
        let told = Possible::of(told);
        let square = [PixelAspect::SQUARE];
        let told = told.all().iter().take(PixelAspect::MOST_POSSIBLE - 1).chain(&square);
        let all: Vec<PixelAspect> = told.copied().chain(of_half_a_picture(size)).collect();
        Possible::of(&all)
    }

    pub fn all(&self) -> &[PixelAspect] {
        &self.all[..self.count]
    }
}

/// The shape of pixels in pictures of this size, if nobody told one: recorders keep every other line or column of analogue
/// television (2CIF, half D1, 960H) and of high definition (1080N and its like), and seldom say so.
fn of_half_a_picture(size: (u32, u32)) -> Option<PixelAspect> {
    let aspect = |width, height| Some(PixelAspect { width, height });
    match size {
        (640 | 704 | 720 | 768, 240 | 243 | 288) | (1280, 360) | (1920, 540) => aspect(1, 2),
        (320 | 352 | 360, 480 | 486 | 576) => aspect(2, 1),
        (640, 720) | (960, 1080 | 1088) | (1280, 1440 | 1944) | (1920, 2160) => aspect(2, 1),
        (960, 480) => aspect(2, 3),
        (960, 576) => aspect(4, 5),
        _ => None,
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_reduced_and_bounded() {
        let aspect = |w, h| PixelAspect::new(w, h).map(|a| (a.width(), a.height()));
        assert_eq!(aspect(128, 90), Some((64, 45)));
        assert_eq!(aspect(7, 7), Some((1, 1)));
        assert_eq!((aspect(8, 1), aspect(1, 8)), (Some((8, 1)), Some((1, 8))));
        for (w, h) in [(0, 1), (1, 0), (0, 0), (9, 1), (1, 9), (u32::MAX, 1), (8001, 1000)] {
            assert_eq!(aspect(w, h), None, "{w}:{h}");
        }
        let large = PixelAspect::new(u32::MAX, u32::MAX / 3).unwrap();
        assert!((large.ratio() - 3.0).abs() < 1e-3, "{large}");
        assert_eq!(PixelAspect::new(u32::MAX, u32::MAX), Some(PixelAspect::SQUARE));
        for text in ["", "1", "1:", ":1", "a:b", "0:1", "1:0", "-1:1", "1:100", "1:1:1", "1.5:1"] {
            assert!(text.parse::<PixelAspect>().is_err(), "{text}");
        }
        assert_eq!("64:45".parse::<PixelAspect>().unwrap().to_string(), "64:45");
    }

    #[test]
    fn possible_shapes_are_few_and_differ() {
        let aspect = |w, h| PixelAspect::new(w, h).unwrap();
        let square = PixelAspect::SQUARE;
        assert_eq!(Possible::of(&[]).all(), [square]);
        assert_eq!(Possible::of(&[aspect(64, 45), square]).all(), [aspect(64, 45), square]);
        for near in [aspect(16, 15), aspect(10, 11), aspect(12, 11)] {
            assert_eq!(Possible::of(&[near, square]).all(), [near]);
        }
        let many = [aspect(2, 1), aspect(1, 2), square, aspect(4, 1), aspect(1, 4)];
        assert_eq!(Possible::of(&many).all(), &many[..4]);
    }

    #[test]
    fn what_is_told_is_never_the_only_shape() {
        let aspect = |w, h| PixelAspect::new(w, h).unwrap();
        let possible = |size, told: &[PixelAspect]| Possible::told(size, told).all().to_vec();
        let square = PixelAspect::SQUARE;
        assert_eq!(possible((1920, 1080), &[]), [square]);
        assert_eq!(possible((720, 576), &[aspect(64, 45)]), [aspect(64, 45), square]);
        assert_eq!(possible((720, 576), &[aspect(16, 15)]), [aspect(16, 15)], "as good as square");
        assert_eq!(possible((704, 288), &[]), [square, aspect(1, 2)], "a recorder's half a picture");
        assert_eq!(possible((704, 288), &[square]), [square, aspect(1, 2)]);
        assert_eq!(possible((704, 288), &[aspect(6, 11)]), [aspect(6, 11), square]);
        assert_eq!(possible((960, 1080), &[]), [square, aspect(2, 1)]);
        let liar = [aspect(8, 1), aspect(1, 8), aspect(4, 1), aspect(1, 4), aspect(2, 1)];
        assert!(possible((1920, 1080), &liar).contains(&square), "however much is told");
    }
}
