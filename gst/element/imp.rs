//! The element itself.

mod setting;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use milkglass::error::SourceKind;
use milkglass::frame::FrameMeta;
use milkglass::geometry::Orientation;
use milkglass::opening::Loaded;
use milkglass::pipeline::{State, Status};
use milkglass::source::Pushed;
use milkglass::time::Timestamp;
use milkglass::{Detector, Error, Media, Opening};

use super::Pace;
use super::properties::{self, Chosen, Totals};
use crate::clip::Clip;
use crate::line::{Line, Next, Stamp};
use crate::live::Live;
use crate::logging::CATEGORY;
use crate::opening::{Asked, MakeDetectors};
use crate::picture::{self, Stream};

/// The rate that is assumed where caps tell none, and the highest that is believed.
const USUAL_FPS: f64 = 30.0;
const MOST_FPS: f64 = 1000.0;
/// How often the state is looked at.
const WATCH: Duration = Duration::from_millis(50);
/// How much longer than a deadline an event waits for the frames before it; one behind frames of a file waits for all.
const SLACK: Duration = Duration::from_millis(500);
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

pub struct MilkGlass {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    line: Arc<Line>,
    asked: Mutex<Asked>,
    chosen: Mutex<Chosen>,
    privacy: AtomicBool,
    /// From READY to PAUSED on.
    opening: Mutex<Option<Arc<Opening>>>,
    loaded: Mutex<Loaded>,
    /// Loaded, and not in use.
    detectors: Mutex<Option<Vec<Box<dyn Detector>>>>,
    /// One exchange of the policy, of privacy mode, or of the session at a time.
    exchange: Mutex<()>,
    session: Mutex<Option<Arc<Session>>>,
    incoming: Mutex<Incoming>,
    /// What sessions that have ended counted, and pictures that were skipped before the engine.
    past: Mutex<Totals>,
    /// What the picture showed when it was looked at last.
    seen: Mutex<State>,
    latency: AtomicU64,
    failed: AtomicBool,
}

/// A stream of one format.
struct Session {
    drive: Drive,
    fps: f64,
    /// It is being ended: that it stops is no fault.
    ending: AtomicBool,
}

enum Drive {
    Live(Live),
    Clip(Box<Clip>),
}

/// What belongs to the thread that pushes.
#[derive(Default)]
struct Incoming {
    stream: Option<Stream>,
    orientation: Option<Orientation>,
    id: Option<String>,
    /// The last frame: the engine's time, its own, and when it came.
    captured: u64,
    pts: Option<gst::ClockTime>,
    arrived: Option<Instant>,
    ended: bool,
}

impl Session {
    fn status(&self) -> Status {
        match &self.drive {
            Drive::Live(live) => live.status(),
            Drive::Clip(clip) => clip.status(),
        }
    }

    fn set_privacy(&self, on: bool) {
        match &self.drive {
            Drive::Live(live) => live.set_privacy(on),
            Drive::Clip(clip) => clip.set_privacy(on),
        }
    }

    fn set_policy(&self, opening: &Opening) -> Result<(), Error> {
        match &self.drive {
            Drive::Live(live) => live.set_policy(opening.policy(Media::Live)),
            Drive::Clip(clip) => clip.set_policy(opening.policy(Media::Clip { fps: self.fps })),
        }
    }
}

impl Incoming {
    /// Another stretch of the same stream.
    fn restart(&mut self) {
        (self.captured, self.pts, self.arrived, self.ended) = (0, None, None, false);
    }

    /// The engine's time of a frame: as much later than the last one as its own time says, or as it came if that says
    /// nothing. How far somebody may have moved depends on it.
    fn captured(&mut self, pts: Option<gst::ClockTime>, period: Option<Duration>) -> Timestamp {
        let now = Instant::now();
        let arrived = self.arrived.map_or(Duration::ZERO, |then| now - then);
        let told = match (self.pts, pts) {
            (Some(then), Some(pts)) if pts > then => Some((pts - then).nseconds()),
            _ => None,
        };
        let came = period.unwrap_or(arrived).max(Duration::from_micros(1)).as_nanos() as u64;
        self.captured = self.captured.saturating_add(told.unwrap_or(came));
        (self.pts, self.arrived) = (pts.or(self.pts), Some(now));
        Timestamp::from_nanos(self.captured)
    }
}

impl MilkGlass {
    pub fn set_detectors(&self, make: Arc<MakeDetectors>) {
        lock(&self.asked).detectors = Some(make);
    }

    // What comes in.

    fn chain(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(why) = self.line.failed() {
            return Err(why);
        }
        if lock(&self.incoming).ended {
            return Err(gst::FlowError::Eos);
        }
        let session = self.session()?;
        let Some(stream) = lock(&self.incoming).stream.clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let period = match session.drive {
            Drive::Live(_) => None,
            Drive::Clip(_) => Some(Duration::from_secs_f64(1.0 / session.fps)),
        };
        let captured = lock(&self.incoming).captured(buffer.pts(), period);
        let sequence = self.line.next_sequence();
        let (pts, dts, duration) = (buffer.pts(), buffer.dts(), buffer.duration());
        self.line.announce(Stamp { sequence, pts, dts, duration });
        let pushed = match &session.drive {
            Drive::Live(live) => live.push(captured, |view| picture::read(buffer, &stream.info, view)),
            Drive::Clip(clip) => {
                let meta = FrameMeta { sequence, captured };
                clip.push(meta, |view| picture::read(buffer, &stream.info, view))
                    .map(|()| Pushed::Taken(sequence))
            }
        };
        self.line.settle(sequence, matches!(pushed, Ok(Pushed::Taken(_))));
        match pushed {
            Ok(Pushed::Taken(_)) => {}
            Ok(Pushed::Skipped) => lock(&self.past).skipped += 1,
            Ok(Pushed::Shut | Pushed::Ended) => {
                self.fault(&session);
                return Err(gst::FlowError::Error);
            }
            Err(Error::Source(e)) if e.kind() == SourceKind::Damaged => {
                lock(&self.past).skipped += 1;
                gst::warning!(CATEGORY, imp = self, "{e}");
            }
            Err(e) => {
                self.refuse(&e);
                return Err(gst::FlowError::Error);
            }
        }
        self.line.failed().map_or(Ok(gst::FlowSuccess::Ok), Err)
    }

    /// The session of the present format; starts it with the first frame.
    fn session(&self) -> Result<Arc<Session>, gst::FlowError> {
        if let Some(session) = lock(&self.session).clone() {
            return Ok(session);
        }
        let Some(stream) = lock(&self.incoming).stream.clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let live = match lock(&self.chosen).pace {
            Pace::Live => true,
            Pace::Wait => false,
            Pace::Auto => {
                let mut query = gst::query::Latency::new();
                !self.sinkpad.peer_query(&mut query) || query.result().0
            }
        };
        let started = {
            let _one = lock(&self.exchange);
            let started = self.start(&stream, live);
            if let Ok(session) = &started {
                *lock(&self.session) = Some(Arc::clone(session));
            }
            started
        };
        match started {
            Ok(session) => {
                self.tell_latency(&session);
                Ok(session)
            }
            Err(e) => {
                self.refuse(&e);
                Err(gst::FlowError::Error)
            }
        }
    }

    fn start(&self, stream: &Stream, live: bool) -> Result<Arc<Session>, Error> {
        let opening = lock(&self.opening).clone();
        let opening = opening.ok_or_else(|| Error::other("the element is not in PAUSED"))?;
        let stream = &Stream {
            format: opening.shaped(stream.format, stream.format.pixel_aspects()),
            ..stream.clone()
        };
        opening.check(&stream.format)?;
        let loaded = lock(&self.detectors).take();
        let detectors = loaded.map_or_else(|| self.load(&opening), Ok)?;
        let fps = stream.fps.unwrap_or(USUAL_FPS).min(MOST_FPS);
        let privacy = self.privacy.load(Ordering::SeqCst);
        let drive = match live {
            true => Drive::Live(Live::start(
                opening.policy(Media::Live),
                detectors,
                stream,
                fps,
                privacy,
                &self.line,
            )?),
            false => {
                let (policy, every) = (opening.policy(Media::Clip { fps }), opening.detect_every());
                Drive::Clip(Box::new(Clip::start(policy, detectors, every, stream, privacy, &self.line)?))
            }
        };
        opening.remember(&stream.format)?;
        Ok(Arc::new(Session { drive, fps, ending: AtomicBool::new(false) }))
    }

    /// Ends the session: what is in it leaves first if `finish`, else is thrown away.
    fn end_session(&self, finish: bool) {
        let Some(session) = lock(&self.session).clone() else { return };
        session.ending.store(true, Ordering::SeqCst);
        let mut failed = None;
        match &session.drive {
            Drive::Live(live) => {
                if finish {
                    live.finish(|| self.line.is_flushing());
                }
                failed = live.end().err();
            }
            Drive::Clip(clip) => {
                if finish {
                    failed = clip.finish().err();
                }
                *lock(&self.detectors) = Some(clip.end());
            }
        }
        {
            let _one = lock(&self.exchange);
            lock(&self.past).add(&session.status());
            *lock(&self.session) = None;
        }
        if let Some(e) = failed {
            self.refuse(&e);
        }
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        use gst::EventView as View;
        let seqnum = event.seqnum();
        match event.view() {
            View::FlushStart(_) => {
                self.line.flush();
                let sent = self.srcpad.push_event(event);
                let _ = self.srcpad.pause_task();
                return sent;
            }
            View::FlushStop(_) => {
                self.end_session(false);
                lock(&self.incoming).restart();
                self.line.flow();
                let sent = self.srcpad.push_event(event);
                return self.start_task().is_ok() && sent;
            }
            View::StreamStart(e) => {
                // How another stream's pictures are turned says nothing about this one's.
                let id = e.stream_id().to_owned();
                if lock(&self.incoming).id.as_ref() != Some(&id) {
                    self.turn(Some(Orientation::UPRIGHT));
                }
                {
                    let mut incoming = lock(&self.incoming);
                    (incoming.ended, incoming.id) = (false, Some(id));
                }
                // Without the GstStream that it may carry: tags and caps of before are in there.
                let mut plain =
                    gst::event::StreamStart::builder(e.stream_id()).flags(e.stream_flags()).seqnum(seqnum);
                if let Some(group) = e.group_id() {
                    plain = plain.group_id(group);
                }
                self.follow(plain.build());
            }
            View::Caps(e) => return self.take_caps(e.caps(), seqnum),
            View::Tag(e) => {
                // A tag may hold a picture, a place, a name. Only how the picture is turned goes on.
                if let Some(tag) = e.tag().get::<gst::tags::ImageOrientation>() {
                    let name = tag.get().to_owned();
                    self.turn(picture::orientation(&name));
                    let mut tags = gst::TagList::new();
                    if let Some(tags) = tags.get_mut() {
                        tags.add::<gst::tags::ImageOrientation>(&name.as_str(), gst::TagMergeMode::Replace);
                        tags.set_scope(e.tag().scope());
                    }
                    self.follow(gst::event::Tag::builder(tags).seqnum(seqnum).build());
                }
            }
            View::Eos(_) => {
                self.end_session(true);
                lock(&self.incoming).ended = true;
                self.follow(event);
            }
            View::Segment(_) | View::Gap(_) | View::SegmentDone(_) | View::StreamGroupDone(_) => {
                self.follow(event);
            }
            // Numbers alone, and encoders need it.
            View::CustomDownstream(_) if event.has_name("GstForceKeyUnit") => self.follow(event),
            View::CustomDownstreamOob(_) if event.has_name("GstForceKeyUnit") => {
                return self.srcpad.push_event(event);
            }
            // Whatever else there is may carry pictures.
            _ => gst::debug!(CATEGORY, imp = self, "not passed on: {:?}", event.type_()),
        }
        true
    }

    fn take_caps(&self, caps: &gst::CapsRef, seqnum: gst::Seqnum) -> bool {
        let orientation = lock(&self.incoming).orientation.unwrap_or(Orientation::UPRIGHT);
        let stream = match Stream::from_caps(caps, orientation) {
            Ok(stream) => stream,
            Err(e) => {
                gst::element_imp_error!(self, gst::StreamError::Format, ["{e}"]);
                return false;
            }
        };
        let same = lock(&self.incoming).stream.as_ref().is_some_and(|s| s.caps == stream.caps);
        if !same {
            self.end_session(true);
            self.follow(gst::event::Caps::builder(&stream.caps).seqnum(seqnum).build());
            lock(&self.incoming).stream = Some(stream);
        }
        true
    }

    /// Frames are turned another way from now on: the detector needs to know.
    fn turn(&self, orientation: Option<Orientation>) {
        let Some(orientation) = orientation else { return };
        let turned = {
            let incoming = lock(&self.incoming);
            incoming.orientation.unwrap_or(Orientation::UPRIGHT) != orientation
        };
        if turned {
            self.end_session(true);
            let mut incoming = lock(&self.incoming);
            incoming.orientation = Some(orientation);
            if let Some(stream) = &mut incoming.stream {
                stream.format = stream.format.with_orientation(orientation);
            }
        }
    }

    /// Sends an event after the frames that came before it.
    fn follow(&self, event: gst::Event) {
        let session = lock(&self.session).clone();
        let patience = match session.as_deref() {
            Some(Session { drive: Drive::Live(live), .. }) => live.status().deadline + SLACK,
            Some(_) => NO_LIMIT,
            None => Duration::ZERO,
        };
        self.line.follow(event, patience);
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let serialized = query.is_serialized();
        match query.view_mut() {
            // Upstream gets no memory of downstream's: raw pixels would be in it.
            gst::QueryViewMut::Allocation(q) => {
                q.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
                true
            }
            // Frames are copied before they are taken in.
            gst::QueryViewMut::Drain(_) => true,
            _ if serialized => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    // What goes out.

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let gst::QueryViewMut::Latency(q) = query.view_mut() else {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        };
        let mut before = gst::query::Latency::new();
        if !self.sinkpad.peer_query(&mut before) {
            return false;
        }
        let (live, min, max) = before.result();
        let own = gst::ClockTime::from_nseconds(self.latency.load(Ordering::SeqCst));
        let own = if live { own } else { gst::ClockTime::ZERO };
        q.set(live, min + own, max.map(|max| max + own));
        true
    }

    /// A frame leaves at its deadline at the latest; downstream has to allow for it.
    fn tell_latency(&self, session: &Session) {
        let latency = match &session.drive {
            Drive::Live(live) => live.status().deadline,
            Drive::Clip(clip) => clip.delay(session.fps),
        };
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if self.latency.swap(latency, Ordering::SeqCst) != latency {
            let _ = self.obj().post_message(gst::message::Latency::builder().src(&*self.obj()).build());
        }
    }

    fn src_activate(&self, mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CATEGORY, "only frames that are pushed can be redacted"));
        }
        if active {
            self.line.flow();
            self.start_task().map_err(Into::into)
        } else {
            self.line.flush();
            self.srcpad.stop_task().map_err(Into::into)
        }
    }

    fn start_task(&self) -> Result<(), glib::BoolError> {
        let imp = self.ref_counted();
        self.srcpad.start_task(move || imp.hand_over())
    }

    /// One turn of the source pad's task.
    fn hand_over(&self) {
        match self.line.next(WATCH) {
            Next::Buffer(buffer) => {
                if let Err(why) = self.srcpad.push(buffer) {
                    if why != gst::FlowError::Flushing {
                        self.line.fail(why);
                    }
                    // After the end of the stream nobody upstream could be told.
                    if lock(&self.incoming).ended
                        && !matches!(why, gst::FlowError::Eos | gst::FlowError::Flushing)
                    {
                        gst::element_imp_error!(
                            self,
                            gst::StreamError::Failed,
                            ["downstream refused a frame: {why:?}"]
                        );
                    }
                }
            }
            Next::Event(event) => {
                self.srcpad.push_event(event);
            }
            Next::Idle => {}
            Next::Flushing => {
                let _ = self.srcpad.pause_task();
            }
        }
        self.watch();
    }

    /// Posts what changed, and notices a session that ended by itself.
    fn watch(&self) {
        let session = lock(&self.session).clone();
        let Some(session) = session.filter(|s| !s.ending.load(Ordering::SeqCst)) else { return };
        let state = session.status().state;
        if session.ending.load(Ordering::SeqCst) {
            return;
        }
        if state == State::Stopped {
            self.fault(&session);
        }
        self.show(state);
    }

    fn show(&self, state: State) {
        let before = std::mem::replace(&mut *lock(&self.seen), state);
        if before != state {
            let said = gst::Structure::builder("milkglass-state")
                .field("state", state.name())
                .field("previous", before.name())
                .field("text", sentence(state))
                .build();
            let message = gst::message::Element::builder(said).src(&*self.obj()).build();
            let _ = self.obj().post_message(message);
        }
    }

    /// The session has ended by itself: nothing more leaves, and the pipeline hears why.
    fn fault(&self, session: &Session) {
        let Drive::Live(live) = &session.drive else { return };
        self.refuse(&live.end().err().unwrap_or(Error::Ended));
    }

    /// Posts an error, once.
    fn refuse(&self, e: &Error) {
        if self.failed.swap(true, Ordering::SeqCst) {
            return;
        }
        let text = format!("{e}. Nothing unredacted has left, and nothing more will");
        match e {
            Error::Policy(_) | Error::Model(_) => {
                gst::element_imp_error!(self, gst::LibraryError::Settings, ("{text}"));
            }
            _ => gst::element_imp_error!(self, gst::LibraryError::Failed, ("{text}")),
        }
    }

    /// READY to PAUSED: everything that can be wrong with the settings is found here.
    fn prepare(&self) -> Result<(), Error> {
        // Whoever changes what is asked for meanwhile waits, and is heard afterwards.
        let _one = lock(&self.exchange);
        let opening = lock(&self.asked).read()?;
        *lock(&self.detectors) = Some(self.load(&opening)?);
        *lock(&self.opening) = Some(Arc::new(opening));
        *lock(&self.incoming) = Incoming::default();
        self.line.reset();
        *lock(&self.past) = Totals::default();
        *lock(&self.seen) = State::Starting;
        self.failed.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Loads detectors, and remembers what they are.
    fn load(&self, opening: &Opening) -> Result<Vec<Box<dyn Detector>>, Error> {
        let asked = lock(&self.asked).clone();
        let (detectors, loaded) = asked.detectors(opening)?;
        *lock(&self.loaded) = loaded;
        Ok(detectors)
    }

    /// PAUSED to READY: what waited is thrown away, and buffers go back scrubbed.
    fn clear(&self) {
        self.end_session(false);
        *lock(&self.detectors) = None;
        *lock(&self.opening) = None;
        *lock(&self.incoming) = Incoming::default();
        self.latency.store(0, Ordering::SeqCst);
        self.show(State::Stopped);
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MilkGlass {
    const NAME: &'static str = "GstMilkGlass";
    type Type = super::MilkGlass;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = |name: &str| class.pad_template(name).expect("every pad has a template");
        let sinkpad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.chain(&buffer),
                )
            })
            .event_function(|_, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_event(event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = gst::Pad::builder_from_template(&template("src"))
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, query))
            })
            .activatemode_function(|_, parent, mode, active| {
                let panicked = || Err(gst::loggable_error!(CATEGORY, "panicked before"));
                Self::catch_panic_pad_function(parent, panicked, |imp| imp.src_activate(mode, active))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        MilkGlass {
            sinkpad,
            srcpad,
            line: Arc::default(),
            asked: Mutex::default(),
            chosen: Mutex::default(),
            privacy: AtomicBool::new(false),
            opening: Mutex::default(),
            loaded: Mutex::default(),
            detectors: Mutex::default(),
            exchange: Mutex::default(),
            session: Mutex::default(),
            incoming: Mutex::default(),
            past: Mutex::default(),
            seen: Mutex::new(State::Stopped),
            latency: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }
}

impl ObjectImpl for MilkGlass {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        for pad in [&self.sinkpad, &self.srcpad] {
            if let Err(e) = element.add_pad(pad) {
                gst::error!(CATEGORY, imp = self, "{e}");
            }
        }
    }

    fn properties() -> &'static [glib::ParamSpec] {
        properties::all()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        self.set(spec.name(), value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        self.get(spec)
    }
}

impl GstObjectImpl for MilkGlass {}

impl ElementImpl for MilkGlass {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: std::sync::OnceLock<gst::subclass::ElementMetadata> = std::sync::OnceLock::new();
        Some(METADATA.get_or_init(|| {
            gst::subclass::ElementMetadata::new(
                "Milkglass privacy redactor",
                "Filter/Effect/Video",
                "Hides faces, persons and zones in raw video; whatever fails or comes late leaves obscured",
                "The milkglass project",
            )
        }))
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: std::sync::OnceLock<Vec<gst::PadTemplate>> = std::sync::OnceLock::new();
        TEMPLATES.get_or_init(|| {
            let caps = picture::caps();
            let template = |name: &str, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            };
            [template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)]
                .into_iter()
                .flatten()
                .collect()
        })
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => self.prepare().map_err(|e| {
                self.failed.store(false, Ordering::SeqCst);
                self.refuse(&e);
                gst::StateChangeError
            })?,
            gst::StateChange::PausedToReady => self.line.flush(),
            _ => {}
        }
        let changed = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.clear();
        }
        Ok(changed)
    }
}

/// A state in a sentence, for whoever reads the bus.
fn sentence(state: State) -> &'static str {
    match state {
        State::Starting => "no detection has succeeded yet: everything is obscured",
        State::Covered => "frames leave with everything hidden that was found",
        State::Degraded => "frames leave obscured whole, because detection fails or does not keep up",
        State::Privacy => "privacy mode: everything is obscured",
        State::SelfTestFailed => "the detector failed its self-test: everything is obscured until it passes",
        State::NoCamera => "no frame has come for two seconds",
        _ => "it has ended: nothing leaves",
    }
}

/// Every state is a good one, so a poisoned lock is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
