//! What can be asked of the server, and who may ask.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use super::auth::{Names, Refusal, Token};
use super::hub::{Hub, MOST_STREAMS, STREAM_TYPE};
use super::places::Visit;
use super::{figures, page};
use crate::live::control::Control;

/// Bytes of a request's body.
const LONGEST_BODY: usize = 1024;
/// Time for a request's body.
const BODY: Duration = Duration::from_secs(2);
/// A wrong token is answered so late.
const WRONG_TOKEN: Duration = Duration::from_millis(500);

/// What the routes need.
pub struct Site {
    pub hub: Arc<Hub>,
    pub control: Arc<Control>,
    pub names: Names,
    pub token: Option<Token>,
    /// Listens beyond loopback, or a proxy brings others: everything needs the token.
    pub public: bool,
    /// Proxies whose word on where a request comes from counts.
    pub proxies: Vec<IpAddr>,
}

type Shared = Arc<Site>;
/// The request carries the token or its session.
#[derive(Clone, Copy)]
struct Known(bool);

/// All routes, behind the checks that every request has to pass.
pub fn router(site: Site) -> Router {
    let site = Arc::new(site);
    Router::new()
        .route("/", get(show_page))
        .route("/stream.mjpg", get(stream))
        .route("/snapshot.jpg", get(still))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/privacy", post(privacy))
        .route("/login", post(login))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such page\n") })
        .layer(from_fn_with_state(Arc::clone(&site), admit))
        .layer(map_response(harden))
        .with_state(site)
}

/// Lets a request pass that names this server and, beyond loopback, carries the token or its session.
async fn admit(
    State(site): State<Shared>,
    Extension(visit): Extension<Arc<Visit>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (local, headers) = (visit.local, request.headers());
    let known = site.token.as_ref().is_some_and(|t| t.admits(headers, local.port()));
    visit.asks(headers, known);
    if !known {
        // One request a turn, however many somebody has sent at once: the owner's is not behind them.
        yield_now().await;
    }
    if let Err(refusal) = site.names.check(request.uri(), headers, local) {
        return refused(refusal);
    }
    let admitted = !site.public || known;
    request.extensions_mut().insert(Known(known));
    match request.uri().path() {
        _ if admitted => next.run(request).await,
        // Checks the token itself.
        "/login" => next.run(request).await,
        // The page holds nothing, and asks for the token.
        "/" => (StatusCode::UNAUTHORIZED, page::response()).into_response(),
        _ => refused(TOKEN_NEEDED),
    }
}

const TOKEN_NEEDED: Refusal =
    (StatusCode::UNAUTHORIZED, "this needs the token of --token-file, as `Authorization: Bearer TOKEN`");

fn refused((status, why): Refusal) -> Response {
    let mut response = (status, format!("{why}\n")).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Headers of every response: nothing is stored, guessed, framed, or used by a page of another origin.
async fn harden(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        // The page brings its own policy.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn show_page() -> Response {
    page::response().into_response()
}

async fn stream(
    State(site): State<Shared>,
    Extension(visit): Extension<Arc<Visit>>,
    Extension(Known(known)): Extension<Known>,
) -> Response {
    match site.hub.stream(known) {
        Some(pictures) => {
            visit.looks();
            ([(header::CONTENT_TYPE, STREAM_TYPE)], Body::from_stream(pictures)).into_response()
        }
        None => {
            let why = format!("{MOST_STREAMS} streams are open already; close one\n");
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
    }
}

async fn still(State(site): State<Shared>) -> Response {
    match site.hub.still().await {
        Some((length, jpeg)) => {
            let headers =
                [(header::CONTENT_TYPE, "image/jpeg".into()), (header::CONTENT_LENGTH, length.to_string())];
            (headers, Body::from_stream(jpeg)).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "there is no picture of the last 2 s\n").into_response(),
    }
}

async fn status(State(site): State<Shared>) -> Response {
    let figures = figures::status(&site.control, site.token.is_some());
    ([(header::CONTENT_TYPE, "application/json")], figures.to_string()).into_response()
}

async fn metrics(State(site): State<Shared>) -> Response {
    let text = figures::metrics(&site.control, site.hub.streams());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn health(State(site): State<Shared>) -> Response {
    let (healthy, text) = figures::health(&site.control.status());
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{text}\n")).into_response()
}

/// The token for a cookie: an `<img>` cannot send headers.
async fn login(
    State(site): State<Shared>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
) -> Result<Response, Response> {
    let token = bearer(&site, request.headers()).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, token.cookie(visit.local.port()))]).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    on: bool,
}

/// Privacy mode on or off; answered when it is stored and holds.
async fn privacy(State(site): State<Shared>, request: Request) -> Result<Response, Response> {
    bearer(&site, request.headers()).await?;
    let body = timeout(BODY, to_bytes(request.into_body(), LONGEST_BODY)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let Ok(Wish { on }) = serde_json::from_slice(&body) else {
        return Err(refused((
            StatusCode::BAD_REQUEST,
            "the body has to be {\"on\": true} or {\"on\": false}",
        )));
    };
    let control = Arc::clone(&site.control);
    let set = spawn_blocking(move || control.set_privacy(on)).await;
    match set.map_err(|e| e.to_string()).and_then(|set| set.map_err(|e| e.to_string())) {
        Ok(()) => {
            let body = serde_json::json!({ "privacy": on }).to_string();
            Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
        }
        Err(why) => {
            log::error!("{why}");
            Err((StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response())
        }
    }
}

/// The token, if the request carries it itself; a session is not enough to change something.
async fn bearer<'a>(site: &'a Site, headers: &HeaderMap) -> Result<&'a Token, Response> {
    let Some(token) = &site.token else {
        let why = "milkglass was started without a token, so nothing can be changed from here: add --token-file FILE";
        return Err(refused((StatusCode::FORBIDDEN, why)));
    };
    if token.is_borne(headers) {
        return Ok(token);
    }
    sleep(WRONG_TOKEN).await;
    Err(refused(TOKEN_NEEDED))
}
