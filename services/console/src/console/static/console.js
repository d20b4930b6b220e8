// What makes the pages quicker to use. Each works without it: links, forms and <details>.
"use strict";

const script = document.currentScript;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const later = (ms, run) => {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(run, ms, ...given);
  };
};

// -- parts of a page ---------------------------------------------------------------------------------------------------

// Brings an element into the shape of another one, and leaves focus, scroll positions, texts in fields and what is unfolded.
function morph(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName || old.id !== wanted.id) {
    old.replaceWith(wanted);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  const kept = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
  }
  const olds = [...old.childNodes];
  const news = [...wanted.childNodes];
  news.forEach((child, index) => (index < olds.length ? morph(olds[index], child) : old.append(child)));
  olds.slice(news.length).forEach((child) => child.remove());
}

let loads = 0; // under way; until a part is there, what the stream sends would change one that is about to go

// Loads a part anew: the block of the template that has the name. Returns whether it came.
async function load(...given) {
  loads++;
  try {
    return await replaced(...given);
  } finally {
    loads--;
  }
}

async function replaced(part, address, signal) {
  const answer = await fetch(address, { headers: { "X-Fragment": part }, signal });
  if (answer.redirected || !answer.ok) return false; // the session is over, or a filter cannot be used
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  const old = document.getElementById(part);
  const wanted = found.getElementById(part);
  if (!old || !wanted) return false;
  morph(old, document.adoptNode(wanted));
  watch();
  return true;
}

// A part that goes on by itself is loaded again until it no longer does.
const goOn = later(2000, async () => {
  const part = one("[data-goes-on]");
  if (!part) return;
  if (!document.hidden && !paused && !part.contains(document.activeElement.closest("button"))) {
    await load(part.id, location.href).catch(() => false);
  }
  goOn();
});

// -- filter as you type ------------------------------------------------------------------------------------------------

let loading = new AbortController();

function addressOf(form) {
  const fields = [...new FormData(form)].filter(([name, value]) => value !== "" && name !== "jump");
  return `${form.getAttribute("action")}?${new URLSearchParams(fields)}`;
}

const filter = later(150, async (form) => {
  loading.abort();
  loading = new AbortController();
  const address = addressOf(form);
  try {
    if (!(await load(form.dataset.filters, address, loading.signal))) return;
    history.replaceState(null, "", address);
    const rows = all("tbody tr", document.getElementById(form.dataset.filters)).length;
    say(rows ? `${rows} rows` : "nothing found");
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
});

document.addEventListener("input", ({ target }) => {
  if (target.form?.dataset.filters) filter(target.form);
});

// -- dialogs -----------------------------------------------------------------------------------------------------------

let numbered = 0;

// Shows what a <details> unfolds as a dialog; when it closes, everything is where it was.
function openDialog(details) {
  const summary = one("summary", details);
  const content = [...details.childNodes].filter((node) => node !== summary);
  const title = Object.assign(document.createElement("h2"), { id: `dialog${++numbered}`, textContent: summary.textContent.trim() });
  const cancel = Object.assign(document.createElement("button"), { type: "button", textContent: "Close", className: "close" });
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.append(title, ...content, cancel);
  cancel.onclick = () => dialog.close();
  dialog.onclose = () => {
    details.append(...content);
    dialog.remove();
    summary.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
  one("input:not([type=hidden]), select, textarea, button.primary", dialog)?.focus();
}

document.addEventListener("click", (event) => {
  const shown = event.target.closest("[data-shows]")?.dataset.shows;
  if (shown) document.getElementById(shown).showModal();
  const details = event.target.closest("details[data-dialog] > summary")?.parentElement;
  if (!details || details.open) return;
  event.preventDefault();
  openDialog(details);
});

// A second click sends nothing: the answer of the first one is on its way.
document.addEventListener("submit", ({ target }) => {
  if (target.method === "post") setTimeout(() => all("button", target).forEach((button) => (button.disabled = true)));
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) all("form[method=post] button").forEach((button) => (button.disabled = false));
});

// -- keys --------------------------------------------------------------------------------------------------------------

const find = document.getElementById("find");
const keysOn = document.getElementById("keys-on");
let goesAt = -Infinity; // when `g` was pressed

function move(step) {
  const rows = all("main tbody th[scope=row] a");
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.closest("tr").contains(document.activeElement));
  const next = rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => (find.focus(), find.select()),
  j: () => move(1),
  k: () => move(-1),
  p: () => pause?.click(),
};

function pressed(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || one("dialog[open]")) return;
  if (target.closest("input, select, textarea, [contenteditable]") || (keysOn && !keysOn.checked)) return;
  const goes = performance.now() - goesAt < 1500;
  goesAt = key === "g" ? performance.now() : -Infinity;
  const named = CSS.escape(key);
  const place = goes && one(`[data-go="${named}"]`);
  const act = !goes && one(`[data-key="${named}"]`);
  if (place) location.href = place.href;
  else if (act) act.click();
  else if (!goes && KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);

// On a narrow page the bar and the tabs are longer than their window.
all(".bar nav [aria-current], .tabs [aria-current]").forEach((place) => place.scrollIntoView({ block: "nearest", inline: "center" }));

if (keysOn) {
  keysOn.checked = localStorage.getItem("keys") !== "off";
  keysOn.onchange = () => localStorage.setItem("keys", keysOn.checked ? "on" : "off");
}

// -- live --------------------------------------------------------------------------------------------------------------

const TICK_MS = 250; // the page changes at most four times a second
const RELOAD_MS = 1000;
const QUEUED_MAX = 200;
const LINES_MAX = 500;
const pause = document.getElementById("live");
const news = document.getElementById("news");
const said = document.getElementById("said");
const queue = [];
const stale = new Set(); // parts to load again
const loadedAt = new Map();
let port = null;
let paused = false;
let state = "connecting";
let dropped = 0;
let changed = 0;

function say(text) {
  if (said) said.textContent = text;
}

// What a message does with the elements of its channel; `Audience.publish` sends it.
function apply(message) {
  const shown = all(`[data-channel="${CSS.escape(message.channel)}"]`);
  for (const element of shown) {
    for (const [name, html] of Object.entries(message.cells ?? {})) {
      all(`[data-cell="${name}"]`, element).forEach((cell) => show(cell, html));
    }
    if (message.rows) add(element, message.rows);
    if (message.skipped) say(`${message.skipped} messages skipped`);
    if (message.changed && news) changed += message.changed;
    if (message.cells && element.matches("tr")) changed -= 1; // it is shown already
    const part = element.dataset.part;
    if (part && (message.refresh || message.skipped || "reloads" in element.dataset)) stale.add(part);
  }
}

function show(cell, html) {
  if (cell.innerHTML === html) return;
  cell.innerHTML = html;
  cell.classList.remove("changed");
  requestAnimationFrame(() => cell.classList.add("changed"));
}

// Rows for the end of a list at which the newest are; one that it has already is not shown twice.
function add(element, html) {
  const list = one("[data-newest]", element);
  if (!list) return stale.add(element.dataset.part);
  const isFirst = list.dataset.newest === "first";
  const come = list.cloneNode();
  come.innerHTML = html;
  for (const row of [...come.children]) {
    if (document.getElementById(row.id)) continue;
    row.className = "changed";
    isFirst ? list.prepend(row) : list.append(row);
  }
  if (list.childElementCount <= LINES_MAX) return;
  if (isFirst) one("[rel=next]", element)?.remove(); // it leads to what follows the last row
  while (list.childElementCount > LINES_MAX) (isFirst ? list.lastElementChild : list.firstElementChild).remove();
}

// Loads the parts that are out of date, each once a second at most, and none while somebody writes in it.
async function reload() {
  for (const part of stale) {
    const element = document.getElementById(part);
    const busy = one("dialog[open]") || element?.contains(document.activeElement.closest("input, select, textarea"));
    if (busy || performance.now() - (loadedAt.get(part) ?? 0) < RELOAD_MS) continue;
    stale.delete(part);
    loadedAt.set(part, performance.now());
    if (element && !(await load(part, location.href).catch(() => false))) look("off");
  }
}

function tick() {
  if (document.hidden || paused || loads) return look();
  changed = Math.max(changed, 0);
  queue.splice(0).forEach(apply);
  if (dropped) all("[data-part]").forEach(({ dataset }) => stale.add(dataset.part));
  dropped = 0;
  if (news && changed > 0) {
    if (news.hidden) say("orders have changed");
    news.hidden = false;
    one("span", news).textContent = changed === 1 ? "1 order has changed" : `${changed} orders have changed`;
  }
  reload();
  look();
}

function look(now = state) {
  state = now;
  if (!pause) return;
  const waiting = queue.length + dropped;
  pause.dataset.state = paused ? "paused" : state;
  const text = paused ? `Paused${waiting ? ` (${waiting})` : ""}` : { live: "Live", connecting: "Connecting", "signed out": "Signed out" }[state] ?? "Not live";
  if (pause.textContent !== text) pause.textContent = text;
}

// Tells the worker which channels this page shows now.
function watch() {
  const channels = [...new Set(all("[data-channel]").map(({ dataset }) => dataset.channel))];
  if (channels.length) begin();
  port?.postMessage({ channels, after: one("[data-position]")?.dataset.position });
}

function begin() {
  if (port || !window.SharedWorker || !script.dataset.worker) return;
  port = new SharedWorker(script.dataset.worker, { name: "live" }).port;
  port.onmessage = ({ data }) => {
    if (data.state) return look(data.state);
    queue.push(data.message);
    while (queue.length > QUEUED_MAX) queue.shift(), dropped++;
  };
  setInterval(tick, TICK_MS);
  if (pause) pause.classList.add("on");
}

if (pause) {
  pause.onclick = () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    tick();
  };
}
if (news) {
  news.onclick = async () => {
    if (!(await load(news.dataset.refresh, location.href))) return location.reload();
    changed = 0;
    news.hidden = true;
    say("the list is up to date");
    move(0);
  };
}
addEventListener("pagehide", () => port?.postMessage({ left: true }));
addEventListener("pageshow", ({ persisted }) => persisted && watch());
watch();
goOn();
