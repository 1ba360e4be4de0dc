// The course of one application as columns of equal length; rows come from the journal and, live, from ticks.

export const STATES = ["busy", "idle", "draining", "starting", "standby"];
const GAP_STEPS = 4;

export class Series {
  constructor() { this.columns = null; this.width = 1; this.step = 1; }

  replace(told) { this.columns = told.columns; this.width = Math.max(told.width, 1); this.step = told.step; }

  get finest() { return this.step === 1; }
  get last() { return this.columns && this.columns.at.length ? this.columns.at.at(-1) : 0; }

  /** Add rows that are newer; forget what lies before `begin`, so that a page left open does not grow. */
  append(rows, begin) {
    if (!rows || !this.columns) return;
    const last = this.last;
    rows.at.forEach((at, place) => {
      if (at > last) for (const name of Object.keys(this.columns)) this.columns[name].push(rows[name][place]);
    });
    const drop = this.columns.at.findIndex((at) => at >= begin);
    if (drop > 300) for (const column of Object.values(this.columns)) column.splice(0, drop);
  }

  /** Rows for drawing: with a break where no monitor wrote, and times in seconds. */
  drawn() {
    const columns = this.columns, count = columns?.at.length ?? 0, out = { at: [] };
    const names = ["p50", "p95", "p99", "arrived", "stored", "ready", "in_flight", "desired", "demand", ...STATES];
    for (const name of names) out[name] = [];
    for (let place = 0; place < count; place += 1) {
      const at = columns.at[place], before = place ? columns.at[place - 1] : at;
      const length = columns.seconds[place];
      if (place && at - length - before > Math.max(GAP_STEPS * this.width, 25)) {
        out.at.push(before + 0.01);
        for (const name of names) out[name].push(null);
      }
      out.at.push(at);
      for (const name of names) {
        const value = columns[name][place];
        if (name[0] === "p" && name[1] !== "r") out[name].push(value === null ? undefined : value / 1000);
        else if (name === "arrived" || name === "stored") out[name].push(value / Math.max(length, 0.001));
        else out[name].push(value);
      }
    }
    return out;
  }

  /** Sums and extremes of a period, for the sentence under each chart. */
  sums(begin, end) {
    const found = { arrived: 0, stored: 0, in_time: 0, dead: 0, failed: 0, seconds: 0, p95: null, ready: null, workers: null, least: null };
    const columns = this.columns;
    for (let place = 0; place < (columns?.at.length ?? 0); place += 1) {
      if (columns.at[place] < begin || columns.at[place] > end) continue;
      for (const name of ["arrived", "stored", "in_time", "dead", "failed", "seconds"]) found[name] += columns[name][place];
      const most = (name, value) => { if (value !== null && (found[name] === null || value > found[name])) found[name] = value; };
      most("p95", columns.p95[place]);
      most("ready", columns.ready[place]);
      const workers = STATES.reduce((sum, state) => sum + columns[state][place], 0);
      most("workers", workers);
      found.least = found.least === null ? workers : Math.min(found.least, workers);
    }
    return found;
  }

  /** At most `count` rows of a period, evenly, as a table shows them. */
  rows(begin, end, count = 40) {
    const places = [];
    (this.columns?.at ?? []).forEach((at, place) => { if (at >= begin && at <= end) places.push(place); });
    const every = Math.max(1, Math.ceil(places.length / count));
    return places.filter((_, index) => index % every === 0).map((place) => Object.fromEntries(Object.entries(this.columns).map(([name, column]) => [name, column[place]])));
  }
}
