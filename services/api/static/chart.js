import { LitElement, html, nothing } from "lit";
import uPlot from "uplot";
import { moment, tick, tickTexts, valueText } from "/format.js";
import { History, RANGES, joined } from "/history.js";

const REFRESH_SECONDS = 300;
const FROM_ZERO = new Set(["W", "kW", "VA", "A", "%", "Wh", "lx", "W/m²"]);
const HEIGHT = 200;
const SHORTEST = 300; // seconds that the axis shows at least
const LOW_HEIGHT = 150; // of a plot on a phone

// The history of the selected channels: one plot per unit, one time axis, one cursor.
class Chart extends LitElement {
  static properties = {
    site: { attribute: false },
    selected: { attribute: false }, // [{series, colour}]
    range: { type: Number },
    several: { type: Boolean }, // whether there are several nodes: then lines name theirs
    state: { state: true },
    cursor: { state: true },
  };

  #history = new History();
  #plots = [];
  #loads = 0;
  #drawn = 0;
  #loadedAt = 0;

  createRenderRoot() {
    return this;
  }

  constructor() {
    super();
    this.selected = [];
    this.range = RANGES[0].seconds;
    this.state = "loading";
    this.cursor = null;
    this.connected = true;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#resize.observe(this);
    this.site.addEventListener("values", this.#values);
    this.site.addEventListener("change", this.#reconnected);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", this.#rebuild);
    this.timer = setInterval(() => {
      if (this.site.now() - this.#loadedAt > REFRESH_SECONDS || this.state === "failed" || this.state === "unstored") this.#load();
    }, 5000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resize.disconnect();
    this.site.removeEventListener("values", this.#values);
    this.site.removeEventListener("change", this.#reconnected);
    this.dark.removeEventListener("change", this.#rebuild);
    clearInterval(this.timer);
  }

  willUpdate(changed) {
    if (changed.has("selected") || changed.has("range")) {
      const names = this.selected.map((one) => one.series).join();
      if (names !== this.names || changed.has("range")) {
        this.names = names;
        this.#load();
      }
    }
  }

  async #load() {
    const number = ++this.#loads;
    const names = this.selected.map((one) => one.series);
    if (!names.length) {
      this.#clear();
      this.state = "none";
      return;
    }
    const history = new History();
    try {
      await history.load(this.site, names, this.range);
      if (number !== this.#loads) return;
      this.#history = history;
      this.#loadedAt = this.site.now();
      this.state = [...history.columns.values()].some((column) => column.n.some(Boolean)) ? "drawn" : "empty";
      await this.updateComplete;
      this.#rebuild();
    } catch (error) {
      if (number !== this.#loads) return;
      this.state = error.status === 404 ? "unstored" : "failed";
      this.problem = error.message;
    }
  }

  #groups() {
    const groups = new Map();
    for (const one of this.selected) {
      const channel = this.site.channels.get(one.series);
      if (!channel || !this.#history.columns.has(one.series)) continue;
      const unit = channel.unit ?? "";
      if (!groups.has(unit)) groups.set(unit, []);
      groups.get(unit).push({ ...one, channel });
    }
    return groups;
  }

  #data(lines) {
    const { times, columns, step } = this.#history;
    const data = [times];
    for (const { series, channel } of lines) {
      const column = columns.get(series);
      const longest = 3 * Math.max(step, channel.owner.interval || 300);
      for (const part of ["mean", "min", "max"]) data.push(joined(times, column[part], longest));
    }
    return data;
  }

  #clear() {
    for (const { plot } of this.#plots) plot.destroy();
    this.#plots = [];
  }

  #rebuild = () => {
    this.#clear();
    this.cursor = null;
    const container = this.querySelector(".plots");
    if (!container || this.state !== "drawn") return;
    const groups = [...this.#groups()];
    groups.forEach(([unit, lines], index) => {
      const plot = new uPlot(this.#options(unit, lines, index === groups.length - 1), this.#data(lines), container);
      plot.root.setAttribute("role", "img");
      plot.root.setAttribute("aria-label", `History of ${lines.map(({ channel }) => channel.title).join(", ")}${unit && ` in ${unit}`}`);
      this.#plots.push({ plot, lines });
    });
  };

  #options(unit, lines, last) {
    const style = getComputedStyle(this);
    const ink = style.getPropertyValue("--muted");
    const grid = style.getPropertyValue("--line");
    const font = `12px ${style.fontFamily}`;
    const series = [{}];
    const bands = [];
    for (const { colour } of lines) {
      const stroke = style.getPropertyValue(`--series-${colour}`).trim();
      const mean = series.length;
      series.push({ stroke, width: 2, points: { show: false } });
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      bands.push({ series: [mean + 2, mean + 1], fill: `${stroke}2e` });
    }
    const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    return {
      width: this.#width(),
      height: (innerWidth < 640 ? LOW_HEIGHT : HEIGHT) + (last ? 26 : 0),
      series,
      bands,
      legend: { show: false },
      padding: [14, 26, last ? 0 : 8, 0],
      cursor: { sync: { key: "heliograph" }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
      scales: {
        x: { range: () => this.#window() },
        y: { range: (_, low, high) => limits(unit, low, high) },
      },
      axes: [
        { ...axis, size: last ? 30 : 0, space: 64, values: (_, ticks) => (last ? ticks.map(tick) : []) },
        { ...axis, size: 58, values: (_, ticks) => tickTexts(ticks, unit) },
      ],
      hooks: { setCursor: [(plot) => (this.cursor = plot.cursor.idx ?? null)] },
    };
  }

  #window() {
    const end = Math.max(this.site.now(), (this.#history.times.at(-1) ?? 0) + this.#history.step);
    // A short history fills the width from its beginning.
    return [Math.max(end - this.range, Math.min(this.#history.firstTime(), end - SHORTEST)), end];
  }

  #width() {
    return Math.max(200, this.querySelector(".plots")?.clientWidth ?? 600);
  }

  #resize = new ResizeObserver(() => {
    for (const { plot } of this.#plots) {
      if (plot.width !== this.#width()) plot.setSize({ width: this.#width(), height: plot.height });
    }
  });

  #values = ({ detail }) => {
    let isDrawn = false;
    for (const [series, { time, value: raw }] of detail) isDrawn = this.#history.append(series, time, raw) || isDrawn;
    if (isDrawn && this.state === "empty") {
      this.state = "drawn";
      this.updateComplete.then(this.#rebuild);
    }
    if (isDrawn && this.cursor === null) this.requestUpdate();
    // Drawing once a second is enough.
    if (!isDrawn || performance.now() - this.#drawn < 1000) return;
    this.#drawn = performance.now();
    for (const { plot, lines } of this.#plots) plot.setData(this.#data(lines));
  };

  // The values that were missed while the connection was lost are in the store.
  #reconnected = () => {
    if (this.site.connected && !this.connected) this.#load();
    this.connected = this.site.connected;
  };

  #at(series) {
    const index = this.cursor;
    if (index === null) return this.site.channels.get(series)?.value;
    const list = this.#history.columns.get(series)?.mean;
    // The nearest bucket with a reading: a slow device leaves buckets empty.
    for (const offset of [0, -1, 1, -2, 2, -3, 3]) {
      if (typeof list?.[index + offset] === "number") return list[index + offset];
    }
    return null;
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }

  // The values of the chart as a file for a spreadsheet, with the times of this browser's zone.
  #file() {
    const series = this.selected.map((one) => one.series).filter((name) => this.#history.columns.has(name));
    const tz = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    return `/api/v1/export?${new URLSearchParams({ series: series.join(), from: `-${this.range}s`, tz, format: "csv" })}`;
  }

  render() {
    const texts = {
      none: "Select a channel below to see its history.",
      empty: "Nothing is stored for this time yet. New readings appear as they arrive.",
      unstored: "Nothing of these channels is stored here yet.",
      loading: "Loading …",
      failed: `The history is not available: ${this.problem}`,
    };
    const when = this.cursor === null ? null : this.#history.times[this.cursor];
    return html`
      <header class="panel-head">
        <h2>History</h2>
        <span class="when" aria-hidden="true">${when ? moment(when) : nothing}</span>
        ${this.state === "drawn" ? html`<a class="file" href=${this.#file()} download title="The values of this chart as a file">CSV</a>` : nothing}
        <div class="segments" role="radiogroup" aria-label="How far back">
          ${RANGES.map(
            ({ name, seconds }) => html`
              <label>
                <input type="radio" name="range" .checked=${seconds === this.range} @change=${() => this.#emit("range", seconds)} />
                <span>${name}</span>
              </label>
            `,
          )}
        </div>
      </header>
      <ul class="legend">
        ${this.selected.map(({ series, colour }) => {
          const channel = this.site.channels.get(series);
          if (!channel) return nothing;
          return html`<li class="c${colour}">
            <i class="dot"></i>
            <span class="legend-name">${channel.title} <small>${this.site.place(channel.owner)}</small></span>
            <b>${valueText(this.#at(series), channel.unit)}</b>
            <button class="remove" title="Remove from the chart" aria-label="Remove ${channel.title} from the chart" @click=${() => this.#emit("choose", series)}>×</button>
          </li>`;
        })}
      </ul>
      ${this.state === "drawn" ? nothing : html`<p class="quiet" role="status">${texts[this.state]}</p>`}
      <div class="plots" ?hidden=${this.state !== "drawn"}></div>
    `;
  }
}

function limits(unit, low, high) {
  if (low === null || high === null || low === undefined) return [0, 1];
  if (unit === "" && low >= 0 && high <= 1) return [0, 1];
  const from = FROM_ZERO.has(unit) ? Math.min(0, low) : low;
  const to = FROM_ZERO.has(unit) ? Math.max(0, high) : high;
  const room = (to - from || Math.abs(to) || 1) * 0.08;
  const top = unit === "%" && to <= 100 ? Math.min(100, to + room) : to + room;
  return [from === 0 ? 0 : from - room, top];
}

customElements.define("helio-chart", Chart);
