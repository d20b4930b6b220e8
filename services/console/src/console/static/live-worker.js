// One stream of server-sent events for all pages of this browser: with a stream for each page the seventh would hang, because
// a browser opens six connections to a server. A page sends {channels, after}; it receives {state} and {messages}.
"use strict";

const CHANNELS_MAX = 480; // the server admits 500
const AFTER_MAX = 4000; // characters; beside the channels, a request has room for them
const SILENT_MS = 40000; // two heartbeats were missed
const RETRY_MS = 5000;

const pages = new Map(); // port -> {channels, after}; after: where a page continues that the stream does not serve yet
let stream = null;
let after = ""; // the id of the newest event: where the stream continues
let state = "connecting";
let silence, reopening;

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.left) {
      pages.delete(port);
      if (!pages.size) reopenSoon();
      return;
    }
    const page = pages.get(port);
    const isServed = page && data.channels.every((channel) => page.channels.has(channel));
    pages.set(port, isServed ? page : { after: data.after });
    pages.get(port).channels = new Set(data.channels);
    if (!isServed) reopenSoon();
    port.postMessage({ state });
  };
};

const wanted = () => [...new Set([...pages.values()].flatMap(({ channels }) => [...channels]))].slice(-CHANNELS_MAX);

function reopenSoon(delay = 50) {
  clearTimeout(reopening);
  reopening = setTimeout(open, delay);
}

function open() {
  stream?.close();
  stream = null;
  clearTimeout(silence);
  const channels = wanted();
  if (!channels.length) {
    after = ""; // nothing continues here: the next page has a position of its own
    return;
  }
  const query = new URLSearchParams(channels.map((channel) => ["channel", channel]));
  const positions = new Set(after ? [after] : []);
  const joining = [];
  for (const page of pages.values()) {
    if (!page.after || (joining.length && [...positions, page.after].join("&").length > AFTER_MAX)) continue;
    positions.add(page.after);
    joining.push(page);
  }
  if (positions.size) query.set("after", [...positions].join("&"));
  stream = new EventSource(`/live?${query}`);
  stream.onopen = () => (tell("live"), expect());
  stream.onmessage = (event) => {
    received(event);
    if (!event.lastEventId) return;
    joining.splice(0).forEach((page) => (page.after = "")); // the id has their positions
    if ([...pages.values()].some((page) => page.after)) reopenSoon();
  };
  stream.onerror = () => {
    tell("off");
    if (stream?.readyState === EventSource.CLOSED) reopenSoon(RETRY_MS); // refused: the browser does not try again
  };
}

function expect() {
  clearTimeout(silence);
  silence = setTimeout(open, SILENT_MS);
}

function received(event) {
  expect();
  after = event.lastEventId || after;
  const message = JSON.parse(event.data);
  if (message.signed_out) {
    stream.close();
    return tell("signed out");
  }
  for (const [port, { channels }] of pages) {
    if (channels.has(message.channel)) port.postMessage({ message });
  }
}

function tell(now) {
  state = now;
  for (const port of pages.keys()) port.postMessage({ state });
}
