//! From detections at some times to what must be hidden at any time in between.
//!
//! Only this module builds a [`Cover`], the ticket that lets a frame out (I1, I2).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::detect::{Class, Detection};
use crate::frame::{FrameFormat, Outcome};
use crate::geometry::{PixelRect, Rect};
use crate::policy::{Color, Policy, Style};
use crate::redact::{Mask, MosaicKey, rasterise};
use crate::time::Timestamp;

/// A policy made ready for one frame format.
pub(crate) struct Rules {
    pub policy: Policy,
    masks: Vec<Mask>,
    /// Running number of the policy, so that the mosaics of two policies' zones are told apart.
    number: u64,
}

impl Rules {
    pub fn new(policy: Policy, format: &FrameFormat, number: u64) -> Rules {
        let masks = rasterise(policy.zones(), format);
        Rules { policy, masks, number }
    }
}

/// What to hide in one frame. Only the tracker can build one.
pub(crate) struct Cover {
    outcome: Outcome,
    regions: Vec<Region>,
    rules: Vec<Arc<Rules>>,
    obscure_color: Color,
    export: bool,
}

/// A rectangle to hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub area: PixelRect,
    pub style: Style,
    pub key: MosaicKey,
}

impl Cover {
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }
    pub fn obscure_color(&self) -> Color {
        self.obscure_color
    }
    /// The zones of every policy that the frame lived under (I3).
    pub fn masks(&self) -> impl Iterator<Item = (&Mask, MosaicKey)> {
        self.rules
            .iter()
            .flat_map(|r| r.masks.iter().enumerate().map(|(i, m)| (m, MosaicKey::Zone(r.number, i))))
    }
    /// The hidden rectangles, if the owner asked for them by name (I7).
    pub fn exported_regions(&self) -> Option<Vec<PixelRect>> {
        self.export.then(|| self.regions.iter().map(|r| r.area).collect())
    }
}

/// Whether a frame may leave.
pub(crate) enum Verdict {
    /// Not yet: detection has not come far enough.
    Wait,
    /// With this cover.
    Cover(Cover),
    /// Never as covered: detection left too large a gap around it (I2).
    Never,
}

/// One detection of a track.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    at: Timestamp,
    rect: Rect,
    slack: f32,
    /// Another partner was as likely, so the box is also covered as if it had none.
    ambiguous: bool,
}

/// One face or person over time.
#[derive(Debug)]
struct Track {
    id: u64,
    class: Class,
    /// In the order of time; never empty.
    sightings: VecDeque<Sighting>,
    /// At least one sighting was sure. Until then nothing is hidden for it.
    sure: bool,
}

impl Track {
    fn last(&self) -> &Sighting {
        &self.sightings[self.sightings.len() - 1]
    }
}

#[derive(Default)]
pub(crate) struct Tracker {
    tracks: Vec<Track>,
    /// Times of successful observations, ascending; old ones are forgotten.
    observed: VecDeque<Timestamp>,
    next_id: u64,
}

/// Motion after the last or before the first detection is followed no longer than this: beyond it a lost face is more
/// likely where it was than further away.
const REACH: Duration = Duration::from_millis(100);

impl Tracker {
    /// Takes the detections of the frame at `at`, a time later than any before. Rectangles are clipped to the picture.
    pub fn observe(&mut self, at: Timestamp, detections: &[Detection], rules: &Rules, size: (u32, u32)) {
        let policy = &rules.policy;
        let mut found: Vec<(Detection, Rect)> = detections
            .iter()
            .filter(|d| policy.rule(d.class).is_some())
            .filter_map(|d| d.rect.clipped(size.0, size.1).map(|r| (*d, r)))
            .collect();
        // The surest first: they choose their track first.
        found.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
        let pairs = self.pair(at, &found, policy);
        for ((detection, rect), pair) in found.iter().zip(pairs) {
            let ambiguous = pair.is_some_and(|p| p.ambiguous);
            let sighting = Sighting { at, rect: *rect, slack: detection.slack, ambiguous };
            match pair {
                Some(p) => {
                    let track = &mut self.tracks[p.track];
                    track.sightings.push_back(sighting);
                    track.sure |= !detection.tentative;
                }
                None => {
                    let (id, sure) = (self.next_id, !detection.tentative);
                    self.next_id += 1;
                    self.tracks.push(Track {
                        id,
                        class: detection.class,
                        sightings: VecDeque::from([sighting]),
                        sure,
                    });
                }
            }
        }
        self.observed.push_back(at);
    }

    /// Time of the newest successful observation.
    pub fn newest(&self) -> Option<Timestamp> {
        self.observed.back().copied()
    }

    /// Forgets what no frame at or after `oldest` needs.
    pub fn forget(&mut self, oldest: Timestamp, policy: &Policy) {
        while self.observed.len() > 1 && self.observed[1] <= oldest {
            self.observed.pop_front();
        }
        let newest = self.newest();
        self.tracks.retain_mut(|track| {
            while track.sightings.len() > 1 && track.sightings[1].at <= oldest {
                track.sightings.pop_front();
            }
            let last = track.last().at;
            // The last observation's boxes are needed until the next one, however late it comes.
            last + policy.hold() >= oldest || Some(last) == newest
        });
    }

    /// What must be hidden in the frame at `t`. `rules` are all policies that the frame lived under, the newest last.
    /// `finished`: no further
    /// observation will be waited for.
    pub fn cover(&self, t: Timestamp, rules: &[Arc<Rules>], size: (u32, u32), finished: bool) -> Verdict {
        let Some(policy) = rules.last().map(|r| &r.policy) else { return Verdict::Never };
        let detected = rules.iter().any(|r| r.policy.classes().next().is_some());
        let mut regions = Vec::new();
        if detected {
            let before = self.observed.iter().rfind(|o| **o <= t).copied();
            let after = self.observed.iter().find(|o| **o >= t).copied();
            let (before, after) = match (before, after) {
                (_, None) if finished => return Verdict::Never,
                (_, None) => return Verdict::Wait,
                // Nothing is known of the time before the first observation.
                (None, Some(_)) => return Verdict::Never,
                (Some(j), Some(k)) => (j, k),
            };
            if after.since(before) > policy.max_gap() {
                return Verdict::Never;
            }
            let seen_far_enough = self.newest().is_some_and(|n| n >= t + policy.look_ahead());
            if !seen_far_enough && !finished {
                return Verdict::Wait;
            }
            let gap = Gap { before, after };
            for track in self.tracks.iter().filter(|track| track.sure) {
                for rule in rules {
                    track.cover(t, gap, &rule.policy, size, &mut regions);
                }
            }
        }
        Verdict::Cover(Cover {
            outcome: Outcome::Covered,
            regions,
            rules: rules.to_vec(),
            obscure_color: policy.obscure_color(),
            export: policy.export_regions(),
        })
    }

    /// A cover that leaves nothing of the picture.
    pub fn whole(color: Color) -> Cover {
        Cover {
            outcome: Outcome::Obscured,
            regions: Vec::new(),
            rules: Vec::new(),
            obscure_color: color,
            export: false,
        }
    }

    /// For each detection, the track that it carries on.
    fn pair(&self, at: Timestamp, found: &[(Detection, Rect)], policy: &Policy) -> Vec<Option<Pair>> {
        let mut costs: Vec<(f32, usize, usize)> = Vec::new();
        for (t, track) in self.tracks.iter().enumerate() {
            let gone = at.since(track.last().at);
            if gone > policy.hold() && self.newest() != Some(track.last().at) {
                continue;
            }
            let reach = 0.7 + policy.speed() * gone.as_secs_f32().min(0.5);
            for (d, (detection, rect)) in found.iter().enumerate() {
                if detection.class == track.class
                    && let Some(cost) = distance(&track.last().rect, rect)
                    && cost <= reach
                {
                    costs.push((cost, t, d));
                }
            }
        }
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut pairs: Vec<Option<Pair>> = vec![None; found.len()];
        let mut taken = vec![false; self.tracks.len()];
        for &(cost, t, d) in &costs {
            if pairs[d].is_none() && !taken[t] {
                // Almost as near: they may have been exchanged.
                let rival = |&&(c, t2, d2): &&(f32, usize, usize)| (t2 == t) != (d2 == d) && c < cost + 0.5;
                pairs[d] = Some(Pair { track: t, ambiguous: costs.iter().find(rival).is_some() });
                taken[t] = true;
            }
        }
        pairs
    }
}

#[derive(Clone, Copy)]
struct Pair {
    track: usize,
    ambiguous: bool,
}

/// The observations around a frame.
#[derive(Clone, Copy)]
struct Gap {
    before: Timestamp,
    after: Timestamp,
}

/// How far two boxes are apart: between their centres, in mean box sizes, plus how much their sizes differ. `None` when
/// one is more than three times as large as the other.
fn distance(a: &Rect, b: &Rect) -> Option<f32> {
    let size = |r: &Rect| (r.width() * r.height()).sqrt();
    let (sa, sb) = (size(a), size(b));
    let ratio = sa.max(sb) / sa.min(sb);
    if ratio > 3.0 {
        return None;
    }
    let ((ax, ay), (bx, by)) = (a.center(), b.center());
    Some((ax - bx).hypot(ay - by) / ((sa + sb) / 2.0) + 0.25 * ratio.ln())
}

impl Track {
    /// Adds the regions that hide this track at `t`.
    fn cover(&self, t: Timestamp, gap: Gap, policy: &Policy, size: (u32, u32), regions: &mut Vec<Region>) {
        let Some(rule) = policy.rule(self.class) else { return };
        let grown = |s: &Sighting| s.rect.grown(rule.grow, s.slack);
        // As if it had no partner: grown by what it can have moved. Between the two observations around the frame that
        // is a promise, so it has no limit; beyond them it is a guess.
        let alone = |s: &Sighting, promised: bool| {
            let gone = s.at.distance(t);
            let gone = if promised { gone } else { gone.min(REACH.max(gap.after.since(gap.before))) };
            grown(s).grown(1.0, policy.speed() * gone.as_secs_f32() * s.rect.width())
        };
        let mut push = |rect: Rect| {
            let area = rect.outward(size.0, size.1);
            if !area.is_empty() {
                regions.push(Region { area, style: rule.style, key: MosaicKey::Track(self.id) });
            }
        };
        let previous = self.sightings.iter().rfind(|s| s.at <= t);
        let next = self.sightings.iter().find(|s| s.at >= t);
        match (previous, next) {
            (Some(p), Some(_)) if p.at == t => push(grown(p)),
            (Some(p), Some(n)) => {
                push(grown(p).hull(&grown(n)));
                if n.ambiguous {
                    push(alone(p, true));
                    push(alone(n, true));
                }
            }
            (Some(p), None) => {
                let promised = p.at >= gap.before;
                if promised || t.since(p.at) <= policy.hold() {
                    push(alone(p, promised));
                }
            }
            (None, Some(n)) => {
                let promised = n.at <= gap.after;
                if promised || n.at.since(t) <= policy.look_ahead() {
                    push(alone(n, promised));
                }
            }
            (None, None) => {}
        }
    }
}
