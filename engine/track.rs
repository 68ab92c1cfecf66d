//! From detections at some times to what must be hidden at any time in between.
//!
//! Only this module builds a [`Cover`], the ticket that lets a frame out (I1, I2): tests/imports.rs sees to it.

mod padding;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use crate::class::Class;
use crate::detect::Detection;
use crate::geometry::{PixelRect, Rect};
use crate::motion::Motion;
use crate::policy::{Color, Policy, RegionShape};
use crate::redact::{Cover, MosaicKey, Region, RuleSet, Rules};
use crate::time::Timestamp;
use padding::Padding;

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
    /// Another partner was as likely, or within reach, so the box is also covered as if it had none.
    ambiguous: bool,
}

impl Sighting {
    /// How far it moves within `gone`, at the most: pixels along rows and columns. As far in the picture either way, whatever
    /// the shape of its pixels is.
    fn reach(&self, gone: Duration, rules: &Rules) -> (f32, f32) {
        let along = rules.policy.speed() * gone.as_secs_f32() * self.rect.width();
        let down = rules.squares.iter().map(|(x, y)| x / y).fold(0.0, f32::max);
        (along, along * down)
    }
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
    /// The first observation after the last sighting that looked at its place.
    missed: Option<Timestamp>,
    padding: Padding,
}

impl Track {
    fn last(&self) -> &Sighting {
        &self.sightings[self.sightings.len() - 1]
    }

    /// Whether an observation of this part of the picture (`None`: all of it) looked at its place: at the middle of its
    /// last box.
    fn is_in(&self, part: Option<PixelRect>, size: (u32, u32)) -> bool {
        let (x, y) = self.last().rect.center();
        let within = |v: f32, side: u32, from: u32, to: u32| {
            let v = (v.max(0.0) as u32).min(side.saturating_sub(1));
            v >= from && v < to
        };
        part.is_none_or(|p| within(x, size.0, p.x0, p.x1) && within(y, size.1, p.y0, p.y1))
    }
}

#[derive(Default)]
pub(crate) struct Tracker {
    tracks: Vec<Track>,
    /// Times of successful observations, ascending; old ones are forgotten.
    observed: VecDeque<Timestamp>,
    next_id: u64,
    /// Where the padding of each track begins; from the system's random numbers, and told to nobody.
    secret: RandomState,
    /// Memory of what is gone, used again: no frame asks for any.
    regions: Vec<Region>,
    sightings: Vec<VecDeque<Sighting>>,
    found: Vec<(Detection, Rect)>,
    pairing: Pairing,
}

/// Which detection carries on which track, while it is found out.
#[derive(Default)]
struct Pairing {
    candidates: Vec<Candidate>,
    /// For each detection, the track that it carries on.
    pairs: Vec<Option<Pair>>,
    taken: Vec<bool>,
}

/// Motion after the last or before the first detection is followed no longer than this: beyond it a lost face is more
/// likely where it was than further away.
const REACH: Duration = Duration::from_millis(100);

/// Two boxes that overlap as much (IoU) are one face, even if nobody looked where the first one was.
const SAME: f32 = 0.3;

impl Tracker {
    /// Takes the detections of the frame at `at`, a time later than any before. Those outside the picture do not count.
    /// `part` is what was examined of it (`None`: all).
    pub fn observe(
        &mut self,
        at: Timestamp,
        detections: &[Detection],
        part: Option<PixelRect>,
        rules: &Rules,
        size: (u32, u32),
    ) {
        let policy = &rules.policy;
        let mut found = std::mem::take(&mut self.found);
        found.extend(
            detections
                .iter()
                .filter(|d| policy.rule(d.class).is_some())
                .filter_map(|d| d.rect.clipped(size.0, size.1).map(|_| (*d, near(&d.rect, size)))),
        );
        // The surest first: of equally near ones they choose their track first. Sorting in place needs no memory.
        let place = |r: &Rect| (r.x0(), r.y0());
        found.sort_unstable_by(|a, b| {
            let ((ax, ay), (bx, by)) = (place(&a.1), place(&b.1));
            b.0.score.total_cmp(&a.0.score).then(ax.total_cmp(&bx)).then(ay.total_cmp(&by))
        });
        let mut pairing = std::mem::take(&mut self.pairing);
        self.pair(at, &found, part, rules, size, &mut pairing);
        for track in self.tracks.iter_mut().filter(|t| t.missed.is_none() && t.is_in(part, size)) {
            track.missed = Some(at);
        }
        for ((detection, rect), pair) in found.iter().zip(&pairing.pairs) {
            let ambiguous = pair.is_some_and(|p| p.ambiguous);
            let sighting = Sighting { at, rect: *rect, slack: detection.slack, ambiguous };
            match pair {
                Some(p) => {
                    let track = &mut self.tracks[p.track];
                    let mut sighting = sighting;
                    if !track.is_in(part, size) {
                        // Nobody looked closely at where it was: what was known of it stays hidden until somebody does.
                        sighting.rect = sighting.rect.hull(&track.last().rect);
                    }
                    track.sightings.push_back(sighting);
                    track.sure |= !detection.tentative;
                    track.missed = None;
                }
                None => {
                    let (id, sure) = (self.next_id, !detection.tentative);
                    self.next_id += 1;
                    let mut sightings = self.sightings.pop().unwrap_or_default();
                    sightings.push_back(sighting);
                    let padding = Padding::new(&self.secret, id);
                    let class = detection.class;
                    self.tracks.push(Track { id, class, sightings, sure, missed: None, padding });
                }
            }
        }
        found.clear();
        (self.found, self.pairing) = (found, pairing);
        self.observed.push_back(at);
    }

    /// Time of the newest successful observation.
    pub fn newest(&self) -> Option<Timestamp> {
        self.observed.back().copied()
    }

    /// Forgets what no frame at or after `oldest` needs; `rules` are those that it lived under.
    pub fn forget(&mut self, oldest: Timestamp, rules: &[Arc<Rules>]) {
        let hold = rules.iter().map(|r| r.policy.hold()).max().unwrap_or_default();
        while self.observed.len() > 1 && self.observed[1] <= oldest {
            self.observed.pop_front();
        }
        // The boxes of the observation before it are needed until the next one, however late that comes.
        let before = self.observed.front().copied();
        self.tracks.retain_mut(|track| {
            while track.sightings.len() > 1 && track.sightings[1].at <= oldest {
                track.sightings.pop_front();
            }
            let last = track.last().at;
            let held = track.missed.is_none_or(|missed| missed > oldest);
            let kept = held || last + hold >= oldest || before.is_some_and(|before| last >= before);
            if !kept {
                track.sightings.clear();
                self.sightings.push(std::mem::take(&mut track.sightings));
            }
            kept
        });
    }

    /// Whether a track is still there.
    pub fn has(&self, id: u64) -> bool {
        self.tracks.iter().any(|track| track.id == id)
    }

    /// Takes the memory of a cover that was applied.
    /// Gives back that of its list of what moved.
    pub fn reuse(&mut self, cover: Cover) -> Vec<PixelRect> {
        let (regions, motion) = cover.into_parts();
        if regions.capacity() > self.regions.capacity() {
            self.regions = regions;
            self.regions.clear();
        }
        motion
    }

    /// What must be hidden in the frame at `t`. `rules` are all policies that the frame lived under, the newest last.
    /// `finished`: no further observation will be waited for.
    pub fn cover(
        &mut self,
        t: Timestamp,
        rules: &RuleSet,
        size: (u32, u32),
        finished: bool,
        motion: Option<&mut Motion>,
    ) -> Verdict {
        let Some(newest) = rules.last().map(|r| &r.policy) else { return Verdict::Never };
        let policies = || rules.iter().map(|r| &r.policy);
        let detected = rules.iter().any(|r| r.policy.classes().next().is_some());
        let (mut regions, mut moved) = (Vec::new(), Vec::new());
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
            if policies().any(|p| after.since(before) > p.max_gap()) {
                return Verdict::Never;
            }
            let seen_far_enough = self.newest().is_some_and(|n| policies().all(|p| n >= t + p.look_ahead()));
            if !seen_far_enough && !finished {
                return Verdict::Wait;
            }
            let gap = Gap { before, after };
            regions = std::mem::take(&mut self.regions);
            for track in self.tracks.iter_mut().filter(|track| track.sure) {
                for rule in rules.iter() {
                    track.cover(t, gap, rule, size, &mut regions);
                }
            }
            if policies().any(Policy::motion_cover) {
                let Some(motion) = motion else { return Verdict::Never };
                moved = motion.cover(t, after, |block| regions.iter().any(|r| r.area.contains(&block)));
            }
        }
        Verdict::Cover(Cover::covered(
            regions,
            moved,
            Some(Arc::clone(rules)),
            newest.obscure_color(),
            policies().all(Policy::export_regions),
        ))
    }

    /// A cover that leaves nothing of the picture.
    pub fn whole(color: Color) -> Cover {
        Cover::whole(color)
    }

    /// Finds the track that each detection carries on.
    fn pair(
        &self,
        at: Timestamp,
        found: &[(Detection, Rect)],
        part: Option<PixelRect>,
        rules: &Rules,
        size: (u32, u32),
        pairing: &mut Pairing,
    ) {
        let Pairing { candidates, pairs, taken } = pairing;
        let policy = &rules.policy;
        candidates.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            let last = track.last();
            let gone = at.since(last.at);
            if gone > policy.hold() && self.newest() != Some(last.at) {
                continue;
            }
            // Whoever stands where nobody looked is still there: only a box that all but covers the last one is the same.
            let looked = track.is_in(part, size);
            let limit = 0.7 + policy.speed() * gone.as_secs_f32().min(0.5);
            for (d, (detection, rect)) in found.iter().enumerate() {
                if detection.class == track.class
                    && (looked || last.rect.iou(rect) >= SAME)
                    && let Some(cost) = distance(&last.rect, rect, rules.likeliest())
                {
                    let ((ax, ay), (bx, by)) = (last.rect.center(), rect.center());
                    let (along, _) = last.reach(gone, rules);
                    let within = |(x, y): &(f32, f32)| ((ax - bx) * x).hypot((ay - by) * y) <= along * x;
                    let reachable = rules.squares.iter().any(within);
                    if cost <= limit || reachable {
                        candidates.push(Candidate {
                            cost,
                            track: t,
                            found: d,
                            near: cost <= limit,
                            reachable,
                        });
                    }
                }
            }
        }
        candidates.sort_unstable_by(|a, b| {
            a.cost.total_cmp(&b.cost).then((a.track, a.found).cmp(&(b.track, b.found)))
        });
        pairs.clear();
        pairs.resize(found.len(), None);
        taken.clear();
        taken.resize(self.tracks.len(), false);
        for c in candidates.iter().filter(|c| c.near) {
            if pairs[c.found].is_none() && !taken[c.track] {
                // Almost as near, or near enough to have moved there: they may have been exchanged.
                let ambiguous = candidates.iter().any(|r| {
                    (r.track == c.track) != (r.found == c.found) && (r.reachable || r.cost < c.cost + 0.5)
                });
                pairs[c.found] = Some(Pair { track: c.track, ambiguous });
                taken[c.track] = true;
            }
        }
    }
}

/// A track and a detection that may be the same face or person.
struct Candidate {
    cost: f32,
    track: usize,
    found: usize,
    /// Near enough to be taken for the same.
    near: bool,
    /// Not too far for the greatest speed.
    reachable: bool,
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

impl Gap {
    fn length(&self) -> Duration {
        self.after.since(self.before)
    }
}

/// A box with its part outside the picture, which tells how large a face at the border is, but not further than one more
/// picture on each side.
fn near(r: &Rect, (width, height): (u32, u32)) -> Rect {
    let (w, h) = (width as f32, height as f32);
    Rect::from_corners(r.x0().max(-w), r.y0().max(-h), r.x1().min(2.0 * w), r.y1().min(2.0 * h)).unwrap_or(*r)
}

/// How far two boxes are apart: between their centres, in mean box sizes, plus how much their sizes differ. `None` when
/// one is more than three times as large as the other. `squares`: square pixels per pixel along rows and columns.
fn distance(a: &Rect, b: &Rect, squares: (f32, f32)) -> Option<f32> {
    let size = |r: &Rect| (r.width() * squares.0 * (r.height() * squares.1)).sqrt();
    let (sa, sb) = (size(a), size(b));
    let ratio = sa.max(sb) / sa.min(sb);
    if ratio > 3.0 {
        return None;
    }
    let ((ax, ay), (bx, by)) = (a.center(), b.center());
    let apart = ((ax - bx) * squares.0).hypot((ay - by) * squares.1);
    Some(apart / ((sa + sb) / 2.0) + 0.25 * ratio.ln())
}

impl Track {
    /// Adds the regions that hide this track at `t`.
    fn cover(&mut self, t: Timestamp, gap: Gap, rules: &Rules, size: (u32, u32), regions: &mut Vec<Region>) {
        let first = regions.len();
        self.cover_boxes(t, gap, rules, size, regions);
        if rules.policy.shape() == RegionShape::Padded
            && let Some(last) = regions.last().copied()
        {
            // One region for all of them: how many there are, and where they differ, would tell of the boxes.
            let hull = regions[first..].iter().map(|r| r.area).reduce(|a, b| a.hull(&b));
            regions.truncate(first);
            regions.extend(hull.map(|hull| Region { area: self.padding.cover(hull, size), ..last }));
        }
    }

    /// The same, as the boxes are.
    fn cover_boxes(
        &self,
        t: Timestamp,
        gap: Gap,
        rules: &Rules,
        size: (u32, u32),
        regions: &mut Vec<Region>,
    ) {
        let policy = &rules.policy;
        let Some(rule) = policy.rule(self.class) else { return };
        let grown = |s: &Sighting| s.rect.grown(rule.grow, s.slack);
        // As if it had no partner: grown by what it can have moved. Between the two observations around the frame that
        // is a promise, so it has no limit; beyond them it is a guess.
        let alone = |s: &Sighting, promised: bool| {
            let gone = s.at.distance(t);
            let gone = if promised { gone } else { gone.min(REACH.max(gap.length())) };
            grown(s).grown_by(1.0, s.reach(gone, rules))
        };
        // It can have left the picture since, or come into it, and whoever is taken for it can have come, or left.
        let crosses = |s: &Sighting| {
            let ((dx, dy), r) = (s.reach(gap.length(), rules), s.rect);
            let (w, h) = (size.0 as f32, size.1 as f32);
            r.x1() <= dx || r.y1() <= dy || r.x0() + dx >= w || r.y0() + dy >= h
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
                // One and the same only if both observations around the frame saw it, and nothing speaks against it.
                let doubtful = n.ambiguous || p.at < gap.before || n.at > gap.after;
                for s in [p, n] {
                    let promised = s.at >= gap.before && s.at <= gap.after;
                    if promised && (doubtful || crosses(s)) {
                        push(alone(s, true));
                    }
                }
            }
            (Some(p), None) => {
                let promised = p.at >= gap.before;
                // Until somebody looks at its place again it is there, and what moves there is covered by motion.
                let since = if promised { gap.after } else { t };
                if self.missed.is_none_or(|missed| missed > since) {
                    push(grown(p));
                } else if promised || t.since(p.at) <= policy.hold() {
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
