// Which channels matter most: for the tiles, for the first chart, and for the order on a card.
// A channel here is {series, node, device, name, unit, kind, …} of site.js. Pure functions.

const POWER = new Set(["W", "kW", "VA"]);

// In order of the tiles; the first channel that fits best gets the role.
export const ROLES = [
  { role: "solar", title: "Solar", fits: (c) => POWER.has(c.unit) && /^(pv|solar|generation|inverter)(_|$)/.test(c.name) },
  { role: "battery", title: "Battery", fits: (c) => c.unit === "%" && /(^|_)(soc|state_of_charge)(_|$)/.test(c.name) },
  { role: "voltage", title: "Battery", fits: (c) => c.unit === "V" && /^(battery|bat)(_voltage)?$/.test(c.name) },
  { role: "load", title: "Load", fits: (c) => POWER.has(c.unit) && /^(load|house|home|use|consumption)(_|$)/.test(c.name) },
  { role: "grid", title: "Grid", fits: (c) => POWER.has(c.unit) && /^(grid|mains|import|utility)(_|$)/.test(c.name) },
  { role: "power", title: "Power", fits: (c) => c.unit === "W" && /^((total_|active_)?power|power\d)$/.test(c.name) },
];

function score(channel, own) {
  let points = channel.time === null ? 0 : 100;
  // Of equal ones that of the node that shows the page.
  if (channel.owner.node === own) points += 20;
  if (channel.owner.availability === "offline") points -= 80;
  if (/power$|soc$|voltage$/.test(channel.name)) points += 10;
  if (/max|min|rated|today|set|limit|nominal/.test(channel.name)) points -= 50;
  return points - channel.name.length / 10;
}

// The channel for each role that any channel has, as [{role, title, channel}].
export function roles(channels, own = "") {
  const matches = [];
  for (const { role, title, fits } of ROLES) {
    const best = channels.filter(fits).sort((a, b) => score(b, own) - score(a, own))[0];
    if (best) matches.push({ role, title, channel: best });
  }
  const has = (role) => matches.some((one) => one.role === role);
  // The voltage replaces the charge of a battery that does not report it; a meter's power replaces the grid's.
  return matches.filter(({ role }) => !(role === "voltage" && has("battery")) && !(role === "power" && has("grid")));
}

// The series of the first chart: those of the roles, and the battery's voltage beside its charge.
export function defaultSelection(channels, own = "") {
  const selected = roles(channels, own).map(({ channel }) => channel.series);
  const voltage = channels.filter(ROLES[2].fits).sort((a, b) => score(b, own) - score(a, own))[0];
  if (voltage && !selected.includes(voltage.series)) selected.push(voltage.series);
  if (!selected.length) {
    const any = channels.find((c) => charted(c) && POWER.has(c.unit)) ?? channels.find(charted);
    if (any) selected.push(any.series);
  }
  return selected;
}

// Whether a channel has a line to draw.
export function charted(channel) {
  return channel.kind !== "text" && typeof channel.value !== "string";
}

const ORDER = [/power\d*$/, /soc$/, /status$|state$|mode$/, /voltage(_?l?\d)?$|^vrms/, /current(_?l?\d)?$/, /temperature\d*$|^temp/, /humidity$/, /today$/, /total$|energy/];

// The position of a channel on its card: small is first.
export function rank(channel) {
  const detail = /max|min|rated|limit|nominal|reconnect|equalization|boost|float/.test(channel.name) ? 100 : 0;
  const index = ORDER.findIndex((pattern) => pattern.test(channel.name));
  return detail + (index < 0 ? 50 : index);
}
