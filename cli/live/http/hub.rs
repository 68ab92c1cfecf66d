//! The newest redacted picture, and everybody who looks at it.
//!
//! One slot that is overwritten, watched by every client at its own pace: a slow one loses pictures, blocks nobody, and
//! costs no memory, because the encoded bytes are shared.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use milkglass::Result;
use milkglass::frame::{Outcome, RedactedFrame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout_at;

use super::jpeg;

/// Age at which the newest picture may no longer be shown as a still.
const EXPIRES: Duration = Duration::from_secs(2);
/// Bytes given to a connection at once: when nothing may be shown any more, no more than this was given too early.
const PIECE: usize = 16 << 10;
/// Streams at a time; the other connections are for the page, stills and figures.
pub const MOST_STREAMS: usize = 16;
/// Streams beyond those, for whoever has the token.
const KEPT_STREAMS: usize = 4;

/// What separates the pictures of a stream.
pub const STREAM_TYPE: &str = "multipart/x-mixed-replace; boundary=milkglass";
const FIRST: &[u8] = b"--milkglass\r\n";
/// Sent at once and not before the next picture: browsers show a picture when it is there.
const NEXT: &[u8] = b"\r\n--milkglass\r\n";

/// An encoded picture.
struct Picture {
    jpeg: Bytes,
    outcome: Outcome,
    /// How often everything had been forgotten when it came.
    epoch: u64,
}

#[derive(Default)]
struct Newest {
    /// When the newest frame came, encoded or not.
    came: Option<Instant>,
    /// That frame, if somebody was looking.
    picture: Option<Arc<Picture>>,
}

/// Where the pipeline's thread and the clients meet.
pub struct Hub {
    newest: watch::Sender<Newest>,
    /// How often, and when last, everything was forgotten.
    forgotten: AtomicU64,
    forgot: watch::Sender<Option<Instant>>,
    ended: watch::Sender<bool>,
    streams: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    /// Whether privacy mode is on.
    privacy: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Hub {
    /// Nothing to see yet. `privacy` tells whether privacy mode is on.
    pub fn new(privacy: impl Fn() -> bool + Send + Sync + 'static) -> Hub {
        Hub {
            newest: watch::Sender::default(),
            forgotten: AtomicU64::new(0),
            forgot: watch::Sender::default(),
            ended: watch::Sender::default(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            kept: Arc::new(Semaphore::new(KEPT_STREAMS)),
            privacy: Box::new(privacy),
        }
    }

    /// Shows a frame to whoever looks. It is encoded only if somebody does, and kept only then.
    pub fn show(&self, frame: &RedactedFrame) -> Result<()> {
        let epoch = self.forgotten.load(Ordering::SeqCst);
        let picture = match self.newest.receiver_count() {
            0 => None,
            _ => {
                Some(Arc::new(Picture { jpeg: jpeg::encode(frame)?.into(), outcome: frame.outcome(), epoch }))
            }
        };
        self.newest.send_if_modified(|newest| {
            newest.came = Some(Instant::now());
            newest.picture = picture;
            newest.picture.is_some()
        });
        Ok(())
    }

    /// Drops the picture, and what of it waits for clients.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.newest.send_if_modified(|newest| newest.picture.take().is_some());
        self.forgot.send_replace(Some(Instant::now()));
    }

    /// When everything was forgotten last.
    pub fn forgot(&self) -> Option<Instant> {
        *self.forgot.borrow()
    }

    /// No more pictures: streams end.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Waits for the end.
    pub async fn ended(&self) {
        // The sender is part of self, so waiting cannot fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        MOST_STREAMS + KEPT_STREAMS - self.streams.available_permits() - self.kept.available_permits()
    }

    /// In privacy mode only what is covered whole may be shown, even if an older picture has not been forgotten yet.
    fn may_show(&self, picture: &Picture) -> bool {
        picture.epoch == self.forgotten.load(Ordering::SeqCst)
            && (picture.outcome == Outcome::Obscured || !(self.privacy)())
    }

    /// The newest frame as JPEG and its length; waits for one if nobody has been looking. `None` when there is none that is
    /// new enough.
    pub async fn still(self: &Arc<Self>) -> Option<(usize, impl Stream<Item = Result<Bytes>> + use<>)> {
        let mut looking = self.newest.subscribe();
        let showable = |newest: &Newest| newest.picture.clone().filter(|p| self.may_show(p));
        let expires = looking.borrow().came? + EXPIRES;
        if Instant::now() >= expires {
            return None;
        }
        let waited = timeout_at(expires.into(), looking.wait_for(|newest| showable(newest).is_some())).await;
        let picture = showable(&*waited.ok()?.ok()?)?;
        let mut waiting = Waiting { hub: Arc::clone(self), pieces: VecDeque::new(), picture: None };
        let length = picture.jpeg.len();
        waiting.add(picture);
        Some((length, unfold(waiting, async |mut waiting| Some((Ok(waiting.next()?), waiting)))))
    }

    /// All pictures from now on, for one client, who has the token or not. `None` when there are too many.
    pub fn stream(self: &Arc<Self>, known: bool) -> Option<impl Stream<Item = Result<Bytes>> + use<>> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit =
            permit.or_else(|e| if known { Arc::clone(&self.kept).try_acquire_owned() } else { Err(e) });
        let viewer = Viewer {
            _permit: permit.ok()?,
            newest: self.newest.subscribe(),
            waiting: Waiting {
                hub: Arc::clone(self),
                pieces: [Piece::Frame(FIRST.into())].into(),
                picture: None,
            },
        };
        Some(unfold(viewer, async |mut viewer| Some((Ok(viewer.next().await?), viewer))))
    }
}

/// One client of the stream.
struct Viewer {
    _permit: OwnedSemaphorePermit,
    newest: watch::Receiver<Newest>,
    waiting: Waiting,
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.waiting.next() {
                return Some(piece);
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                () = self.waiting.hub.ended() => return None,
            }
            let picture = self.newest.borrow_and_update().picture.clone();
            if let Some(picture) = picture.filter(|p| self.waiting.hub.may_show(p)) {
                self.waiting.add_part(picture);
            }
        }
    }
}

/// What one client has still to be given of a picture.
struct Waiting {
    hub: Arc<Hub>,
    pieces: VecDeque<Piece>,
    picture: Option<Arc<Picture>>,
}

enum Piece {
    /// What stands around pictures.
    Frame(Bytes),
    /// A part of the picture.
    Jpeg(Bytes),
}

impl Waiting {
    fn add(&mut self, picture: Arc<Picture>) {
        let all = picture.jpeg.len();
        let starts = (0..all).step_by(PIECE);
        self.pieces.extend(starts.map(|at| Piece::Jpeg(picture.jpeg.slice(at..all.min(at + PIECE)))));
        self.picture = Some(picture);
    }

    fn add_part(&mut self, picture: Arc<Picture>) {
        let length = picture.jpeg.len();
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        self.pieces.push_back(Piece::Frame(head.into()));
        self.add(picture);
        self.pieces.push_back(Piece::Frame(NEXT.into()));
    }

    fn next(&mut self) -> Option<Bytes> {
        // The rest of a picture that may no longer be shown is zeros: its length was announced, and the stream goes on.
        static NOTHING: [u8; PIECE] = [0; PIECE];
        let may_show = self.picture.as_ref().is_some_and(|p| self.hub.may_show(p));
        let piece = match self.pieces.pop_front()? {
            Piece::Jpeg(jpeg) if !may_show => Bytes::from_static(&NOTHING).slice(..jpeg.len()),
            Piece::Jpeg(bytes) | Piece::Frame(bytes) => bytes,
        };
        if self.pieces.is_empty() {
            self.picture = None;
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;

    use futures_util::StreamExt as _;

    use super::*;

    /// A hub, a picture of three pieces, and the switch of privacy mode.
    fn shown(outcome: Outcome) -> (Arc<Hub>, Arc<AtomicBool>) {
        let on = Arc::new(AtomicBool::new(false));
        let privacy = Arc::clone(&on);
        let hub = Arc::new(Hub::new(move || privacy.load(Ordering::SeqCst)));
        (show(&hub, outcome), on)
    }

    fn show(hub: &Arc<Hub>, outcome: Outcome) -> Arc<Hub> {
        let jpeg = vec![7; 2 * PIECE + 100].into();
        let picture = Some(Arc::new(Picture { jpeg, outcome, epoch: hub.forgotten.load(Ordering::SeqCst) }));
        hub.newest.send_replace(Newest { came: Some(Instant::now()), picture });
        Arc::clone(hub)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn a_picture_that_is_forgotten_half_way_ends_in_zeros_and_the_stream_goes_on() {
        run(async {
            let (hub, _) = shown(Outcome::Covered);
            let mut stream = pin!(hub.stream(false).unwrap());
            assert_eq!(stream.next().await.unwrap().unwrap(), FIRST);
            show(&hub, Outcome::Covered);
            let head = stream.next().await.unwrap().unwrap();
            assert!(head.ends_with(format!("Content-Length: {}\r\n\r\n", 2 * PIECE + 100).as_bytes()));
            assert_eq!(stream.next().await.unwrap().unwrap(), vec![7; PIECE]);
            hub.forget();
            assert_eq!(stream.next().await.unwrap().unwrap(), vec![0; PIECE]);
            assert_eq!(stream.next().await.unwrap().unwrap(), vec![0; 100]);
            assert_eq!(stream.next().await.unwrap().unwrap(), NEXT);
            show(&hub, Outcome::Obscured);
            stream.next().await;
            assert_eq!(stream.next().await.unwrap().unwrap(), vec![7; PIECE]);
        });
    }

    #[test]
    fn in_privacy_mode_only_what_is_covered_whole_is_shown_even_before_it_is_forgotten() {
        run(async {
            let (hub, on) = shown(Outcome::Covered);
            assert!(hub.still().await.is_some());
            on.store(true, Ordering::SeqCst);
            assert!(hub.still().await.is_none());
            show(&hub, Outcome::Obscured);
            assert!(hub.still().await.is_some());
            hub.forget();
            assert!(hub.still().await.is_none());
        });
    }

    #[test]
    fn a_still_expires() {
        run(async {
            let (hub, _) = shown(Outcome::Covered);
            hub.newest.send_modify(|newest| newest.came = Instant::now().checked_sub(EXPIRES));
            assert!(hub.still().await.is_none());
        });
    }

    #[test]
    fn streams_end_with_the_hub_and_give_back_their_place() {
        run(async {
            let (hub, _) = shown(Outcome::Covered);
            let mut streams: Vec<_> = (0..MOST_STREAMS).filter_map(|_| hub.stream(false)).collect();
            assert!(streams.len() == MOST_STREAMS && hub.stream(false).is_none());
            streams.extend((0..KEPT_STREAMS).filter_map(|_| hub.stream(true)));
            assert!(hub.streams() == MOST_STREAMS + KEPT_STREAMS && hub.stream(true).is_none());
            hub.end();
            for stream in streams {
                assert_eq!(pin!(stream).collect::<Vec<_>>().await.len(), 1);
            }
            assert_eq!(hub.streams(), 0);
        });
    }
}
