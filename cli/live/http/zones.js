"use strict";
// ---- Zones: drawn on the redacted picture, in fractions of it

const surface = $("surface");
let zones = [];   // { name, style, inverted, area: [[x, y], ...] }
let open = [];    // corners of the outline that is not closed yet
let past = [];    // what undo goes back to
let drag = null;  // what the pointer does: { from, rect } or { corner, before }
let cross = null; // where the keyboard is

const save = () => JSON.stringify({ zones, open });
const round = (v) => Math.round(Math.min(1, Math.max(0, v)) * 1e4) / 1e4;

function change(what) {
  past.push(save());
  what();
  list();
  draw();
}

function undo() {
  if (past.length) ({ zones, open } = JSON.parse(past.pop()));
  list();
  draw();
}

function add(area) {
  let n = 1;
  while (zones.some((z) => z.name === `zone ${n}`)) n++;
  change(() => {
    zones.push({ name: `zone ${n}`, style: "fill", inverted: false, area });
    open = [];
  });
}

const closeOutline = () => open.length >= 3 && add(open);
const addCorner = (p) => open.length < 256 && change(() => open.push(p));

/** Picture pixels for one pixel of the screen. */
const scale = () => (last.width ?? 1) / Math.max(1, surface.clientWidth);
const distance = (a, b) => Math.hypot((a[0] - b[0]) * surface.clientWidth, (a[1] - b[1]) * surface.clientHeight);

function place(event) {
  const box = surface.getBoundingClientRect();
  return [round((event.clientX - box.left) / box.width), round((event.clientY - box.top) / box.height)];
}

/** The corner of a closed zone at a place. */
function cornerAt(p, reach) {
  const all = zones.flatMap((zone) => zone.area.map((at, i) => ({ zone, i, far: distance(at, p) })));
  const near = all.filter((c) => c.far <= reach).sort((a, b) => a.far - b.far);
  return near[0];
}

surface.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  surface.setPointerCapture(event.pointerId);
  cross = null;
  const p = place(event);
  const reach = event.pointerType === "mouse" ? 9 : 22;
  const corner = open.length ? null : cornerAt(p, reach);
  drag = corner ? { corner, before: save() } : { from: p, reach };
});

surface.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const p = place(event);
  if (drag.corner) drag.corner.zone.area[drag.corner.i] = p;
  else if (!open.length && distance(drag.from, p) > 8) drag.rect = p;
  draw();
});

surface.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { corner, before, from, rect, reach } = drag;
  const p = place(event);
  drag = null;
  if (corner) {
    if (before !== save()) past.push(before);
    draw();
  } else if (rect) {
    if (from[0] !== p[0] && from[1] !== p[1]) add([from, [p[0], from[1]], p, [from[0], p[1]]]);
    else draw();
  } else if (open.length >= 3 && distance(open[0], p) <= reach) closeOutline();
  else addCorner(p);
});

surface.addEventListener("pointercancel", () => {
  if (drag?.before) ({ zones, open } = JSON.parse(drag.before));
  drag = null;
  draw();
});

surface.addEventListener("keydown", (event) => {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = event.shiftKey ? 0.1 : 0.02;
  if (event.key in arrows) {
    const [x, y] = arrows[event.key];
    cross = cross ? [round(cross[0] + x * step), round(cross[1] + y * step)] : [0.5, 0.5];
  } else if (event.key === "Enter") {
    if (!cross) cross = [0.5, 0.5];
    else if (open.length >= 3 && distance(open[0], cross) < 8) closeOutline();
    else addCorner([...cross]);
  } else if (event.key === "Backspace") undo();
  else if (event.key === "Escape" && open.length) change(() => { open = []; });
  else return;
  event.preventDefault();
  draw();
});

$("draw").addEventListener("click", () => {
  const on = surface.classList.toggle("on");
  $("draw").setAttribute("aria-pressed", on);
  surface.setAttribute("tabindex", on ? 0 : -1);
  if (on) surface.focus({ preventScroll: true });
  else [open, cross, drag] = [[], null, null];
  draw();
});
$("undo").addEventListener("click", undo);
$("close").addEventListener("click", closeOutline);

// ---- What is wrong with a zone, as milkglass would say it

const side = ([a, b], p) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);

const isCosmetic = (zone) => zone.style !== "fill";

/** Two edges that do not follow one another may not even touch. */
function meet(s, t) {
  const apart = [0, 1].some((i) => Math.max(s[0][i], s[1][i]) < Math.min(t[0][i], t[1][i])
    || Math.max(t[0][i], t[1][i]) < Math.min(s[0][i], s[1][i]));
  return !apart && side(s, t[0]) * side(s, t[1]) <= 0 && side(t, s[0]) * side(t, s[1]) <= 0;
}

function problem(zone) {
  const { name, area } = zone;
  const n = area.length;
  const edges = area.map((a, i) => [a, area[(i + 1) % n]]);
  if (!name.trim()) return "Give it a name.";
  if (/\p{C}/u.test(name)) return "The name has characters that cannot be printed.";
  if (zones.some((z) => z !== zone && z.name === name)) return "Another zone has this name.";
  if (edges.some(([a, b]) => a[0] === b[0] && a[1] === b[1])) return "Two corners are in the same place: move one.";
  if (isCosmetic(zone) && last.reversible === false) {
    return `The policy forbids ${zone.style} (reversible = false): it hides nothing from a program. Choose fill.`;
  }
  const crossed = edges.some((s, i) => edges.some((t, j) => j > i + 1 && (i > 0 || j < n - 1) && meet(s, t)));
  const folded = edges.some(([a, b], i) => {
    const c = edges[(i + 1) % n][1];
    return side([a, b], c) === 0 && (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0;
  });
  return crossed || folded ? "Its edges cross: move a corner." : "";
}

function toml() {
  const text = zones.map((zone) => [
    "[[zone]]",
    // JSON's strings are TOML's.
    `name = ${JSON.stringify(zone.name)}`,
    `area = [${zone.area.map(([x, y]) => `[${x}, ${y}]`).join(", ")}]`,
    ...(zone.style === "fill" ? [] : [`style = "${zone.style}"`]),
    ...(zone.inverted ? ["inverted = true"] : []),
  ].join("\n") + "\n");
  return `# Zones for the end of a policy file; \`milkglass policy check FILE\` says what it does.\n\n${text.join("\n")}`;
}

$("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toml()], { type: "application/toml" }));
  link.download = "zones.toml";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

// ---- Drawing them

function shape(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  surface.append(node);
}

function draw() {
  const { width = 1, height = 1 } = last;
  const pixel = scale();
  const at = ([x, y]) => [x * width, y * height];
  const points = (area) => area.map((p) => at(p).join(",")).join(" ");
  const corners = (area) => area.forEach((p) => {
    const [cx, cy] = at(p);
    shape("circle", { class: "corner", cx, cy, r: 6 * pixel });
  });
  surface.replaceChildren();
  for (const zone of zones) {
    const kind = `zone${zone.inverted ? " inverted" : ""}${problem(zone) ? " wrong" : ""}`;
    shape("polygon", { class: kind, points: points(zone.area) });
    const middle = [0, 1].map((i) => zone.area.reduce((sum, p) => sum + p[i], 0) / zone.area.length);
    const [x, y] = at(middle);
    shape("text", { class: "label", x, y, "font-size": 15 * pixel }, zone.name);
    if (surface.classList.contains("on")) corners(zone.area);
  }
  if (drag?.rect) {
    const [a, b] = [drag.from, drag.rect];
    shape("polygon", { class: "zone open", points: points([a, [b[0], a[1]], b, [a[0], b[1]]]) });
  }
  shape("polyline", { class: "zone open", points: points(open) });
  corners(open);
  if (cross) {
    const [x, y] = at(cross);
    shape("path", { class: "cross", d: `M${x} 0V${height}M0 ${y}H${width}` });
  }
  tell();
}

/** The list, anew: only when a zone comes or goes, so that nobody loses the field they type in. */
function list() {
  $("zones").replaceChildren(...zones.map((zone) => {
    const entry = $("entry").content.cloneNode(true);
    const field = (name) => entry.querySelector(name);
    const [name, style, inverted] = [field(".name"), field(".style"), field(".inverted")];
    [name.value, style.value, inverted.checked] = [zone.name, zone.style, zone.inverted];
    name.addEventListener("input", () => { zone.name = name.value; draw(); });
    style.addEventListener("change", () => { zone.style = style.value; draw(); });
    inverted.addEventListener("change", () => { zone.inverted = inverted.checked; draw(); });
    field(".remove").addEventListener("click", () => change(() => { zones = zones.filter((z) => z !== zone); }));
    return entry;
  }));
}

function tell() {
  const hints = ["Drag a rectangle, or click corner after corner. Drag a corner to move it.",
    "One corner. An outline needs three.", "Two corners. An outline needs three."];
  const drawing = surface.classList.contains("on");
  const closing = "Click the first corner again, or “Close”.";
  put($("hint"), "textContent", drawing ? hints[open.length] ?? closing : "");
  [...$("zones").children].forEach((entry, i) => {
    put(entry.querySelector(".error"), "textContent", problem(zones[i]));
    put(entry.querySelector(".cosmetic"), "hidden", !isCosmetic(zones[i]));
    for (const option of entry.querySelectorAll("option")) {
      put(option, "disabled", option.value !== "fill" && last.reversible === false);
    }
  });
  $("undo").disabled = !past.length;
  $("close").disabled = open.length < 3;
  $("result").hidden = !zones.length;
  const wrong = zones.some(problem);
  $("download").disabled = wrong;
  put($("toml"), "value", wrong ? "A zone is not right yet." : toml());
}

/** Sets what has changed, so that a screen reader does not say it again and a selection stays. */
function put(node, property, value) {
  if (node[property] !== value) node[property] = value;
}

new ResizeObserver(draw).observe(surface);
