//! `milkglass live --to http://...` as its users meet it: players, scrapers, browsers, and those who should not be there.
#![allow(missing_docs, clippy::unwrap_used)]

mod access;
mod bounds;
mod browser;
mod camera;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod flood;
mod page;
mod picture;
mod prometheus;
