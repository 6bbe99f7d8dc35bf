// Names, values and ages, as a person reads them. Pure functions; nothing here touches the page.

const UPPER = new Set(["pv", "ac", "dc", "soc", "soh", "rssi", "snr", "co2", "voc", "ct", "id", "ip", "cpu", "usb", "mppt", "bms", "uv"]);
// Names that have a spelling of their own; other words without a vowel are abbreviations: VM, MSG.
const SPELLED = {
  emontx: "emonTx", emonth: "emonTH", emonpi: "emonPi", emonglcd: "emonGLCD", emontxcm: "emonTx CM", rfm2pi: "RFM2Pi",
  vrms: "V RMS", irms: "I RMS", kwh: "kWh", wh: "Wh", kw: "kW", va: "VA", hz: "Hz", msg: "Message number", wifi: "Wi-Fi",
};
const PREFIXES = {
  W: ["W", "kW", "MW"],
  VA: ["VA", "kVA", "MVA"],
  var: ["var", "kvar", "Mvar"],
  Wh: ["Wh", "kWh", "MWh", "GWh"],
  kWh: ["kWh", "MWh", "GWh"],
  kW: ["kW", "MW"],
  B: ["B", "kB", "MB", "GB", "TB"],
  kB: ["kB", "MB", "GB", "TB"],
  MB: ["MB", "GB", "TB"],
};
const numbers = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat(undefined, { maximumFractionDigits: digits }));
const hourMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayTime = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// "battery_soc" → "Battery SOC", "ct1" → "CT1"
export function title(name) {
  const words = name.split(/[_-]+/).filter(Boolean).map((word) => {
    const [, stem, digits] = /^([a-z]*)(\d*)$/.exec(word) ?? [];
    // emontx3 and emontx3cm, as decoders are called
    const product = /^(emontx|emonth|emonpi)(\d*)(cm)?$/.exec(word);
    if (product) return [SPELLED[product[1]] + (product[2] && ` V${product[2]}`), product[3] && "CM"].filter(Boolean).join(" ");
    if (SPELLED[word] ?? SPELLED[stem]) return SPELLED[word] ?? `${SPELLED[stem]} ${digits}`;
    if (stem?.length > 1 && !/[aeiouy]/.test(stem)) return stem.toUpperCase() + digits;
    if (stem && UPPER.has(stem)) return stem.toUpperCase() + digits;
    // l1, and names of parts and products: sdm630, bme280
    if ((stem?.length === 1 && digits) || (stem && stem.length < 5 && digits.length > 1)) return word.toUpperCase();
    // power1
    return stem?.length > 3 && digits ? `${stem} ${digits}` : word;
  });
  const text = words.join(" ");
  return /^[a-z][a-z0-9]*\b/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

// What a person calls each of these channels, as a Map of name → text: its label if it has one of its own, else its name.
export function labels(channels) {
  const count = new Map();
  for (const { label } of channels) count.set(label, (count.get(label) ?? 0) + 1);
  return new Map(
    channels.map(({ name, label }) => [
      name,
      !label ? title(name) : count.get(label) > 1 ? `${capital(label)} (${title(name)})` : capital(label),
    ]),
  );
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const DURATIONS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// 90 s → ["1 min 30", "s"], 1392 s → ["23", "min"], 18720 s → ["5 h 12", "min"], 266400 s → ["3 d 2", "h"]; `finest` (s) is
// what it is cut off to: less of a long time than of a short one, unless it is given.
function duration(seconds, finest) {
  const whole = Math.abs(seconds);
  const cut = finest ?? (whole < 600 ? 1 : whole < 2 * 86400 ? 60 : 3600);
  let left = Math.floor(whole / cut) * cut;
  const parts = [];
  for (const [unit, size] of left < 2 * 86400 ? DURATIONS.slice(1) : DURATIONS) {
    if (left >= size) parts.push(Math.floor(left / size), unit);
    left %= size;
  }
  const unit = parts.pop() ?? "s";
  return [`${seconds < 0 && parts.length ? "-" : ""}${parts.join(" ") || 0}`, unit];
}

function decimals(size, unit) {
  if (size >= 1000) return 0;
  if (unit === "W" || unit === "VA" || unit === "var") return size >= 100 ? 0 : 1;
  if (size >= 100 || unit === "%" || unit === "°C" || unit === "°F") return 1;
  return size >= 1 || size === 0 ? 2 : 3;
}

// A value as [text, unit]: 2345.6 W → ["2.35", "kW"], true → ["on", ""]
export function value(raw, unit = "") {
  if (raw === null || raw === undefined) return ["–", ""];
  if (typeof raw === "boolean") return [raw ? "on" : "off", ""];
  if (typeof raw !== "number") return [String(raw), unit];
  if (unit === "s" && Math.abs(raw) >= 60) return duration(raw);
  const steps = PREFIXES[unit] ?? [unit];
  let step = 0;
  let number = raw;
  while (Math.abs(number) >= 1000 && step < steps.length - 1) {
    number /= 1000;
    step += 1;
  }
  const digits = step ? (Math.abs(number) >= 100 || unit.endsWith("B") ? 1 : 2) : decimals(Math.abs(number), unit);
  // No minus before a zero that is only rounded.
  const text = numbers[digits].format(Math.abs(number) < 0.5 / 10 ** digits ? 0 : number);
  return [text, steps[step]];
}

export function valueText(raw, unit) {
  return value(raw, unit).filter(Boolean).join("\u202f");
}

// The texts at an axis: all in the unit of the largest, so that it does not change half-way; no two look the same.
export function tickTexts(ticks, unit) {
  const distance = ticks[1] - ticks[0] || 1;
  const largest = Math.max(...ticks.map(Math.abs));
  if (unit === "s" && largest >= 60 && distance >= 1) return ticks.map((seconds) => durationTick(seconds, largest, distance));
  const shown = unit === "s" ? unit : value(largest, unit)[1];
  const factor = shown === unit ? 1 : { k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[shown[0]] / ({ k: 1e3, M: 1e6 }[unit[0]] ?? 1);
  const digits = Math.max(0, Math.min(3, -Math.floor(Math.log10(distance / factor) + 1e-9)));
  return ticks.map((tick) => `${(tick / factor).toFixed(digits)}${shown ? ` ${shown}` : ""}`);
}

// 3 d 2 h, 74:10 h, 40 min, 1:20 min: as fine as the distance of the ticks needs
function durationTick(seconds, largest, distance) {
  if (distance >= 3600) return duration(seconds, 3600).join("\u202f");
  if (distance >= 60 && largest < 3600) return duration(seconds, 60).join("\u202f");
  const [size, unit] = distance >= 60 ? [60, "h"] : [1, "min"];
  const count = Math.floor(Math.abs(seconds) / size);
  return `${seconds < 0 ? "-" : ""}${Math.floor(count / 60)}:${String(count % 60).padStart(2, "0")}\u202f${unit}`;
}

// Seconds ago → "3 s ago"
export function age(seconds) {
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

export function clock(seconds) {
  return clockTime.format(seconds * 1000);
}

// What stands below a chart at this time: the hour, or at midnight the day.
export function tick(seconds) {
  const date = new Date(seconds * 1000);
  return date.getHours() || date.getMinutes() ? hourMinute.format(date) : weekday.format(date);
}

export function moment(seconds) {
  return dayTime.format(seconds * 1000);
}
