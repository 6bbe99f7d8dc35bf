import { LitElement, html, nothing } from "lit";

const SHOWN_CHARACTERS = 20000;
const EXAMPLES = { series: "*/*/*power", bucket: "1h", functions: "mean,min,max", tz: Intl.DateTimeFormat().resolvedOptions().timeZone };
const REQUIRED = new Set(["series"]);
const READING = '{"device": "attic", "values": {"temperature": 21.4}}';

// The documentation of the interface, drawn from openapi.json, with a form to try each request.
class Docs extends LitElement {
  static properties = {
    description: { state: true },
    problem: { state: true },
    responses: { state: true },
    feed: { state: true },
  };

  createRenderRoot() {
    this.replaceChildren();
    return this;
  }

  constructor() {
    super();
    this.responses = {};
    this.feed = null;
    this.#load();
  }

  async #load() {
    try {
      const response = await fetch("/api/v1/openapi.json");
      this.description = await response.json();
    } catch (error) {
      this.problem = error.message;
    }
  }

  async #try(event, path, method) {
    event.preventDefault();
    const query = new URLSearchParams();
    const form = new FormData(event.target);
    const [key, body] = ["-key", "-body"].map((name) => form.get(name)?.trim());
    for (const [name, text] of form) if (text.trim() && !name.startsWith("-")) query.set(name, text.trim());
    const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
    const url = query.size ? `${path}?${query.toString().replaceAll("%2F", "/").replaceAll("%2C", ",")}` : path;
    let shown;
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body || undefined });
      const isJson = response.headers.get("content-type")?.startsWith("application/json");
      const text = isJson ? JSON.stringify(await response.json(), null, 2) : await response.text();
      const more = text.length - SHOWN_CHARACTERS;
      shown = { url, headers, method, body, status: `${response.status} ${response.statusText}`, ok: response.ok, text: more > 0 ? `${text.slice(0, SHOWN_CHARACTERS)}\n… ${more} more characters` : text };
    } catch (error) {
      shown = { url, headers, method, body, status: "no response", ok: false, text: error.message };
    }
    this.responses = { ...this.responses, [`${method} ${path}`]: shown };
  }

  #listen(event) {
    event.preventDefault();
    this.socket?.close();
    const patterns = new FormData(event.target).get("series").split(",").map((part) => part.trim());
    const lines = [];
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/api/v1/live`);
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ subscribe: patterns }));
    socket.onmessage = ({ data }) => {
      lines.unshift(data.length > 300 ? `${data.slice(0, 300)} …` : data);
      lines.length = Math.min(lines.length, 12);
      this.feed = lines.join("\n");
    };
    this.feed = "Connecting …";
  }

  #response(path, method) {
    const response = this.responses[`${method} ${path}`];
    if (!response) return nothing;
    const options = [
      ...(response.headers.authorization ? ['-H "Authorization: Bearer $KEY" '] : []),
      ...(response.body ? ["-H 'Content-Type: application/json' ", `-d '${response.body.replaceAll("'", "'\\''")}' `] : []),
      ...(response.method === "post" && !response.body ? ["-X POST "] : []),
    ].join("");
    return html`<div class="response" role="status">
      <p><b class=${response.ok ? "good" : "bad"}>${response.status}</b> <code>curl ${options}'${location.origin}${response.url}'</code></p>
      <pre tabindex="0">${response.text}</pre>
    </div>`;
  }

  #shape(schema) {
    const reference = schema?.$ref ?? schema?.items?.$ref ?? schema?.additionalProperties?.$ref;
    const name = reference?.split("/").at(-1);
    const shape = this.description.components.schemas[name];
    if (!shape?.properties) return nothing;
    const around = schema.items ? ["[", "]"] : schema.additionalProperties ? ["{name: ", "}"] : ["", ""];
    return html`<p class="shape">
      <code>${around[0]}{${Object.keys(shape.properties).join(", ")}}${around[1]}</code>
      ${shape.description ?? ""}
    </p>`;
  }

  #operation(path, method, operation) {
    const success = operation.responses["200"] ?? operation.responses["202"];
    const schema = success?.content?.["application/json"]?.schema;
    const example = operation.requestBody?.content["application/json"]?.schema.oneOf ? READING : "";
    return html`<details class="operation panel" id=${operation.operationId}>
      <summary><span class="method">${method.toUpperCase()}</span> <code>${path}</code> <span>${operation.description}</span></summary>
      <form @submit=${(event) => this.#try(event, path, method)}>
        ${operation.security
          ? html`<label><span><b>key</b></span><input name="-key" type="password" autocomplete="off" /></label>`
          : nothing}
        ${operation.requestBody
          ? html`<label><span><b>body</b></span><input name="-body" .value=${example} spellcheck="false" autocomplete="off" /></label>`
          : nothing}
        ${(operation.parameters ?? []).map(
          ({ name, description }) => html`<label>
            <span><b>${name}</b>${REQUIRED.has(name) ? " (required)" : ""} <small>${description}</small></span>
            <input name=${name} .value=${REQUIRED.has(name) ? EXAMPLES[name] : ""} placeholder=${EXAMPLES[name] ?? ""} spellcheck="false" autocomplete="off" />
          </label>`,
        )}
        <button class="send">Send</button>
      </form>
      ${this.#response(path, method)}
      <h3>Response</h3>
      <p>${success?.description}</p>
      ${(schema?.oneOf ?? [schema]).map((one) => this.#shape(one))}
    </details>`;
  }

  render() {
    if (this.problem) return html`<main><p class="quiet">The description could not be loaded: ${this.problem}</p></main>`;
    if (!this.description) return html`<main><p class="quiet">Loading …</p></main>`;
    const { info, paths } = this.description;
    return html`
      <header class="top">
        <p class="brand"><a href="/"><img src="/icon.svg" alt="" width="30" height="30" />Heliograph</a></p>
        <nav aria-label="More"><a href="/">Dashboard</a><a href="/api/v1/openapi.json">openapi.json</a></nav>
      </header>
      <main>
        <section class="intro">
          <h1>API <small>${info.version}</small></h1>
          <p>
            JSON over HTTP. A series is named <code>node/device/channel</code>; <code>*</code> matches within one part. Times are UTC
            seconds; ISO 8601 is accepted too. An error is <code>{"detail": "what is wrong and what would be right"}</code>.
          </p>
        </section>
        ${Object.entries(paths).flatMap(([path, methods]) =>
          Object.entries(methods).map(([method, operation]) => this.#operation(path, method, operation)),
        )}
        <details class="operation panel" id="live">
          <summary><span class="method">WS</span> <code>/api/v1/live</code> <span>Values as they arrive.</span></summary>
          <p>
            Send <code>{"subscribe": ["node/*/pv_power"]}</code>, and again to replace the subscription. The newest value of each series
            comes at once, then batches <code>[{"series", "time", "value"}]</code>. A slow client gets the newest value of each series, not every one.
          </p>
          <form @submit=${(event) => this.#listen(event)}>
            <label><span><b>series</b></span><input name="series" .value=${EXAMPLES.series} spellcheck="false" autocomplete="off" /></label>
            <button class="send">Listen</button>
          </form>
          ${this.feed === null ? nothing : html`<div class="response"><pre tabindex="0">${this.feed}</pre></div>`}
        </details>
      </main>
    `;
  }
}

customElements.define("helio-docs", Docs);
