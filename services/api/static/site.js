// The state of the site: devices from REST, values from the live feed.

import { labels, title } from "/format.js";

const POLL_SECONDS = 15;
const HEALTH_SECONDS = 4;
const RESPONSE_SECONDS = 10; // a node that hangs accepts a request, and never answers
const HEALTH_RESPONSE_SECONDS = 8; // which waits five for the store; with HEALTH_SECONDS less than 15
const LONGEST_WAIT_SECONDS = 10;

const ask = (path, seconds = RESPONSE_SECONDS) =>
  fetch(`/api/v1/${path}`, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(seconds * 1000) });

// Dispatches "change" when anything has changed, and "values" with a Map of series → {time, value}.
export class Site extends EventTarget {
  devices = [];
  nodes = [];
  channels = new Map(); // series → channel, its value kept up to date
  connected = false;
  loaded = false;
  problem = "";
  problems = []; // what is wrong with the node, the worst first
  own = ""; // the node that shows this page
  since = 0; // when the connection was lost, seconds
  #clockOffset = 0;
  #socket = null;
  #failures = 0;
  #timer = 0;

  start() {
    this.#poll();
    this.#connect();
    setInterval(() => this.#poll(), POLL_SECONDS * 1000);
    setInterval(() => this.#pollHealth(), HEALTH_SECONDS * 1000);
    const refresh = () => {
      if (document.visibilityState !== "visible") return;
      this.#poll();
      if (!this.#socket) this.#connect();
    };
    addEventListener("online", refresh);
    document.addEventListener("visibilitychange", refresh);
  }

  // The time by the node's clock: this machine's may be wrong.
  now() {
    return Date.now() / 1000 + this.#clockOffset;
  }

  // The name of a device, with that of its node where there are several.
  place({ node, device }) {
    return this.nodes.length > 1 ? `${title(node)} · ${title(device)}` : title(device);
  }

  async get(path) {
    const response = await ask(path);
    const date = Date.parse(response.headers.get("date") ?? "");
    if (date) {
      const offset = (date - Date.now()) / 1000;
      // The header counts whole seconds.
      this.#clockOffset = Math.abs(offset) > 3 ? offset : 0;
    }
    const content = await response.json();
    if (!response.ok) throw Object.assign(new Error(content.detail), { status: response.status });
    return content;
  }

  async #poll() {
    try {
      const [devices, nodes] = await Promise.all([this.get("devices"), this.get("nodes"), this.#pollHealth()]);
      this.#update(devices, nodes);
      this.problem = "";
      if (!this.#socket) this.#connect();
    } catch (error) {
      this.problem = error.message;
      this.#lost();
    }
    this.#changed();
  }

  async #pollHealth() {
    let problems, node;
    try {
      const response = await ask("health", HEALTH_RESPONSE_SECONDS);
      ({ problems, node } = await response.json()); // also with 503: the broker or the store is away
    } catch (error) {
      // One that has ended closes the live feed; one that hangs does not.
      if (error.name === "TimeoutError") this.#lost();
      this.#changed();
      return;
    }
    this.problems = problems ?? [];
    this.own = node ?? this.own;
    this.#changed();
  }

  #update(devices, nodes) {
    const channels = new Map();
    for (const device of devices) {
      const names = labels(device.channels);
      for (const channel of device.channels) {
        channel.title = names.get(channel.name);
        channel.series = `${device.node}/${device.device}/${channel.name}`;
        channel.owner = device;
        const known = this.channels.get(channel.series);
        if (known && known.time > channel.time) {
          channel.time = known.time;
          channel.value = known.value;
        }
        channels.set(channel.series, channel);
      }
    }
    this.devices = devices;
    this.nodes = nodes;
    this.channels = channels;
    this.loaded = true;
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/api/v1/live`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#failures = 0;
      this.connected = true;
      socket.send(JSON.stringify({ subscribe: ["*/*/*"] }));
      this.#changed();
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#values(JSON.parse(event.data));
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#lost();
      const wait = Math.min(LONGEST_WAIT_SECONDS, 0.5 * 2 ** this.#failures++) * (0.7 + 0.6 * Math.random());
      this.#timer = setTimeout(() => this.#connect(), wait * 1000);
      this.#changed();
    };
  }

  #values(batch) {
    if (!Array.isArray(batch)) return;
    const values = new Map();
    let unknown = false;
    for (const { series, time, value } of batch) {
      const channel = this.channels.get(series);
      values.set(series, { time, value });
      if (channel) Object.assign(channel, { time, value });
      else unknown ||= this.loaded;
    }
    if (unknown) this.#pollSoon();
    this.dispatchEvent(new CustomEvent("values", { detail: values }));
    this.#changed();
  }

  // A series that is on no card: ask once which device it belongs to.
  #pollSoon() {
    this.unknownTimer ??= setTimeout(() => {
      this.unknownTimer = undefined;
      this.#poll();
    }, 2000);
  }

  #lost() {
    if (this.connected) this.since = this.now();
    this.connected = false;
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.OPEN) socket.close();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
