"use strict";
const $ = (id) => document.getElementById(id);

// ---- The state: asked for often, shown in words and colour

const WORDS = {
  starting: "starting", covered: "covered", degraded: "degraded", privacy: "privacy mode",
  self_test_failed: "self-test failed", no_camera: "no camera", stopped: "stopped", lost: "no connection",
};
const LOST = { state: "lost", text: "no connection: milkglass does not answer" };
const EVERY = 400;
let last = {};
let asked = 0;

async function refresh() {
  const mine = ++asked;
  let status = LOST;
  try {
    const response = await fetch("/status", { signal: AbortSignal.timeout(3000) });
    if (response.status === 401) return await login();
    if (response.ok) status = await response.json();
  } catch {
    // No answer is an answer.
  }
  // An answer to an older question may be outdated.
  if (mine === asked) show(status);
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, EVERY);
}

function show(status) {
  const word = WORDS[status.state] ?? status.state;
  if (status.state !== last.state) {
    $("state").dataset.state = status.state;
    $("word").textContent = word;
  }
  // A picture that is not covered anew may be an old one: nothing of it is shown.
  $("cover").hidden = status.state === "covered";
  if (status.text !== last.text) {
    $("covertext").textContent = status.text;
    $("text").textContent = status.text;
  }
  const alive = status.state !== "lost";
  const figure = (id, value, unit, digits) => {
    $(id).textContent = alive && value > 0 ? `${value.toFixed(digits)} ${unit}` : "–";
  };
  figure("fps", status.fps, "frames/s", 0);
  figure("latency", status.latency_ms, "ms", status.latency_ms < 10 ? 1 : 0);
  figure("exposure", status.exposure_ms, "ms", 0);
  if (alive) {
    $("privacy").setAttribute("aria-pressed", status.privacy);
    if (status.width !== last.width || status.height !== last.height) {
      $("frame").style.aspectRatio = `${status.width * status.pixel_aspect} / ${status.height}`;
      $("surface").setAttribute("viewBox", `0 0 ${status.width} ${status.height}`);
    }
    keepPlaying(status);
  }
  last = { ...last, ...status };
  draw();
}

// ---- The stream: read part by part, because an <img> would not tell that it has ended

const STALLED = 5000;
const picture = $("picture").getContext("2d");
let pictureAt = -STALLED;
let playing = new AbortController();

async function play() {
  playing.abort();
  playing = new AbortController();
  pictureAt = performance.now();
  const response = await fetch("/stream.mjpg", { signal: playing.signal });
  const reader = response.body.getReader();
  let bytes = new Uint8Array(0);
  let length = 0;
  let busy = false;
  while (response.ok) {
    const { done, value } = await reader.read();
    if (done) return;
    const more = new Uint8Array(bytes.length + value.length);
    more.set(bytes);
    more.set(value, bytes.length);
    bytes = more;
    for (;;) {
      if (!length) {
        const head = new TextDecoder("latin1").decode(bytes.subarray(0, 300));
        const end = head.indexOf("\r\n\r\n");
        length = end < 0 ? 0 : Number(/content-length: (\d+)/i.exec(head)[1]);
        if (end >= 0) bytes = bytes.subarray(end + 4);
      }
      if (!length || bytes.length < length) break;
      const jpeg = new Blob([bytes.subarray(0, length)], { type: "image/jpeg" });
      bytes = bytes.subarray(length);
      length = 0;
      // A browser that is too slow leaves out pictures.
      if (!busy) paint(jpeg).finally(() => { busy = false; });
      busy = true;
    }
  }
}

async function paint(jpeg) {
  try {
    const bitmap = await createImageBitmap(jpeg);
    const { canvas } = picture;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    }
    picture.drawImage(bitmap, 0, 0);
    bitmap.close();
    pictureAt = performance.now();
  } catch {
    // Cut off when privacy mode began; the next one is whole.
  }
}

/** Takes the stream up when frames leave but none arrives here: it has not begun, has stalled, or has ended. */
function keepPlaying(status) {
  if (status.fps > 0 && performance.now() - pictureAt >= STALLED) play().catch(() => {});
}

document.addEventListener("visibilitychange", () => {
  // Nobody looks: nothing need be encoded.
  pictureAt = -STALLED;
  if (document.hidden) playing.abort();
  else refresh();
});

// ---- The token: kept by this page alone, for as long as it is open

let token = "";
let asking = null;

const post = (path, body) => fetch(path, { method: "POST", headers: { Authorization: `Bearer ${token}` }, body });

/** Asks until the token is right; false when the owner gives up. */
function askToken(why, must) {
  asking ??= new Promise((done) => {
    $("askwhy").textContent = why;
    $("askerror").textContent = "";
    $("cancel").hidden = must;
    const end = (right) => {
      asking = null;
      $("token").value = "";
      $("ask").close();
      done(right);
    };
    $("ask").onsubmit = async (event) => {
      event.preventDefault();
      token = $("token").value.trim();
      $("askerror").textContent = "";
      try {
        // A token is a header's value: what is none cannot be right.
        const status = /^[!-~]+$/.test(token) ? (await post("/login")).status : 401;
        if (status === 204) return end(true);
        $("askerror").textContent = status === 401 ? "This is not the token." : `The answer was ${status}.`;
      } catch {
        $("askerror").textContent = LOST.text;
      }
      token = "";
    };
    $("cancel").onclick = () => end(false);
    $("ask").oncancel = (event) => (must ? event.preventDefault() : end(false));
    $("ask").showModal();
  });
  return asking;
}

async function login() {
  if (await askToken("This camera is shown only to whoever has its token.", true)) await refresh();
}

$("privacy").addEventListener("click", async () => {
  const on = $("privacy").getAttribute("aria-pressed") !== "true";
  const notice = (text) => { $("notice").textContent = text; };
  notice("");
  if (!last.changeable) return notice("To switch privacy mode here, start milkglass with --token-file FILE.");
  if (!token && !(await askToken(`Switching privacy mode ${on ? "on" : "off"} needs the token.`, false))) return;
  try {
    const response = await post("/privacy", JSON.stringify({ on }));
    if (response.status === 401) token = "";
    const text = await response.text();
    if (!response.ok) notice(text);
    else if (on) show({ ...last, state: "privacy", privacy: true, text: "privacy mode: everything is covered" });
  } catch {
    notice(LOST.text);
  }
  await refresh();
});

document.addEventListener("DOMContentLoaded", poll);
