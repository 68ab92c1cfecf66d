//! Who may be connected. A newcomer is never sent away: it may be the owner, who wants the picture covered. Somebody without
//! the token, who has waited longest, makes room, so nobody can hold all places; whoever showed the token stays.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, header};
use tokio::sync::Notify;

/// Connections without the token, of all addresses. Streams take only some of them (`hub::MOST_STREAMS`).
pub const MOST: usize = 256;
/// Connections without the token, of one address.
pub const MOST_OF_ONE: usize = 64;
/// Connections with the token; the one that showed it longest ago loses its place among them, not its connection.
pub const KEPT: usize = 16;

/// The places, and the proxies whose word on where a request comes from counts.
#[derive(Default)]
pub struct Places {
    taken: Mutex<Vec<Place>>,
    proxies: Vec<IpAddr>,
}

struct Place {
    /// Grows with every connection.
    number: u64,
    /// Whom it counts for; `None` for a proxy's connection that has brought no request yet.
    of: Option<IpAddr>,
    /// When it came, or its last request.
    since: Instant,
    looks: bool,
    token: bool,
    sent_away: Arc<Notify>,
}

impl Places {
    /// `proxies` were named by the owner.
    pub fn new(proxies: &[IpAddr]) -> Places {
        Places { taken: Mutex::default(), proxies: proxies.iter().map(IpAddr::to_canonical).collect() }
    }

    /// A place for a connection from `peer` to `local`. Whoever makes room for it is told by [`Visit::sent_away`].
    pub fn enter(self: &Arc<Places>, peer: SocketAddr, local: SocketAddr) -> Visit {
        let peer = peer.ip().to_canonical();
        let through_proxy = self.proxies.contains(&peer);
        let mut taken = self.lock();
        let number = taken.last().map_or(0, |last| last.number + 1);
        let sent_away = Arc::<Notify>::default();
        taken.push(Place {
            number,
            of: (!through_proxy).then(|| neighbourhood(peer)),
            since: Instant::now(),
            looks: false,
            token: false,
            sent_away: Arc::clone(&sent_away),
        });
        make_room(&mut taken, number);
        Visit { places: Arc::clone(self), number, peer, through_proxy, sent_away, local }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, which it leaves when this is dropped.
pub struct Visit {
    places: Arc<Places>,
    number: u64,
    peer: IpAddr,
    through_proxy: bool,
    sent_away: Arc<Notify>,
    /// The address that it came in at.
    pub local: SocketAddr,
}

impl Visit {
    /// A whole request's head has come. Whether it carries the token counts until the next one, since a proxy sends the
    /// requests of many over one connection.
    pub fn asks(&self, headers: &HeaderMap, token: bool) {
        let of = match self.through_proxy {
            true => forwarded_for(headers).unwrap_or(self.peer),
            false => self.peer,
        };
        let mut taken = self.places.lock();
        // Whoever is being sent away has no place any more.
        let Some(own) = taken.iter_mut().find(|p| p.number == self.number) else { return };
        (own.of, own.since, own.looks, own.token) = (Some(neighbourhood(of)), Instant::now(), false, token);
        if taken.iter().filter(|p| p.token).count() > KEPT
            && let Some(oldest) = taken.iter_mut().filter(|p| p.token).min_by_key(|p| p.since)
        {
            oldest.token = false;
        }
        make_room(&mut taken, self.number);
    }

    /// The request is answered by a stream: others make room first.
    pub fn looks(&self) {
        if let Some(own) = self.places.lock().iter_mut().find(|p| p.number == self.number) {
            own.looks = true;
        }
    }

    /// Waits until somebody else needs this place.
    pub async fn sent_away(&self) {
        self.sent_away.notified().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.places.lock().retain(|p| p.number != self.number);
    }
}

/// Sends away whoever is too many, but not the newcomer.
fn make_room(taken: &mut Vec<Place>, newcomer: u64) {
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    taken.iter().filter(|p| !p.token).for_each(|p| *counts.entry(p.of).or_default() += 1);
    let of = taken.iter().find(|p| p.number == newcomer && !p.token).and_then(|p| p.of);
    let too_many = of.filter(|of| counts[&Some(*of)] > MOST_OF_ONE).map(Some);
    // In sum those make room who are most.
    let fullest = counts.values().max().copied().filter(|_| counts.values().sum::<usize>() > MOST);
    let makes_room = |p: &Place| {
        let most = fullest.is_some_and(|most| counts.get(&p.of) == Some(&most));
        p.number != newcomer && !p.token && (too_many == Some(p.of) || too_many.is_none() && most)
    };
    let candidates = taken.iter().enumerate().filter(|(_, p)| makes_room(p));
    if let Some((at, _)) = candidates.min_by_key(|(_, p)| (p.looks, p.since)) {
        taken.remove(at).sent_away.notify_one();
    }
}

/// All addresses that one client is easily given: an IPv4 address, or a /64 of IPv6.
fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip => ip,
    }
}

/// The address that the proxy itself has added: the last one. What stands before it, anybody may have written. `None` when
/// there is none, or when both headers are there: one of them is then the client's own.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = |name: &HeaderName| headers.get_all(name).iter().next_back().map(|v| v.to_str());
    match (last(&HeaderName::from_static("x-forwarded-for")), last(&header::FORWARDED)) {
        (Some(hops), None) => address(hops.ok()?.rsplit(',').next()?),
        (None, Some(hops)) => {
            let hop = hops.ok()?.rsplit(',').next()?;
            let pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
            let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            address(named.next()?.1.trim().trim_matches('"'))
        }
        _ => None,
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LOCAL: &str = "192.0.2.1:80";

    fn enter(places: &Arc<Places>, ip: &str) -> Visit {
        places.enter(SocketAddr::new(ip.parse().unwrap(), 1), LOCAL.parse().unwrap())
    }

    fn is_gone(visit: &Visit) -> bool {
        visit.sent_away().now_or_never().is_some()
    }

    fn gone(visits: &[Visit]) -> usize {
        visits.iter().filter(|v| is_gone(v)).count()
    }

    #[test]
    fn an_address_has_so_many_and_its_oldest_makes_room_but_not_for_others() {
        let places = Arc::new(Places::default());
        let other = enter(&places, "198.51.100.1");
        let mut crowd: Vec<Visit> = (0..MOST_OF_ONE).map(|_| enter(&places, "192.0.2.9")).collect();
        crowd[0].looks();
        assert_eq!(gone(&crowd), 0);
        crowd.push(enter(&places, "::ffff:192.0.2.9"));
        assert!(is_gone(&crowd[1]) && gone(&crowd) == 0 && !is_gone(&other));
        drop(crowd);
        assert_eq!(places.lock().len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_many_addresses_have_a_sum() {
        let places = Arc::new(Places::default());
        let near: Vec<Visit> =
            (0..=MOST_OF_ONE).map(|n| enter(&places, &format!("2001:db8::{n:x}"))).collect();
        assert_eq!(gone(&near), 1);
        let rest = MOST - MOST_OF_ONE;
        let far: Vec<Visit> = (0..rest).map(|n| enter(&places, &format!("2001:db8:1:{n:x}::1"))).collect();
        assert_eq!((gone(&near), gone(&far)), (0, 0));
        // Whoever has most places gives one up.
        let newcomer = enter(&places, "192.0.2.9");
        assert_eq!((gone(&near), gone(&far), is_gone(&newcomer)), (1, 0, false));
    }

    #[test]
    fn the_token_keeps_a_place_for_the_sixteen_who_showed_it_last() {
        let places = Arc::new(Places::default());
        let owners: Vec<Visit> = (0..=KEPT)
            .map(|_| {
                let owner = enter(&places, "192.0.2.9");
                owner.asks(&HeaderMap::new(), true);
                owner
            })
            .collect();
        let crowd: Vec<Visit> =
            (0..2 * MOST).map(|n| enter(&places, &format!("10.0.{}.{}", n / 256, n % 256))).collect();
        assert_eq!(gone(&owners), 1);
        assert_eq!(places.lock().len(), MOST + KEPT);
        drop(crowd);
    }

    #[test]
    fn behind_a_proxy_each_request_counts_for_whom_the_proxy_names() {
        let places = Arc::new(Places::new(&["10.0.0.1".parse().unwrap()]));
        let of = |text: &str| {
            HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), text.parse().unwrap())])
        };
        let owner = enter(&places, "10.0.0.1");
        owner.asks(&of("192.0.2.50"), false);
        let crowd: Vec<Visit> = (0..=MOST_OF_ONE)
            .map(|n| {
                let one = enter(&places, "10.0.0.1");
                one.asks(&of(&format!("192.0.2.{n}, 192.0.2.99")), false);
                one
            })
            .collect();
        assert_eq!((gone(&crowd), is_gone(&owner)), (1, false));
        // Nobody else may say such things.
        let liar = enter(&places, "192.0.2.9");
        liar.asks(&of("198.51.100.1"), false);
        assert_eq!(places.lock().last().unwrap().of, Some("192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn the_last_hop_is_the_proxys_own() {
        let of = |headers: &[(&'static str, &str)]| {
            let pairs = headers.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()));
            forwarded_for(&pairs.collect())
        };
        for (name, value, address) in [
            ("x-forwarded-for", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.7:4711", "192.0.2.7"),
            ("x-forwarded-for", "x,[2001:db8::7]:4711", "2001:db8::7"),
            ("forwarded", "for=198.51.100.1, FOR=\"[2001:db8::7]:4711\";proto=http", "2001:db8::7"),
            ("forwarded", "proto=http; for=192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(of(&[(name, value)]), Some(address.parse().unwrap()), "{value}");
        }
        let mut twice = HeaderMap::new();
        for hop in ["198.51.100.1", "192.0.2.7"] {
            twice.append("x-forwarded-for", hop.parse().unwrap());
        }
        assert_eq!(forwarded_for(&twice), Some("192.0.2.7".parse().unwrap()));
        for unclear in [
            &[("x-forwarded-for", "192.0.2.7, unknown")][..],
            &[("x-forwarded-for", "")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "by=192.0.2.7")],
            &[("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=198.51.100.1")],
            &[],
        ] {
            assert_eq!(of(unclear), None, "{unclear:?}");
        }
    }
}
