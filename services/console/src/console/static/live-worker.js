// One stream of server-sent events for all pages of this browser: with a stream for each page the seventh would hang, because
// a browser opens six connections to a server. A page sends {channels, after}; it receives {state} and {messages}.
"use strict";

const CHANNELS_MAX = 480; // the server admits 500
const SILENT_MS = 40000; // two heartbeats were missed
const RETRY_MS = 5000;

const pages = new Map(); // port -> Set of channels
let stream = null;
let watched = new Set();
let after = ""; // the id of the newest event: where a stream continues
let state = "connecting";
let silence, reopening;

onconnect = ({ ports: [port] }) => {
  pages.set(port, new Set());
  port.onmessage = ({ data }) => {
    if (data.left) pages.delete(port);
    else pages.set(port, new Set(data.channels));
    if (!stream) after = data.after || after;
    if (data.channels?.some((channel) => !watched.has(channel)) || !wanted().length) reopenSoon();
    if (!data.left) port.postMessage({ state });
  };
};

const wanted = () => [...new Set([...pages.values()].flatMap((channels) => [...channels]))].slice(-CHANNELS_MAX);

function reopenSoon(delay = 50) {
  clearTimeout(reopening);
  reopening = setTimeout(open, delay);
}

function open() {
  stream?.close();
  stream = null;
  clearTimeout(silence);
  const channels = wanted();
  watched = new Set(channels);
  if (!channels.length) return;
  const query = new URLSearchParams(channels.map((channel) => ["channel", channel]));
  if (after) query.set("after", after);
  stream = new EventSource(`/live?${query}`);
  stream.onopen = () => (tell("live"), expect());
  stream.onmessage = received;
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
  for (const [port, channels] of pages) {
    if (channels.has(message.channel)) port.postMessage({ message });
  }
}

function tell(now) {
  state = now;
  for (const port of pages.keys()) port.postMessage({ state });
}
