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

// 1392 s → ["23", "min"], 18720 s → ["5 h 12", "min"], 266400 s → ["3 d 2", "h"]
function duration(seconds) {
  const minutes = Math.floor(Math.abs(seconds) / 60);
  const hours = Math.floor(minutes / 60);
  const sign = seconds < 0 ? "-" : "";
  if (hours < 1) return [`${sign}${minutes}`, "min"];
  if (hours < 48) return minutes % 60 ? [`${sign}${hours} h ${minutes % 60}`, "min"] : [`${sign}${hours}`, "h"];
  const days = Math.floor(hours / 24);
  return hours % 24 ? [`${sign}${days} d ${hours % 24}`, "h"] : [`${sign}${days}`, "d"];
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
