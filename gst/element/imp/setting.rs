//! What is set and read while it runs: privacy mode, the policy, figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use milkglass::pipeline::Status;
use milkglass::{Error, Opening};

use super::{Drive, MilkGlass, lock};
use crate::element::properties::{self, BackendName, PresetName};
use crate::opening::{Asked, follows};

impl MilkGlass {
    pub fn set(&self, name: &str, value: &glib::Value) {
        let text = || value.get::<Option<String>>().ok().flatten();
        match name {
            // While it runs, the one that is set takes the place of the other; to unset both would leave none.
            "policy-file" => self.ask(|asked, runs| {
                asked.policy_file = text();
                asked.policy = asked.policy.take().filter(|_| !runs || asked.policy_file.is_none());
            }),
            "policy" => self.ask(|asked, runs| {
                asked.policy = text();
                asked.policy_file = asked.policy_file.take().filter(|_| !runs || asked.policy.is_none());
            }),
            "pixel-aspect" => {
                let given = value.get::<gst::Fraction>().ok().filter(|f| f.numer() != 0);
                let part = |n: i32| u32::try_from(n).unwrap_or(0);
                self.ask_at_start(|asked| {
                    asked.pixel_aspect = given.map(|f| (part(f.numer()), part(f.denom())))
                });
            }
            "lock" => self.ask_at_start(|asked| asked.lock = text()),
            "owner-key" => self.ask_at_start(|asked| asked.owner_key = text()),
            "state-dir" => self.ask_at_start(|asked| asked.state_dir = text()),
            "models" => self.ask_at_start(|asked| asked.models = text()),
            "preset" => {
                let preset: PresetName = value.get().unwrap_or_default();
                lock(&self.chosen).preset = preset;
                self.ask_at_start(|asked| asked.preset = preset.choice());
            }
            "backend" => {
                let backend: BackendName = value.get().unwrap_or_default();
                lock(&self.chosen).backend = backend;
                self.ask_at_start(|asked| asked.backend = backend.choice());
            }
            "threads" => {
                self.ask_at_start(|asked| asked.threads = value.get().ok().filter(|n| *n > 0));
            }
            "pace" => lock(&self.chosen).pace = value.get().unwrap_or_default(),
            // Whatever cannot be read hides.
            "privacy-mode" => self.set_privacy(value.get().unwrap_or(true)),
            _ => {}
        }
    }

    pub fn get(&self, spec: &glib::ParamSpec) -> glib::Value {
        let asked = lock(&self.asked).clone();
        let chosen = *lock(&self.chosen);
        match spec.name() {
            "policy-file" => asked.policy_file.to_value(),
            "policy" => asked.policy.to_value(),
            "lock" => asked.lock.to_value(),
            "owner-key" => asked.owner_key.to_value(),
            "state-dir" => asked.state_dir.to_value(),
            "models" => asked.models.to_value(),
            "preset" => chosen.preset.to_value(),
            "backend" => chosen.backend.to_value(),
            "threads" => asked.threads.unwrap_or(0).to_value(),
            "pace" => chosen.pace.to_value(),
            "pixel-aspect" => {
                let (width, height) = asked.pixel_aspect.unwrap_or((0, 1));
                gst::Fraction::new(width.cast_signed(), height.cast_signed()).to_value()
            }
            "privacy-mode" => self.privacy.load(Ordering::SeqCst).to_value(),
            "state" => lock(&self.seen).name().to_value(),
            "stats" => self.stats().to_value(),
            _ => spec.default_value().clone(),
        }
    }

    fn set_privacy(&self, on: bool) {
        let _one = lock(&self.exchange);
        self.privacy.store(on, Ordering::SeqCst);
        if on {
            self.line.hide_covered();
        }
        if let Some(session) = lock(&self.session).clone() {
            session.set_privacy(on);
        }
        if !on {
            self.line.uncover();
        }
    }

    /// Changes what is asked for. While it runs, the new policy is in force when this returns, or refused with a warning.
    fn ask(&self, change: impl FnOnce(&mut Asked, bool)) {
        let refused = {
            let _one = lock(&self.exchange);
            let mut asked = lock(&self.asked).clone();
            let before = lock(&self.opening).clone();
            change(&mut asked, before.is_some());
            let exchanged = before.map_or(Ok(None), |before| self.exchange(&asked, &before));
            if exchanged.is_ok() {
                *lock(&self.asked) = asked;
            }
            exchanged
        };
        let warning = match refused {
            Ok(None) => None,
            Ok(Some(e)) => {
                Some(format!("{e}. The new policy is in force, but would be forgotten by a restart"))
            }
            Err(e) => Some(format!("{e}. The old policy stays in force")),
        };
        if let Some(text) = warning {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{text}"));
        }
        // Another deadline is another latency.
        if let Some(session) = lock(&self.session).clone() {
            self.tell_latency(&session);
        }
    }

    /// Changes what is read at the start alone; while it runs, [`follows`] refuses all else until that is taken back.
    fn ask_at_start(&self, change: impl FnOnce(&mut Asked)) {
        let _one = lock(&self.exchange);
        change(&mut lock(&self.asked));
    }

    /// Puts it in force. What comes back is why it could not be remembered.
    fn exchange(&self, asked: &Asked, before: &Opening) -> Result<Option<Error>, Error> {
        let opening = asked.read()?;
        follows(&opening, before, &lock(&self.loaded))?;
        let format = lock(&self.incoming).stream.as_ref().map(|s| s.format);
        format.map_or(Ok(()), |format| opening.check(&format))?;
        match lock(&self.session).clone() {
            Some(session) => {
                session.set_policy(&opening)?;
                if matches!(session.drive, Drive::Live(_)) {
                    // What waits for downstream was hidden by the old one alone.
                    self.line.forget();
                }
            }
            // Those that are loaded may look for other classes.
            None => *lock(&self.detectors) = None,
        }
        if let Some(names) = opening.leaves_out(before) {
            log::warn!("no longer hidden by the new policy: {names}");
        }
        let opening = lock(&self.opening).insert(Arc::new(opening)).clone();
        Ok(format.and_then(|format| opening.remember(&format).err().map(Error::from)))
    }

    fn stats(&self) -> gst::Structure {
        let mut totals = *lock(&self.past);
        let status = match lock(&self.session).clone() {
            Some(session) => {
                let status = session.status();
                totals.add(&status);
                status
            }
            None => {
                let mut status = Status::default();
                status.state = *lock(&self.seen);
                status
            }
        };
        totals.missed += self.line.missed();
        properties::structure(&totals, &status)
    }
}
