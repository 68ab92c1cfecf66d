//! The page in a real browser.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::camera::{Live, TOKEN, wait};
use crate::client::{Pictures, fetch};
use crate::common::{black_share, example, milkglass, run, shared, small};

const DESKTOP: (u32, u32) = (1100, 760);
const PHONE: (u32, u32) = (360, 740);

/// What the picture on the page looks like now: the mean of each half, and a sum that changes with it.
const LOOK: &str = "(() => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [64, 36];
  const context = canvas.getContext('2d');
  context.drawImage(document.querySelector('#picture'), 0, 0, 64, 36);
  const mean = (x, w) => { const d = context.getImageData(x, 0, w, 36).data; let s = 0;
    for (let i = 0; i < d.length; i += 4) s += d[i] + d[i + 1] + d[i + 2]; return s / (d.length / 4 * 3); };
  return [mean(0, 28), mean(36, 28)];
})()";

fn open(live: &Live, size: (u32, u32)) -> Browser {
    Browser::open(&format!("http://{}/", live.address), size)
}

fn word(word: &str) -> String {
    format!("document.querySelector('#word')?.textContent === {word:?}")
}

#[test]
fn the_page_shows_the_redacted_picture_and_the_state_in_words() {
    let mut live = Live::start(&[]);
    let mut page = open(&live, DESKTOP);
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    let look = page.value(LOOK);
    assert!(look[0].as_f64().unwrap() < 8.0, "the zone shows: {look}");
    page.until(&format!("{LOOK}[1] !== {}", look[1]));
    page.until("/^\\d+ frames\\/s$/.test(document.querySelector('#fps').textContent)");
    assert_eq!(page.value("document.querySelector('#exposure').textContent"), "500 ms");
    page.until("document.querySelector('#cover').hidden");
    for size in [DESKTOP, PHONE] {
        page.resize(size);
        page.until(&format!("innerWidth === {}", size.0));
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(page.value(fits), true, "the page is wider than {size:?}");
    }
    // Other pages of this origin, such as a picture alone in a tab, may use <img>.
    page.value("window.other = new Image(); other.src = '/stream.mjpg'; 0");
    page.until("other.naturalWidth === 640");
    // Without a token the button says how to have one.
    page.click("#privacy");
    page.until("document.querySelector('#notice').textContent.includes('--token-file')");

    live.signal(Signal::USR1);
    page.until(&word("privacy mode"));
    live.signal(Signal::USR2);
    page.until(&word("covered"));
    live.freeze(true);
    page.until(&word("no camera"));
    page.until("!document.querySelector('#cover').hidden");
    live.freeze(false);
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    live.signal(Signal::TERM);
    live.exit_code();
    page.until(&word("no connection"));
    page.until("!document.querySelector('#cover').hidden");
    page.is_faultless();
}

#[test]
fn a_page_that_finds_no_stream_free_takes_up_the_next() {
    let live = Live::start(&[]);
    let crowd: Vec<Pictures> = (0..16).map(|_| Pictures::of(live.address)).collect();
    let mut page = open(&live, DESKTOP);
    page.until(&word("covered"));
    page.until("performance.getEntriesByName(new URL('/stream.mjpg', location).href).length > 0");
    assert_eq!(page.value(&format!("{LOOK}[1]")), 0);
    drop(crowd);
    page.until(&format!("{LOOK}[1] > 20"));
    page.is_faultless();
}

#[test]
fn zones_drawn_on_the_picture_become_a_policy_that_hides_them() {
    let live = Live::start(&[]);
    let mut page = open(&live, DESKTOP);
    page.until(&word("covered"));
    page.click("#draw");
    let at = |page: &mut Browser, x: f64, y: f64| page.place("#surface", (x, y));
    // A rectangle, with a name that needs quoting.
    let (from, to) = (at(&mut page, 0.6, 0.2), at(&mut page, 0.9, 0.5));
    page.drag(from, to);
    page.until("document.querySelectorAll('#zones li').length === 1");
    page.click("#zones .name");
    page.value("document.querySelector('#zones .name').select()");
    page.type_text("the \"blue\" door \\ ü");
    // A triangle by clicks, one of them wrong and taken back; closed at its first corner.
    for (x, y) in [(0.1, 0.6), (0.9, 0.9)] {
        let corner = at(&mut page, x, y);
        page.click_at(corner);
    }
    page.click("#undo");
    for (x, y) in [(0.4, 0.6), (0.1, 0.9), (0.1, 0.6)] {
        let corner = at(&mut page, x, y);
        page.click_at(corner);
    }
    page.until("document.querySelectorAll('#zones li').length === 2");
    page.value(
        "(() => { const s = document.querySelectorAll('#zones .style')[1]; s.value = 'pixelate';
        s.dispatchEvent(new Event('change')); })()",
    );
    page.until("!document.querySelectorAll('#zones .cosmetic')[1].hidden");
    assert_eq!(page.value("document.querySelectorAll('#zones .cosmetic')[0].hidden"), true);
    // Its second corner moved.
    let (from, to) = (at(&mut page, 0.4, 0.6), at(&mut page, 0.5, 0.7));
    page.drag(from, to);
    // A third one with the keyboard alone, and crossed, so that it is refused until that is undone.
    page.value("document.querySelector('#surface').focus()");
    let keys = |page: &mut Browser, keys: &str| {
        for key in keys.split(' ') {
            page.key(key);
        }
    };
    keys(
        &mut page,
        "ArrowUp Enter ArrowRight ArrowRight Enter ArrowDown ArrowDown ArrowLeft ArrowLeft Enter",
    );
    keys(&mut page, "ArrowRight ArrowRight Enter");
    page.click("#close");
    page.until("document.querySelectorAll('#zones li').length === 3");
    page.until("document.querySelectorAll('#zones .error')[2].textContent.includes('cross')");
    assert_eq!(page.value("document.querySelector('#download').disabled"), true);
    page.click("#undo");
    page.click("#undo");
    page.click("#close");
    page.until("!document.querySelector('#download').disabled");
    // For people to look at.
    page.screenshot(&shared("zones.png"));
    page.resize(PHONE);
    page.screenshot(&shared("zones-phone.png"));
    page.resize(DESKTOP);
    page.click("#download");
    let file = page.folder.path().join("zones.toml");
    let toml =
        wait("the file is there", || std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty()));
    assert_eq!(page.value("document.querySelector('#toml').value"), toml.as_str());
    page.is_faultless();

    let areas: Vec<Value> = toml
        .lines()
        .filter_map(|line| line.strip_prefix("area = "))
        .map(|area| serde_json::from_str(area).unwrap())
        .collect();
    let drawn = [
        json!([[0.6, 0.2], [0.9, 0.2], [0.9, 0.5], [0.6, 0.5]]),
        json!([[0.1, 0.6], [0.5, 0.7], [0.1, 0.9]]),
        json!([[0.5, 0.5], [0.54, 0.5], [0.5, 0.54]]),
    ];
    assert_eq!(areas.len(), drawn.len(), "{toml}");
    for (area, drawn) in areas.iter().zip(&drawn) {
        assert_eq!(area.as_array().unwrap().len(), drawn.as_array().unwrap().len(), "{toml}");
        for (corner, wanted) in area.as_array().unwrap().iter().zip(drawn.as_array().unwrap()) {
            for axis in [0, 1] {
                let off = corner[axis].as_f64().unwrap() - wanted[axis].as_f64().unwrap();
                assert!(off.abs() < 0.005, "{corner} instead of {wanted} in:\n{toml}");
            }
        }
    }
    let checked = run(milkglass().args(["policy", "check"]).arg(&file)).done().text();
    assert!(checked.contains(r#""the \"blue\" door \\ ü": inside its 4 corners"#), "{checked}");

    // And milkglass hides what was drawn.
    let hidden = Live::of(&small(), "127.0.0.1:0", &["--faces", "off", "--policy", file.to_str().unwrap()]);
    let still =
        wait("there is a still", || Some(fetch(hidden.address, "/snapshot.jpg")).filter(|r| r.status == 200));
    let picture = still.picture();
    assert!(black_share(&picture, [386.0, 74.0, 188.0, 104.0]) > 0.99, "the rectangle shows");
    assert!(black_share(&picture, [0.0, 0.0, 640.0, 360.0]) < 0.8, "everything is hidden");
}

/// Where the policy forbids cosmetic styles the page offers none, and a zone that has one already cannot be downloaded.
#[test]
fn a_policy_that_forbids_cosmetic_styles_is_held_to_by_the_page() {
    let live = Live::start(&["--reversible=false"]);
    let mut page = open(&live, DESKTOP);
    page.until(&word("covered"));
    page.click("#draw");
    let (from, to) = (page.place("#surface", (0.6, 0.2)), page.place("#surface", (0.9, 0.5)));
    page.drag(from, to);
    page.until("document.querySelectorAll('#zones li').length === 1");
    page.until("!document.querySelector('#download').disabled");
    let offered = "[...document.querySelectorAll('#zones option')].map((o) => [o.value, o.disabled])";
    page.until(&format!("JSON.stringify({offered}).includes('[\"blur\",true]')"));
    assert_eq!(page.value(offered), json!([["fill", false], ["pixelate", true], ["blur", true]]));
    page.value(
        "(() => { const s = document.querySelector('#zones .style'); s.value = 'blur';
        s.dispatchEvent(new Event('change')); })()",
    );
    page.until("document.querySelector('#zones .error').textContent.includes('reversible = false')");
    assert_eq!(page.value("document.querySelector('#download').disabled"), true);
    page.is_faultless();
}

#[test]
fn the_privacy_button_asks_for_the_token_and_the_page_shows_it_within_half_a_second() {
    let live = Live::with_token("127.0.0.1:0");
    let mut page = open(&live, PHONE);
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    // Notes what the owner sees, often, and when the server confirmed.
    page.value(
        "window.seen = []; window.confirmed = 0;
         new PerformanceObserver((list) => { for (const e of list.getEntries())
           if (e.name.endsWith('/privacy')) confirmed ||= e.responseEnd; }).observe({ type: 'resource', buffered: true });
         setInterval(() => seen.push([performance.now(), document.querySelector('#word').textContent,
           document.querySelector('#cover').hidden]), 10); 0",
    );
    page.click("#privacy");
    page.until("document.querySelector('#ask').open");
    page.type_text("not-the-right-token-at-all");
    page.key("Enter");
    page.until("document.querySelector('#askerror').textContent === 'This is not the token.'");
    assert_eq!(page.value("document.querySelector('#word').textContent"), "covered");
    page.value("document.querySelector('#token').select()");
    page.type_text(TOKEN);
    page.key("Enter");
    page.until(&word("privacy mode"));
    page.until("confirmed > 0 && seen.at(-1)[0] > confirmed + 1500");
    let late = "seen.filter(([at]) => at > confirmed + 500)";
    assert_eq!(page.value(&format!("{late}.length > 10")), true);
    let shown = page.value(&format!("{late}.filter(([, word, bare]) => word !== 'privacy mode' || bare)"));
    assert_eq!(shown, json!([]), "privacy mode does not show");
    page.until(&format!("{LOOK}.every((mean) => mean < 8)"));
    assert_eq!(page.value("document.querySelector('#privacy').getAttribute('aria-pressed')"), "true");
    // The page knows the token now; a page that is loaded anew does not.
    page.click("#privacy");
    page.until(&word("covered"));
    assert_eq!(page.value("document.querySelector('#ask').open"), false);
    let kept = "[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]";
    assert_eq!(page.value(kept), json!(["{}", "{}", ""]));
    page.is_faultless();
}

#[test]
fn beyond_loopback_the_page_asks_for_the_token_once() {
    let live = Live::with_token("0.0.0.0:0");
    let mut page = open(&live, PHONE);
    page.until("document.querySelector('#ask').open");
    assert_eq!(page.value(&format!("{LOOK}[1]")), 0);
    page.type_text(TOKEN);
    page.key("Enter");
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    page.call("Page.reload", json!({}));
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    assert_eq!(page.value("document.querySelector('#ask').open"), false);
    page.is_faultless();
}

/// The one test here with a detector. Leaves the picture for the README, docs/live-page.png, beside the other ones.
#[test]
fn the_page_shows_people_without_faces() {
    let live =
        Live::of(&example(), "127.0.0.1:0", &["--preset", "fast", "--max-gap", "5s", "--deadline", "20s"]);
    let mut page = open(&live, DESKTOP);
    page.until(&word("covered"));
    page.until(&format!("{LOOK}[1] > 20"));
    page.click("#draw");
    let (from, to) = (page.place("#surface", (0.05, 0.1)), page.place("#surface", (0.2, 0.5)));
    page.drag(from, to);
    page.until("document.querySelectorAll('#zones li').length === 1");
    assert_eq!(page.value("document.querySelector('#exposure').textContent"), "5000 ms");
    page.screenshot(&shared("live-page.png"));
    page.is_faultless();
}
