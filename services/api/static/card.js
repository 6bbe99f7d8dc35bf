import { LitElement, html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { age, moment, title, value } from "/format.js";
import { charted, rank } from "/roles.js";

const SHOWN = 8;
const NEVER_STALE = 0; // a device that reports at irregular times
const AVAILABILITY = { online: "Online", offline: "Offline", asleep: "Asleep" };

// The freshness of a device, {seconds, stale}; seconds is null before its first reading.
export function freshness(device, now) {
  const newest = Math.max(...device.channels.map((channel) => channel.time ?? -Infinity));
  if (newest === -Infinity) return { seconds: null, stale: false };
  const seconds = Math.max(0, now - newest);
  return { seconds, stale: device.interval !== NEVER_STALE && seconds > 3 * device.interval, newest };
}

// One device: its model, its freshness, and every channel with its value.
class Card extends LitElement {
  static properties = {
    device: { attribute: false },
    colours: { attribute: false }, // Map of series → colour of its line in the chart
    now: { type: Number },
    open: { state: true },
  };

  createRenderRoot() {
    return this;
  }

  #row(channel, stale) {
    const [text, unit] = value(channel.value, channel.unit);
    const name = channel.title;
    const interval = this.device.interval;
    const old = !stale && interval !== NEVER_STALE && channel.time !== null && this.now - channel.time > 3 * interval;
    const colour = this.colours.get(channel.series);
    const when = channel.time === null ? "no value yet" : moment(channel.time);
    const content = html`
      <i class="dot" aria-hidden="true"></i>
      <span class="name">${name}</span>
      <span class="value ${typeof channel.value === "string" ? "text" : ""}">${text}${unit ? html`<small>${unit}</small>` : nothing}</span>
    `;
    const classes = `row ${colour === undefined ? "" : `charted c${colour}`} ${old ? "old" : ""}`;
    if (!charted(channel)) return html`<li><div class=${classes} title=${`${channel.name} · ${when}`}>${content}</div></li>`;
    return html`<li>
      <button
        class=${classes}
        aria-pressed=${colour === undefined ? "false" : "true"}
        title=${`${channel.name} · ${when}`}
        @click=${() => this.dispatchEvent(new CustomEvent("choose", { detail: channel.series, bubbles: true }))}
      >
        ${content}
      </button>
    </li>`;
  }

  render() {
    const { device } = this;
    const { seconds, stale, newest } = freshness(device, this.now);
    const down = !device.live || device.availability === "offline";
    const ordered = device.channels
      .map((channel, index) => [rank(channel), index, channel])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, , channel]) => channel);
    // Two more rows take no more room than a button.
    const few = ordered.length <= SHOWN + 2;
    const rows = few || this.open ? ordered : ordered.slice(0, SHOWN);
    return html`
      <article class="card ${down || stale ? "faded" : ""}" aria-label=${title(device.device)}>
        <header>
          <h3 title=${device.device}>${title(device.device)}</h3>
          ${AVAILABILITY[device.availability]
            ? html`<span class="badge ${device.availability}">${AVAILABILITY[device.availability]}</span>`
            : device.live
              ? nothing
              : html`<span class="badge" title="Only the store has this device">Not live</span>`}
          <p class="model">${device.model ? title(device.model) : "Model unknown"}</p>
          <p class="fresh ${stale ? "stale" : ""}" title=${newest ? moment(newest) : ""}>
            ${seconds === null ? "no reading yet" : html`${stale ? html`<b>Stale</b> · ` : nothing}${age(seconds)}`}
          </p>
          ${device.why ? html`<p class="model why">${device.why}</p>` : nothing}
        </header>
        <ul class="rows">
          ${repeat(rows, (channel) => channel.name, (channel) => this.#row(channel, stale))}
        </ul>
        ${few
          ? nothing
          : html`<button class="more" aria-expanded=${this.open ? "true" : "false"} @click=${() => (this.open = !this.open)}>
              ${this.open ? "Show fewer" : `Show all ${ordered.length} channels`}
            </button>`}
      </article>
    `;
  }
}

customElements.define("helio-card", Card);
