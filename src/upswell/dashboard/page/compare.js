// Side by side: the same burst under several policies, each with its score.

import { Stream } from "./api.js";
import { Charts } from "./charts.js";
import { keys } from "./appview.js";
import { h, say } from "./dom.js";
import { number, percent } from "./format.js";
import { STATES } from "./series.js";

class Side {
  constructor(name, title, view, moved, state, told) {
    this.name = name; this.view = view; this.told = told;
    this.charts = new Charts(view, { zoom: (begin, end) => { view.show(begin, end); moved(); }, choose: (decision) => say(this.why, decision.sentence), key: (event) => keys(event, { view, moved }) }, true);
    this.score = Object.fromEntries(["in time", "late", "worker-seconds", "workers now"].map((key) => [key, h("dd", {}, "–")]));
    this.why = h("p", { class: "quiet small" });
    this.element = h("section", { class: "card", "aria-label": title }, h("header", {}, h("h2", {}, title)), h("dl", { class: "score" }, ...Object.entries(this.score).map(([key, value]) => h("div", {}, h("dt", {}, key), value))), this.charts.element, this.why);
    this.stream = new Stream({ app: name }, { tick: (payload) => this.tick(payload), state });
    this.load();
  }

  load() { return this.charts.load(this.name).catch(() => { /* the next tick tries again */ }); }

  tick(told) {
    this.view.tick(told.now);
    this.told?.(told);
    const state = told.state;
    if (state) {
      this.charts.slo = { seconds: state.slo_seconds, share: state.slo_share };
      if (this.view.live) say(this.why, state.sentence);
      say(this.score["workers now"], `${number(state.workers.ready)} of ${number(state.desired)}`);
    }
    const [begin, end] = this.view.period(), sums = this.charts.series.sums(begin, end), ended = sums.stored + sums.dead;
    say(this.score["in time"], ended ? percent(sums.in_time / ended) : "–");
    say(this.score.late, number(ended - sums.in_time));
    const columns = this.charts.series.columns;
    let spent = 0;
    (columns?.at ?? []).forEach((at, place) => { if (at >= begin && at <= end) spent += columns.seconds[place] * STATES.reduce((sum, name) => sum + columns[name][place], 0); });
    say(this.score["worker-seconds"], number(Math.round(spent)));
    if (this.view.live) this.charts.follow(told, this.name).catch(() => { /* as above */ });
  }

  destroy() { this.stream.close(); this.charts.destroy(); }
}

export class Compare {
  constructor(apps, view, { changed, state, told }) {
    this.view = view;
    this.changed = changed;
    this.sides = Object.entries(apps).map(([name, title], place) => new Side(name, title, view, () => this.moved(), state, place ? null : told));
    this.element = h("div", { class: "page" }, h("div", { class: "verdict" }, h("h1", {}, "The same burst, side by side"), h("p", { class: "sentence" }, `${Object.values(apps).join(" and ")}: the same uploads at the same instants, workers of their own.`)), h("div", { class: "halves" }, ...this.sides.map((side) => side.element)));
  }

  moved() { this.changed(this.view.query()); this.sides.forEach((side) => side.load()); }
  load() { this.sides.forEach((side) => side.load()); }
  repaint() { this.sides.forEach((side) => side.charts.repaint()); }
  destroy() { this.sides.forEach((side) => side.destroy()); }
}
