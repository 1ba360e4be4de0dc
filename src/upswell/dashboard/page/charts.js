// The charts of one application over one time axis: response time, decisions, arrivals, queue, workers.

import { app as path, get } from "./api.js";
import { Chart, level, upright } from "./chart.js";
import { color, h } from "./dom.js";
import { clock, counted, number, percent, seconds, wanted } from "./format.js";
import { Lane } from "./lane.js";
import { STATES, Series } from "./series.js";

const stepped = uPlot.paths.stepped({ align: -1 });
const RELOAD_LEAST = 10;
const ALWAYS = new Set(["busy", "idle"]);

export class Charts {
  /** view: the shared period; events: {zoom, choose(decision), key(event)}; compact: side by side with others. */
  constructor(view, events, compact = false) {
    this.view = view;
    this.events = events;
    this.compact = compact;
    this.series = new Series();
    this.changes = [];
    this.slo = null;
    this.whatif = null;
    this.chosen = null;
    this.loading = null;
    this.loadedAt = 0;
    this.data = this.series.drawn();
    const hooks = {
      period: () => view.period(), zoom: events.zoom, rows: () => this.series.rows(...view.period()),
      draw: (plot) => { if (this.chosen) upright(plot, this.chosen.at, "accent"); },
      tick: (at) => tick(at, view.span),
    };
    const at = (name, show) => (place) => { const value = this.data[name][place]; return value === null || value === undefined ? null : show(value); };
    this.response = new Chart({
      title: "Response time", height: compact ? 120 : 168, unit: (value) => seconds(value),
      keys: [{ label: "p50", color: "p50", kind: "line", value: at("p50", seconds) }, { label: "p95", color: "p95", kind: "line", value: at("p95", seconds) }, { label: "p99", color: "p99", kind: "dash", value: at("p99", seconds) }, { label: "objective", color: "slo", kind: "dash" }],
      series: [{ line: "p99", width: 1.25, dash: [4, 3] }, { line: "p50", width: 1.5 }, { line: "p95", width: 2.25 }],
      range: (_, __, max) => [0, Math.max((this.slo?.seconds ?? 1) * 1.25, (max ?? 0) * 1.08)],
      over: (plot) => { if (this.slo) level(plot, this.slo.seconds, "slo", `${wanted(this.slo.share)} within ${seconds(this.slo.seconds)}`); },
      behind: (plot) => this.late(plot),
      table: { heads: ["time", "p50", "p95", "p99", "stored", "in time"], row: (row) => [ms(row.p50), ms(row.p95), ms(row.p99), number(row.stored), number(row.in_time)] },
    }, hooks);
    this.arrivals = new Chart({
      title: "Arrivals", height: compact ? 64 : 84, unit: (value) => `${number(value)}/s`,
      keys: [{ label: "arriving", color: "arrived", kind: "line", value: at("arrived", perSecond) }, { label: "stored", color: "stored", kind: "dash", value: at("stored", perSecond) }],
      series: [{ line: "arrived", paths: stepped, width: 1.75 }, { line: "stored", paths: stepped, width: 1.5, dash: [4, 2] }],
      range: (_, __, max) => [0, Math.max(1, (max ?? 0) * 1.12)],
      table: { heads: ["time", "arrived", "stored", "dead", "failed attempts"], row: (row) => [row.arrived, row.stored, row.dead, row.failed].map((value) => number(value)) },
    }, hooks);
    this.queue = new Chart({
      title: "Queue", height: compact ? 64 : 84, unit: (value) => number(value),
      keys: [{ label: "waiting", color: "ready", kind: "area", value: at("ready", number) }, { label: "in flight", color: "inflight", kind: "area", value: at("in_flight", number) }, { label: "what if", color: "whatif", kind: "dash" }],
      series: [{ tint: "ready", line: "ready", paths: stepped, width: 1 }, { tint: "inflight", line: "inflight", paths: stepped, width: 1 }, { line: "whatif", width: 2, dash: [6, 3] }],
      range: (_, __, max) => [0, Math.max(2, (max ?? 0) * 1.12)],
      table: { heads: ["time", "waiting", "in flight"], row: (row) => [number(row.ready), number(row.in_flight)] },
    }, hooks);
    this.workers = new Chart({
      title: "Workers", height: compact ? 120 : 168, bottom: true, unit: (value) => (Number.isInteger(value) ? number(value) : ""),
      keys: [...STATES.map((state) => ({ label: state, color: state, kind: "area", value: at(state, number) })), { label: "desired", color: "desired", kind: "line", value: at("desired", number) }, { label: "demand", color: "demand-line", kind: "dash", value: at("demand", number) }, { label: "what if", color: "whatif", kind: "dash" }],
      series: [{ tint: "demand", paths: stepped, width: 0 }, ...[...STATES].reverse().map((state) => ({ tint: state, paths: stepped, width: 0 })), { line: "desired", paths: stepped, width: 1.5 }, { line: "demand-line", paths: stepped, width: 1.25, dash: [4, 3] }, { line: "whatif", paths: uPlot.paths.stepped({ align: 1 }), width: 2, dash: [6, 3] }],
      range: (_, __, max) => [0, Math.max(2, (max ?? 0) * 1.12)],
      table: { heads: ["time", "desired", "demand", ...STATES], row: (row) => [number(row.desired), number(row.demand), ...STATES.map((state) => number(row[state]))] },
    }, hooks);
    this.all = [this.response, this.arrivals, this.queue, this.workers];
    this.lane = new Lane(view, events.choose);
    this.element = h("div", { class: "plots" }, this.response.element, this.lane.element, this.arrivals.element, this.queue.element, this.workers.element);
    for (const chart of this.all) {
      chart.plot.tabIndex = 0;
      chart.plot.setAttribute("role", "group");
      chart.plot.setAttribute("aria-label", `${chart.options.title}: arrow keys pan, plus and minus zoom`);
      chart.plot.addEventListener("keydown", (event) => events.key?.(event));
    }
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.element);
  }

  /** A soft ground where the p95 was beyond the objective. */
  late(plot) {
    if (!this.slo) return;
    const context = plot.ctx, { top, height } = plot.bbox;
    context.save();
    context.fillStyle = color("bad-soft");
    this.data.at.forEach((at, place) => {
      if (!(this.data.p95[place] > this.slo.seconds) || !place) return;
      const left = plot.valToPos(Math.max(this.data.at[place - 1], plot.scales.x.min), "x", true), right = plot.valToPos(Math.min(at, plot.scales.x.max), "x", true);
      if (right > left) context.fillRect(left, top, right - left + 1, height);
    });
    context.restore();
  }

  /** The period is another: fetch it; what was asked before is given up. */
  async load(name) {
    this.loading?.abort();
    const control = this.loading = new AbortController();
    const [begin, end] = this.view.period();
    this.loadedAt = performance.now();
    try {
      this.take(await get(path(name, "/chart"), { begin: (begin - this.view.span * 0.02).toFixed(2), end: end.toFixed(2) }, control.signal));
      this.draw();
    } finally { if (this.loading === control) this.loading = null; }
  }

  /** A tick came: append what it brings, or fetch anew where rows were missed, or are longer than a tick. */
  async follow(told, name) {
    const series = this.series, gone = (performance.now() - this.loadedAt) / 1000;
    if (this.loading && gone < RELOAD_LEAST) return;
    const missed = series.finest && told.tail?.at.length && series.last && told.tail.at[0] > series.last + 5;
    if (!series.columns || missed || (!series.finest && gone > Math.max(RELOAD_LEAST, series.width))) await this.load(name);
    else { this.append(series.finest ? told.tail : null, told.changes); this.draw(); }
  }

  take(told) { this.series.replace(told); this.changes = told.changes; }

  append(tail, changes) {
    const [begin] = this.view.period();
    this.series.append(tail, begin - this.view.span);
    const known = new Set(this.changes.map((one) => one.id));
    for (const change of changes ?? []) if (!known.has(change.id)) this.changes.push(change);
    const drop = this.changes.findIndex((one) => one.at >= begin - this.view.span);
    if (drop > 0) this.changes.splice(0, drop);
  }

  choose(decision) { this.chosen = decision; this.lane.choose(decision?.id); this.all.forEach((chart) => chart.uplot?.redraw(false)); }

  overlay(timeline) { this.whatif = timeline; this.draw(); }

  draw() {
    const drawn = this.data = this.series.drawn();
    const stack = [], sums = drawn.at.map(() => 0);
    for (const state of STATES) {
      drawn[state].forEach((value, place) => { sums[place] = value === null ? null : sums[place] + value; });
      stack.unshift([...sums]);
    }
    const [workers, waiting] = this.overlaid(drawn.at);
    const queued = drawn.ready.map((value, place) => (value === null ? null : value + (drawn.in_flight[place] ?? 0)));
    this.response.draw([drawn.at, drawn.p99, drawn.p50, drawn.p95]);
    this.arrivals.draw([drawn.at, drawn.arrived, drawn.stored]);
    this.queue.draw([drawn.at, queued, drawn.in_flight, waiting]);
    this.workers.draw([drawn.at, drawn.demand, ...stack, drawn.desired, drawn.demand, workers]);
    // A state that no worker was in needs no key: eight are too many for a telephone.
    const keys = this.workers.element.querySelector(".keys").children;
    STATES.forEach((state, place) => { keys[place].hidden = !ALWAYS.has(state) && !drawn[state].some((count) => count > 0); });
    const has = this.whatif !== null;
    for (const chart of [this.queue, this.workers]) chart.element.querySelector(".keys").lastElementChild.hidden = !has;
    this.lane.draw(this.changes, this.response.uplot);
    this.describe();
  }

  /** The replayed course at our instants. */
  overlaid(at) {
    if (!this.whatif) return [at.map(() => null), at.map(() => null)];
    const line = this.whatif, workers = [], waiting = [];
    let place = 0;
    for (const instant of at) {
      while (place + 1 < line.length && line[place + 1][0] <= instant) place += 1;
      const inside = line.length && instant >= line[0][0] && instant <= line.at(-1)[0] + 5;
      workers.push(inside ? line[place][1] : null);
      waiting.push(inside ? line[place][2] : null);
    }
    return [workers, waiting];
  }

  describe() {
    const [begin, end] = this.view.period(), sums = this.series.sums(begin, end), slo = this.slo;
    const from = `${clock(begin)} to ${clock(end)}`;
    const ended = sums.stored + sums.dead;
    this.response.describe(ended ? `${percent(sums.in_time / ended)} of ${counted(ended, "upload")} in time${slo ? ` (${wanted(slo.share)} wanted)` : ""}${this.compact ? "" : `, ${from}`}; the highest p95 was ${seconds(sums.p95 / 1000)}.` : `No upload ended, ${from}.`);
    this.arrivals.describe(`${counted(sums.arrived, "upload")} arrived and ${number(sums.stored)} were stored${sums.dead ? `, ${number(sums.dead)} died` : ""}.`);
    this.queue.describe(sums.ready === null ? "The depth is not known." : `At most ${number(sums.ready)} waited at once.`);
    this.workers.describe(sums.workers === null ? "Nothing is known of workers." : `${number(sums.least)} to ${counted(sums.workers, "worker")}; demand is what arrives, as workers it would keep busy.`);
  }

  repaint() { this.all.forEach((chart) => chart.repaint()); this.draw(); }
  destroy() { this.loading?.abort(); this.resized.disconnect(); this.all.forEach((chart) => chart.destroy()); }
}

const ms = (value) => (value === null ? "–" : seconds(value / 1000));
const perSecond = (value) => `${number(value, 2)}/s`;

function tick(at, span) {
  if (span <= 900) return clock(at);
  if (span <= 100000) return clock(at, false);
  const day = new Date(at * 1000);
  return day.toLocaleDateString("en-GB", { weekday: "short", day: "numeric" }) + (day.getHours() ? ` ${clock(at, false)}` : "");
}
