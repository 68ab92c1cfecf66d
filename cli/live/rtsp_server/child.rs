//! The child: redacted frames from stdin, RTSP to whoever asks. All clients share one encoder, which rests without them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::gst_rtsp::{RTSPAuthMethod, RTSPLowerTrans};
use gstreamer_rtsp_server::prelude::*;

use super::bound;
use crate::args::RtspServerArgs;
use crate::live::fed_child::CLOCK;
use milkglass_parsers::nut::{NutError, Reader, VideoStream};

/// Name of the pipeline's source.
pub const SOURCE: &str = "frames";
/// The user that the password belongs to.
const USER: &str = "milkglass";
/// Plug-ins: sources and queues, the encoder, RTP, UDP.
const PLUGINS: [&str; 6] = ["coreelements", "app", "x264", "rtp", "rtpmanager", "udp"];
/// Clients at the same time.
const CLIENTS: u32 = 16;
/// Connections without a session; of more, the oldest makes room. A recorder sets up its session at once.
const UNDECIDED: usize = 64;
/// Time to set it up.
const SET_UP: Duration = Duration::from_secs(10);
/// Ports for UDP: those that nobody has a claim to.
const PORTS: (u16, u16) = (49_152, 65_535);
/// A frame that would be shown more than this off the pipeline's clock: the camera's clock has jumped.
const JUMP: Duration = Duration::from_secs(1);

/// The source of the running pipeline, if there are clients.
type Source = Arc<Mutex<Option<AppSrc>>>;

/// Runs until stdin ends.
pub fn run(args: &RtspServerArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "[error] {reason}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &RtspServerArgs) -> Result<(), String> {
    gst::init().map_err(|e| format!("GStreamer: {e}"))?;
    load_plugins()?;
    gst::parse::launch(&args.launch).map_err(|e| format!("GStreamer: {e}"))?;
    if args.check {
        return Ok(());
    }
    let mut input = BufReader::with_capacity(1 << 20, io::stdin());
    let mut password = String::new();
    input.read_line(&mut password).map_err(|e| format!("the password: {e}"))?;
    let source = Source::default();
    let main = glib::MainLoop::new(None, false);
    let _server = listen(args, password.trim_end(), &source)?;
    let reader = {
        let main = main.clone();
        std::thread::spawn(move || {
            let ended = forward(input, &source);
            main.quit();
            ended
        })
    };
    main.run();
    match reader.join() {
        Ok(Err(NutError::Io(e))) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Ok(ended) => ended.map_err(|e| format!("the frames: {e}")),
        Err(_) => Err("the reader panicked".into()),
    }
}

/// From where GStreamer itself was loaded: only these, and no search.
fn load_plugins() -> Result<(), String> {
    let folder = plugin_folder().ok_or("GStreamer's plug-ins were not found")?;
    for plugin in PLUGINS {
        let file = folder.join(format!("libgst{plugin}.so"));
        gst::Plugin::load_file(&file).map_err(|e| {
            format!(
                "GStreamer cannot load {}: {e}; install gstreamer1.0-plugins-base, -good and -ugly",
                file.display()
            )
        })?;
    }
    Ok(())
}

fn plugin_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find(|line| line.contains("/libgstreamer-1.0.so"))?;
    let path = Path::new(&library[library.find('/')?..]);
    Some(path.parent()?.join("gstreamer-1.0"))
}

fn listen(args: &RtspServerArgs, password: &str, source: &Source) -> Result<rtsp::RTSPServer, String> {
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(&args.launch);
    factory.set_shared(true);
    factory.set_protocols(RTSPLowerTrans::TCP | RTSPLowerTrans::UDP);
    factory.set_latency(0);
    if let Some(ip) = bound(args.address.ip()) {
        let pool = rtsp::RTSPAddressPool::new();
        pool.add_range(&ip, &ip, PORTS.0, PORTS.1, 0).map_err(|e| e.to_string())?;
        factory.set_address_pool(Some(&pool));
    }
    let current = Arc::clone(source);
    factory.connect_media_configure(move |_, media| {
        let found = media.element().downcast::<gst::Bin>().ok().and_then(|bin| bin.by_name(SOURCE));
        let Some(own) = found.and_then(|element| element.downcast::<AppSrc>().ok()) else { return };
        let (weak, current) = (own.downgrade(), Arc::clone(&current));
        *lock(&current) = Some(own);
        media.connect_unprepared(move |_| {
            // The next client's pipeline may have been made before this one has ended.
            let mut current = lock(&current);
            if current.as_ref().map(AppSrc::downgrade) == Some(weak.clone()) {
                *current = None;
            }
        });
    });

    let server = rtsp::RTSPServer::new();
    server.set_address(&args.address.ip().to_string());
    server.set_service(&args.address.port().to_string());
    if !password.is_empty() {
        let token = rtsp::RTSPToken::builder().field("media.factory.role", USER).build();
        let role = gst::Structure::builder(USER).field("media.factory.access", true);
        factory.add_role_from_structure(&role.field("media.factory.construct", true).build());
        let auth = rtsp::RTSPAuth::new();
        // Digest alone: with Basic, whoever listens on the line would learn the password.
        auth.set_supported_methods(RTSPAuthMethod::Digest);
        auth.add_digest(USER, password, &token);
        server.set_auth(Some(&auth));
    }
    let mounts = server.mount_points().ok_or("the server has no mount points")?;
    mounts.add_factory(&args.path, factory);
    let sessions = server.session_pool().ok_or("the server has no sessions")?;
    sessions.set_max_sessions(CLIENTS);
    let crowd = Arc::<Mutex<Crowd>>::default();
    glib::timeout_add_seconds(2, {
        let crowd = Arc::clone(&crowd);
        move || {
            sessions.cleanup();
            Crowd::make_room(&crowd);
            glib::ControlFlow::Continue
        }
    });
    let source = Arc::clone(source);
    server.connect_client_connected(move |_, client| {
        lock(&crowd).0.push((Instant::now(), client.downgrade()));
        Crowd::make_room(&crowd);
        let source = Arc::clone(&source);
        client.connect_play_request(move |_, _| {
            // The lock is not held while GStreamer works.
            let current = lock(&source).clone();
            if let Some(source) = current {
                request_keyframe(&source);
            }
        });
    });
    server.attach(None).map_err(|_| format!("cannot listen at {}", args.address))?;
    Ok(server)
}

/// All connections, and when they came.
#[derive(Default)]
struct Crowd(Vec<(Instant, glib::WeakRef<rtsp::RTSPClient>)>);

impl Crowd {
    /// Ends connections that have no session: those that are too many, and those that had time enough. Whoever holds many of
    /// them open would keep recorders out otherwise: this program may open only so many.
    fn make_room(crowd: &Mutex<Crowd>) {
        let mut undecided = Vec::new();
        lock(crowd).0.retain(|(since, client)| {
            let Some(client) = client.upgrade() else { return false };
            if client.session_filter(None).is_empty() {
                undecided.push((*since, client));
            }
            true
        });
        let too_many = undecided.len().saturating_sub(UNDECIDED);
        for (at, (since, client)) in undecided.iter().enumerate() {
            if at < too_many || since.elapsed() > SET_UP {
                client.close();
            }
        }
    }
}

/// A client that has just come can show nothing before one.
fn request_keyframe(source: &AppSrc) {
    let unit = gst::Structure::builder("GstForceKeyUnit")
        .field("timestamp", gst::ClockTime::NONE)
        .field("stream-time", gst::ClockTime::NONE)
        .field("running-time", gst::ClockTime::NONE)
        .field("all-headers", true)
        .field("count", 0u32);
    source.send_event(gst::event::CustomDownstream::new(unit.build()));
}

/// Drops all frames that the pipeline holds: in its queues, in the encoder, and before the sockets.
fn forget(source: &Source) {
    let current = lock(source).clone();
    if let Some(source) = current {
        source.send_event(gst::event::FlushStart::new());
        source.send_event(gst::event::FlushStop::new(false));
        request_keyframe(&source);
    }
}

/// Frames from `input` to the pipeline, if there is one; to nowhere otherwise.
fn forward(input: impl Read, source: &Source) -> Result<(), NutError> {
    let mut frames = Reader::open(input, 1 << 30)?;
    let layout = Layout::of(frames.stream());
    // What is added to a capture time to get the pipeline's, for the source it belongs to.
    let mut offset: Option<(AppSrc, i128)> = None;
    while let Some(frame) = frames.next_frame()? {
        if frame.len == 0 {
            forget(source);
            io::stdout().write_all(&[0]).and_then(|()| io::stdout().flush())?;
            continue;
        }
        let captured = i128::from(frame.pts) * 1_000_000_000 / i128::from(CLOCK);
        let mut buffer = gst::Buffer::with_size(layout.len).map_err(|e| io::Error::other(e.to_string()))?;
        let fresh = buffer.get_mut().ok_or_else(|| io::Error::other("a shared buffer"))?;
        {
            let mut bytes = fresh.map_writable().map_err(|e| io::Error::other(e.to_string()))?;
            for (from, width) in layout.rows() {
                frames.read_exact(&mut bytes[from..from + width])?;
            }
        }
        let Some(current) = lock(source).clone() else { continue };
        // Until it plays, the pipeline's time is not its own, and a frame may be shown hours later.
        if current.current_state() != gst::State::Playing {
            continue;
        }
        let Some(now) = current.current_running_time().map(|t| i128::from(t.nseconds())) else { continue };
        let kept = offset
            .take()
            .filter(|(of, by)| *of == current && (captured + by - now).unsigned_abs() < JUMP.as_nanos());
        let (_, by) = offset.insert(kept.unwrap_or_else(|| (current.clone(), now - captured)));
        let pts = u64::try_from(captured + *by).unwrap_or_default();
        fresh.set_pts(gst::ClockTime::from_nseconds(pts));
        // Fails while the pipeline ends, and then the frame is not missed.
        let _ = current.push_buffer(buffer);
    }
    Ok(())
}

/// Where the rows of planar 4:2:0 lie in GStreamer's memory: their starts are multiples of four bytes.
struct Layout {
    width: usize,
    height: usize,
    len: usize,
}

impl Layout {
    fn of(stream: &VideoStream) -> Layout {
        let (width, height) = (stream.width as usize, stream.height as usize);
        let len = width.next_multiple_of(4) * height + (width / 2).next_multiple_of(4) * height;
        Layout { width, height, len }
    }

    /// Start and width of every row, in the order of the stream.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let (luma, chroma) = (self.width.next_multiple_of(4), (self.width / 2).next_multiple_of(4));
        let (width, height) = (self.width, self.height);
        let planes = (0..height).map(move |y| (y * luma, width));
        planes.chain((0..height).map(move |y| (height * luma + y * chroma, width / 2)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
