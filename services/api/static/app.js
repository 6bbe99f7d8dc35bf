import { LitElement, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import "/card.js";
import { freshness } from "/card.js";
import "/chart.js";
import { age, clock, title, value } from "/format.js";
import { RANGES } from "/history.js";
import { defaultSelection, roles } from "/roles.js";
import { Site } from "/site.js";

const COLOURS = 8;
const ROLE_COLOURS = { solar: 0, battery: 1, voltage: 1, load: 2, grid: 3, power: 3 };
const STORAGE_KEY = "heliograph.chart";

// The page. Every string from the bus goes into text or properties, never into markup.
class App extends LitElement {
  static properties = {
    selected: { state: true },
    range: { state: true },
    now: { state: true },
  };

  createRenderRoot() {
    this.replaceChildren();
    return this;
  }

  constructor() {
    super();
    this.site = new Site();
    this.selected = null; // until the devices are known
    this.range = RANGES[0].seconds;
    this.#restore();
    this.now = this.site.now();
    this.site.addEventListener("change", () => this.#update());
    setInterval(() => (this.now = this.site.now()), 1000);
    this.site.start();
  }

  #update() {
    this.now = this.site.now();
    if (this.site.own) document.title = `${title(this.site.own)} · Heliograph`;
    if (this.selected === null && this.site.loaded && this.site.devices.length) this.#selectDefault();
    this.requestUpdate();
  }

  #selectDefault() {
    const channels = [...this.site.channels.values()];
    const saved = this.saved?.filter((series) => this.site.channels.has(series));
    const preferred = saved?.length ? saved : defaultSelection(channels, this.site.own);
    const colours = new Map(roles(channels, this.site.own).map(({ role, channel }) => [channel.series, ROLE_COLOURS[role]]));
    this.selected = [];
    for (const series of preferred) this.selected.push({ series, colour: this.#colour(colours.get(series)) });
  }

  #colour(preferred) {
    const used = new Set(this.selected.map((one) => one.colour));
    if (preferred !== undefined && !used.has(preferred)) return preferred;
    // Colours of roles come last: they have a meaning.
    for (const colour of [4, 5, 6, 7, 0, 1, 2, 3]) if (!used.has(colour)) return colour;
    return this.selected.length % COLOURS;
  }

  #toggle(series) {
    const selected = this.selected ?? [];
    if (selected.some((one) => one.series === series)) {
      this.selected = selected.filter((one) => one.series !== series);
    } else {
      const role = roles([...this.site.channels.values()], this.site.own).find(({ channel }) => channel.series === series);
      this.selected = selected.length < COLOURS ? selected : selected.slice(1);
      this.selected = [...this.selected, { series, colour: this.#colour(ROLE_COLOURS[role?.role]) }];
    }
    this.#save();
  }

  #save() {
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify({ selected: this.selected?.map((one) => one.series), range: this.range }));
    } catch {
      // Without storage, the page shows the same, but forgets the selection.
    }
  }

  #restore() {
    try {
      const { selected, range } = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
      this.saved = Array.isArray(selected) ? selected : undefined;
      if (RANGES.some(({ seconds }) => seconds === range)) this.range = range;
    } catch {
      this.saved = undefined;
    }
  }

  #head() {
    const { site } = this;
    const devices = site.devices.length;
    const live = site.connected && !site.problems.length;
    const state = live ? "Live" : site.connected ? "Problem" : site.loaded ? "Reconnecting" : "Connecting";
    return html`
      <header class="top">
        <h1 class="brand"><a href="/"><img src="/icon.svg" alt="" width="30" height="30" />Heliograph</a></h1>
        <nav aria-label="More"><a href="/api/v1/docs">API</a></nav>
        <span class="pill ${live ? "live" : "lost"}" role="status">
          <i></i>${state}
          ${site.connected && devices ? html`<small>${devices} ${devices === 1 ? "device" : "devices"}</small>` : nothing}
        </span>
      </header>
    `;
  }

  #tiles() {
    const colours = this.#colours();
    return html`<section class="tiles" aria-label="At a glance">
      ${roles([...this.site.channels.values()], this.site.own).map(({ role, title: name, channel }) => {
        const [text, unit] = value(channel.value, channel.unit);
        const { seconds, stale } = freshness(channel.owner, this.now);
        const old = stale || !channel.owner.live || channel.owner.availability === "offline";
        const charge = role === "battery" && typeof channel.value === "number" ? channel.value : null;
        return html`<button
          class="tile c${ROLE_COLOURS[role]} ${old ? "faded" : ""}"
          aria-pressed=${colours.has(channel.series) ? "true" : "false"}
          title="Show in the chart or remove from it"
          @click=${() => this.#toggle(channel.series)}
        >
          <span class="tile-name"><i class="dot"></i>${name}</span>
          <span class="tile-value">${text}<small>${unit}</small></span>
          ${charge === null ? nothing : html`<meter min="0" max="100" low="20" .value=${charge} aria-label="Charge"></meter>`}
          <span class="tile-note">${this.site.place(channel.owner)} · ${seconds === null ? "no reading yet" : age(seconds)}</span>
        </button>`;
      })}
    </section>`;
  }

  #colours() {
    return new Map((this.selected ?? []).map(({ series, colour }) => [series, colour]));
  }

  #node(name, several) {
    const devices = this.site.devices.filter((device) => device.node === name);
    const services = Object.entries(this.site.nodes.find(({ node }) => node === name)?.services ?? {});
    const colours = this.#colours();
    return html`<section class="node" aria-label="Node ${name}">
      <header class="node-head">
        <h2>${several ? title(name) : "Devices"}</h2>
        ${several ? nothing : html`<small>on ${name}</small>`}
        <ul class="services" aria-label="Services">
          ${services.map(
            ([service, { state, set_aside }]) => html`<li
              class=${state}
              title=${`${service} is ${state}${set_aside.length ? `; last bad input: ${set_aside.at(-1).why}` : ""}`}
            >
              <i></i>${service.replaceAll("_", " ")}${state === "online" ? nothing : html` <b>${state}</b>`}
            </li>`,
          )}
        </ul>
      </header>
      ${devices.length ? nothing : html`<p class="quiet">No device on this node yet.</p>`}
      <div class="cards">
        ${repeat(
          devices,
          (device) => device.device,
          (device) => html`<helio-card .device=${device} .now=${this.now} .colours=${colours}></helio-card>`,
        )}
      </div>
    </section>`;
  }

  #empty() {
    return html`<section class="empty">
      <img src="/icon.svg" alt="" width="72" height="72" />
      <h2>No device yet</h2>
      <p>A device appears here by itself as soon as a service publishes its first reading.</p>
      <ul>
        <li>Is there a section for your hardware in <code>config.toml</code>, such as <code>[modbus_poller]</code> or <code>[serial_bridge]</code>?</li>
        <li>Is its service running, and connected to the same broker as this page? <a href="/api/v1/health">Health of this node</a></li>
        <li>No hardware at hand? <code>scripts/start --simulate</code> shows a simulated site.</li>
      </ul>
    </section>`;
  }

  #banner() {
    const { site } = this;
    if (site.connected || (!site.loaded && !site.problem)) return nothing;
    return html`<div class="banner" role="alert">
      <b>Connection lost.</b>
      ${site.since ? `These are the values of ${clock(site.since)}. ` : ""}Reconnecting …
    </div>`;
  }

  #problems() {
    const { site } = this;
    if (!site.problems.length || site.problem) return nothing;
    const count = site.problems.length;
    return html`<div class="banner" role="status">
      <b>This node has ${count === 1 ? "a problem" : `${count} problems`}.</b> <a href="/api/v1/health">Health</a>
      <ul>
        ${site.problems.map(({ summary, action }) => html`<li>${summary} <small>${action}</small></li>`)}
      </ul>
    </div>`;
  }

  render() {
    const { site } = this;
    const nodes = [...site.nodes].sort((a, b) => b.devices - a.devices || a.node.localeCompare(b.node));
    return html`
      ${this.#head()} ${this.#banner()} ${this.#problems()}
      <main @choose=${({ detail }) => this.#toggle(detail)}>
        ${!site.loaded
          ? html`<p class="quiet" role="status">${site.problem ? "This node does not answer." : "Loading …"}</p>`
          : !site.devices.length
            ? this.#empty()
            : html`
                ${this.#tiles()}
                <helio-chart
                  class="panel"
                  .site=${site}
                  .selected=${this.selected ?? []}
                  .range=${this.range}
                  .several=${nodes.length > 1}
                  @range=${({ detail }) => {
                    this.range = detail;
                    this.#save();
                  }}
                ></helio-chart>
                ${nodes.map(({ node }) => this.#node(node, nodes.length > 1))}
              `}
      </main>
    `;
  }
}

customElements.define("helio-app", App);
