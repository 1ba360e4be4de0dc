// One application: verdict, tiles, charts over one time axis, and what one may do about it.

import { Stream } from "./api.js";
import { Charts } from "./charts.js";
import { Dead } from "./dead.js";
import { DecisionPanel } from "./decision.js";
import { h } from "./dom.js";
import { Notices, Tiles, Verdict, Workers } from "./panels.js";
import { Uploads } from "./uploads.js";
import { WhatIf } from "./whatif.js";

export class AppView {
  constructor(name, view, { policies, changed, state, chosen, told }) {
    this.name = name; this.view = view; this.changed = changed; this.told = told; this.wanted = chosen;
    const key = (event) => keys(event, this);
    this.charts = new Charts(view, { zoom: (begin, end) => { view.show(begin, end); this.moved(); }, choose: (decision) => this.choose(decision), key });
    this.panel = new DecisionPanel(name, (by) => this.step(by));
    this.uploads = new Uploads(name, view);
    this.parts = [new Verdict(), new Notices(), new Tiles(), new Workers(name), new Dead(name), this.uploads, new WhatIf(name, view, policies, (line) => this.charts.overlay(line))];
    const [verdict, notices, tiles, workers, dead, uploads, whatif] = this.parts.map((part) => part.element);
    this.element = h("div", { class: "page" }, verdict, notices, tiles,
      h("div", { class: "columns" }, h("section", { class: "card charts", "aria-label": "Charts" }, this.charts.element), h("div", { class: "side" }, this.panel.element, dead)),
      whatif, uploads, workers);
    this.stream = new Stream({ app: name }, { tick: (payload) => this.tick(payload), state });
    this.load();
  }

  /** The period is another: fetch it. */
  load() { return this.shows(this.charts.load(this.name)); }

  async shows(drawn) {
    try { await drawn; this.settle(); } catch (error) { if (error.name !== "AbortError") this.parts[1].update({ problem: error.message }); }
  }

  tick(told) {
    this.view.tick(told.now);
    this.told?.(told);
    if (told.state) this.charts.slo = { seconds: told.state.slo_seconds, share: told.state.slo_share };
    for (const part of this.parts) part.update(told);
    if (this.view.live) this.shows(this.charts.follow(told, this.name));
  }

  /** Show the decision that the address names, else the newest one while nobody has chosen. */
  settle() {
    const changes = this.charts.changes;
    if (!this.charts.series.columns) return;
    if (this.wanted) { const found = changes.find((one) => one.id === this.wanted); if (found) this.charts.choose(found); this.panel.show(found ?? { id: this.wanted }); this.picked = true; this.wanted = null; }
    else if (!this.picked && changes.length) { this.charts.choose(null); this.panel.show(changes.at(-1)); }
  }

  choose(decision) { this.picked = true; this.charts.choose(decision); this.panel.show(decision); this.changed({ decision: decision.id }); }

  step(by) {
    const changes = this.charts.changes, place = changes.findIndex((one) => one.id === this.panel.id);
    const next = changes[place < 0 ? changes.length - 1 : place + by];
    if (next) this.choose(next);
  }

  moved() { this.changed(this.view.query()); this.load(); }
  repaint() { this.charts.repaint(); this.uploads.draw(); }
  destroy() { this.stream.close(); this.charts.destroy(); this.uploads.destroy(); }
}

/** The keys of the time axis. */
export function keys(event, where) {
  const acts = { ArrowLeft: () => where.view.pan(-0.25), ArrowRight: () => where.view.pan(0.25), "+": () => where.view.zoom(0.5), "=": () => where.view.zoom(0.5), "-": () => where.view.zoom(2), " ": () => (where.view.live ? where.view.pause() : where.view.resume()), l: () => where.view.resume() };
  if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  acts[event.key]();
  where.moved();
}
