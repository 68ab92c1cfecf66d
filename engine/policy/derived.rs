//! What a policy file comes to once presets, defaults and keys that imply others are worked out.
//!
//! This is the one place where a value follows from others: the ratchet compares what is here, `policy explain` prints it, and
//! every door works by it. Whoever reads a key of the file itself instead may compare or show what is not done: `tiles` alone
//! means a look at every frame, whatever the preset says.

use std::time::Duration;

use super::keys::{
    DEADLINE, DETECT_EVERY, GROW, HOLD, Key, Kind, LADDER, LOOK_AHEAD, MAX_EXPOSURE, MAX_GAP, MOTION_COVER,
    ON_DEADLINE, PRESET, REVERSIBLE, SELF_TEST, SHAPE, SPEED, TILES,
};
use super::value::{OFF, Value, Written};
use super::zone_entry::style;
use super::{Policy, PolicyBuilder, PolicyError, PolicyFile, Preset, Settings, StyleName};
use crate::class::Class;

/// Frames of a clip that may wait for the look-ahead: above it the pool alone would take hundreds of megabytes.
const MOST_AHEAD: f64 = 64.0;
/// The shortest and the longest gap between two looks that a clip is let out over.
const CLIP_GAP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What is to be redacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Media {
    /// A single picture.
    Still,
    /// A picture that stands for a camera that does not move: looked at as a camera's are.
    Scene,
    /// A recorded clip, or another source that waits.
    Clip {
        /// Frames per second.
        fps: f64,
    },
    /// A camera, or another source that does not wait.
    Live,
}

/// How detectors look at something.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The preset.
    pub preset: Preset,
    /// What it and the policy's keys amount to.
    pub settings: Settings,
}

/// A policy file, worked out. Made by [`PolicyFile::derive`].
#[derive(Clone, Debug)]
pub struct Derived {
    file: PolicyFile,
    classes: Vec<Class>,
    moving: Look,
    rungs: Vec<Look>,
    stills: Look,
    still: Policy,
    scene: Policy,
    pub(crate) live: Policy,
}

impl PolicyFile {
    /// Works out what the file comes to.
    ///
    /// # Errors
    /// As [`PolicyFile::check`]; [`PolicyError`] of a policy that hides nothing, or could let nothing leave.
    pub fn derive(&self) -> Result<Derived, PolicyError> {
        self.derive_with(self.still_preset())
    }

    /// The same with another preset for stills than the file's own.
    ///
    /// # Errors
    /// As these.
    pub fn derive_with(&self, stills: Preset) -> Result<Derived, PolicyError> {
        self.check()?;
        let moving = self.preset().unwrap_or_default();
        let classes: Vec<Class> =
            Class::ALL.into_iter().filter(|class| self.style(*class) != StyleName::Off).collect();
        let look = |preset| Look { preset, settings: Settings::of(self, preset, &classes) };
        let scene = self.builder(&look(moving))?;
        Ok(Derived {
            moving: look(moving),
            rungs: self.ladder().into_iter().map(look).collect(),
            stills: look(stills),
            still: self.builder(&look(stills))?.build()?,
            live: self.live(scene.clone()).build()?,
            scene: scene.build()?,
            file: self.clone(),
            classes,
        })
    }

    /// Everything but the keys that are for live pictures.
    fn builder(&self, look: &Look) -> Result<PolicyBuilder, PolicyError> {
        let mut builder = PolicyBuilder::default();
        for class in Class::ALL {
            let own = match class {
                Class::Face => look.settings.face_grow,
                Class::Person => look.settings.person_grow,
            };
            if let Some(style) = style(self.style(class), self.color(), self.cells()) {
                builder = builder.hide_grown(class, style, self.number(&GROW).unwrap_or(own));
            }
        }
        for entry in self.zones.iter().filter(|z| z.enabled) {
            builder = builder.zone(entry.zone(self)?);
        }
        let covers = look.preset == Preset::Careful || self.switch(&TILES) == Some(true);
        let policy = &mut builder.policy;
        set(&mut policy.reversible, self.switch(&REVERSIBLE));
        set(&mut policy.shape, self.choice(&SHAPE));
        set(&mut policy.hold, self.time(&HOLD));
        set(&mut policy.speed, self.number(&SPEED));
        policy.motion_cover = self.switch(&MOTION_COVER).unwrap_or(covers);
        policy.obscure_color = self.color();
        Ok(builder)
    }

    /// Adds the keys for live pictures. Without a `max_gap` of its own, it is lowered to `max_exposure`.
    fn live(&self, mut builder: PolicyBuilder) -> PolicyBuilder {
        let policy = &mut builder.policy;
        set(&mut policy.look_ahead, self.time(&LOOK_AHEAD));
        set(&mut policy.max_gap, self.time(&MAX_GAP));
        policy.max_gap = policy.max_gap.min(self.time(&MAX_EXPOSURE).unwrap_or(Duration::MAX));
        policy.deadline = self.time(&DEADLINE);
        set(&mut policy.on_deadline, self.choice(&ON_DEADLINE));
        policy.self_test = match self.get(SELF_TEST.name) {
            Some(Value::Word(_)) => None,
            _ => Some(self.time(&SELF_TEST).unwrap_or(Duration::from_secs(300))),
        };
        builder
    }
}

impl Derived {
    /// The file that this was worked out from.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }
    /// What detectors look for.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }
    /// How they look at `media`, when they are fast enough.
    pub fn look(&self, media: Media) -> &Look {
        match media {
            Media::Still => &self.stills,
            Media::Scene | Media::Clip { .. } | Media::Live => &self.moving,
        }
    }
    /// How they look on each rung of the ladder, the best first.
    pub fn rungs(&self) -> &[Look] {
        &self.rungs
    }
    /// Frames from one look to the next in a clip, at least 1.
    pub fn detect_every(&self) -> u32 {
        self.moving.settings.detect_every
    }

    /// The policy for `media`. That of a clip looks ahead as far as it holds, as long as the frames that wait meanwhile fit
    /// into the pool, and lets pictures out over two looks of its rhythm, but no more than 10 s.
    pub fn policy(&self, media: Media) -> Policy {
        let mut policy = match media {
            Media::Still => self.still.clone(),
            Media::Scene | Media::Clip { .. } => self.scene.clone(),
            Media::Live => self.live.clone(),
        };
        if let Media::Clip { fps } = media {
            let frames = (policy.hold.as_secs_f64() * fps).ceil().clamp(0.0, MOST_AHEAD) as usize;
            let every = self.detect_every();
            let gap = Duration::from_secs_f64(f64::from(every) * 2.0 / fps.max(0.1));
            policy.look_ahead = policy.hold;
            policy.max_waiting = frames + every as usize;
            policy.max_gap = gap.clamp(CLIP_GAP.0, CLIP_GAP.1);
        }
        policy
    }

    /// The policy for live pictures, to go on from: other times, places told, a deadline of its own.
    pub fn live_builder(&self) -> PolicyBuilder {
        self.live.to_builder()
    }

    /// What a key outside of zones comes to; `None` where nothing bounds it, where each pass of a preset has its own value,
    /// and for zones.
    pub(crate) fn value(&self, key: &Key) -> Option<Value> {
        let time = |t: Duration| Some(Value::Time(t));
        match key.name {
            _ if *key == PRESET => Some(Value::Word(self.moving.preset.as_str())),
            _ if *key == MOTION_COVER => Some(Value::Switch(self.live.motion_cover)),
            _ if *key == DETECT_EVERY => Some(Value::Whole(self.detect_every())),
            _ if *key == MAX_GAP => time(self.live.max_gap),
            _ if *key == LADDER => {
                Some(Value::Words(self.rungs.iter().map(|rung| rung.preset.as_str()).collect()))
            }
            _ if *key == SELF_TEST => Some(self.live.self_test.map_or(Value::Word(OFF), Value::Time)),
            name => self.file.get(name).cloned().or_else(|| default(key)),
        }
    }

    /// What a key outside of zones comes to, defaults filled in and keys that imply it worked out, for people to read; `None`
    /// for an unknown key and for zones.
    pub fn effective(&self, key: &str) -> Option<String> {
        let key = self.file.keys().iter().find(|k| k.name == key && !k.in_zone() && k.kind != Kind::Zones)?;
        match (key.name == PRESET.name, self.look(Media::Still).preset, self.look(Media::Live).preset) {
            (true, stills, moving) if stills != moving => Some(format!("{moving}; {stills} on stills")),
            _ => Some(self.shown(key)),
        }
    }

    /// What holds for a key, in words where that is no constant.
    pub(crate) fn shown(&self, key: &Key) -> String {
        self.value(key).map_or_else(|| key.default.into(), |value| value.to_string())
    }

    /// The first key that is read when detectors are loaded and that comes to something else in `later`: such a policy cannot
    /// follow this one while a camera runs. One list for every door.
    pub fn needs_loading(&self, later: &Derived) -> Option<&'static str> {
        let keys = self.file.keys().iter().filter(|key| key.at_start);
        keys.into_iter().find(|key| self.value(key) != later.value(key)).map(|key| key.name)
    }
}

/// What the table says that holds where a file says nothing, unless those are words.
fn default(key: &Key) -> Option<Value> {
    let text = toml::de::DeValue::parse(key.default).ok()?;
    Written::new(key, &text).value().ok()
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As files and `milkglass policy keys` write it.
    #[test]
    fn no_time_is_shown_in_seconds() {
        assert_eq!(PolicyFile::default().derive().unwrap().effective("look_ahead").as_deref(), Some("0s"));
    }
}
