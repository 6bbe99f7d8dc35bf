// The history of some series as the chart draws it: fetched per bucket, continued by live values.

export const RANGES = [
  { name: "1 h", seconds: 3600 },
  { name: "6 h", seconds: 6 * 3600 },
  { name: "24 h", seconds: 86400 },
  { name: "7 d", seconds: 7 * 86400 },
];

// Columns that share one time axis. Each is {n, mean, min, max}, one entry per bucket.
export class History {
  times = [];
  columns = new Map();
  step = 10;
  #span = 0;

  async load(site, names, seconds) {
    const end = site.now();
    this.#span = seconds;
    const query = new URLSearchParams({
      series: names.join(","),
      from: (end - seconds).toFixed(3),
      to: end.toFixed(3),
      bucket: "auto",
      tz: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC",
      functions: "mean,min,max",
    });
    const response = await site.get(`series?${query}`);
    this.times = response.time;
    this.columns = new Map(Object.entries(response.series));
    const nothing = () => new Array(this.times.length).fill(null);
    // A series without history begins with its next value.
    for (const name of response.unknown ?? []) this.columns.set(name, { n: nothing(), mean: nothing(), min: nothing(), max: nothing() });
    if (this.times.length > 1) this.step = this.times[1] - this.times[0];
  }

  // The time of the first bucket with a reading.
  firstTime() {
    const index = this.times.findIndex((_, i) => [...this.columns.values()].some((column) => column.n[i]));
    return this.times[Math.max(index, 0)] ?? 0;
  }

  // Add a live value; returns whether its series is drawn.
  append(series, time, value) {
    const column = this.columns.get(series);
    const number = typeof value === "boolean" ? Number(value) : value;
    if (!column || typeof number !== "number" || !this.times.length) return false;
    if (time < this.times.at(-1)) return false;
    while (time >= this.times.at(-1) + this.step) this.#grow();
    const last = this.times.length - 1;
    const n = column.n[last] ?? 0;
    column.mean[last] = ((column.mean[last] ?? 0) * n + number) / (n + 1);
    column.min[last] = Math.min(column.min[last] ?? number, number);
    column.max[last] = Math.max(column.max[last] ?? number, number);
    column.n[last] = n + 1;
    return true;
  }

  #grow() {
    const next = this.times.at(-1) + this.step;
    const lists = [...this.columns.values()].flatMap((column) => [column.n, column.mean, column.min, column.max]);
    this.times.push(next);
    for (const list of lists) list.push(null);
    while (this.times[0] < next - this.#span - this.step) {
      this.times.shift();
      for (const list of lists) list.shift();
    }
  }
}

// One line for uPlot: undefined joins its neighbours, null is a gap. Between two readings of a slow
// device there are empty buckets that are not an outage.
export function joined(times, values, longest) {
  const line = new Array(values.length);
  let previous = -1;
  for (let i = 0; i < values.length; i++) {
    line[i] = values[i];
    if (values[i] === null) continue;
    if (previous >= 0 && times[i] - times[previous] <= longest) line.fill(undefined, previous + 1, i);
    previous = i;
  }
  return line;
}
