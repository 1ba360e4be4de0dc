// The decisions as buttons over the time axis. Those too near to each other share one.

import { h, keyed, say, set } from "./dom.js";
import { counted, moment } from "./format.js";

const NEAR = 30;

export class Lane {
  constructor(view, choose) {
    this.view = view;
    this.onChoose = choose;
    this.chosen = null;
    this.spots = h("div", { role: "group", "aria-label": "Decisions, on the time axis" });
    this.element = h("div", { class: "lane" }, h("span", { class: "title", "aria-hidden": "true" }, "decided"), this.spots);
  }

  choose(id) { this.chosen = id ?? null; this.draw(this.changes ?? [], this.plot); }

  draw(changes, plot) {
    this.changes = changes;
    this.plot = plot;
    if (!plot) return;
    const [begin, end] = this.view.period(), ratio = devicePixelRatio;
    const left = plot.bbox.left / ratio, width = plot.bbox.width / ratio;
    const groups = [];
    for (const change of changes) {
      if (change.at < begin || change.at > end) continue;
      const x = left + (change.at - begin) / (end - begin) * width;
      const before = groups.at(-1);
      if (before && x - before.x < NEAR) { before.all.push(change); before.newest = change; } else groups.push({ x, all: [change], newest: change });
    }
    keyed(this.spots, groups, (group) => group.all[0].id, () => {
      const spot = h("button", { type: "button", onclick: () => this.onChoose(spot.group.newest, spot.group.all) });
      return spot;
    }, (spot, group) => {
      spot.group = group;
      const { newest, all } = group;
      const up = newest.after > newest.before;
      const kind = newest.alarms.length ? "alarmed" : newest.held ? "held" : up ? "out" : "in";
      const chosen = all.some((one) => one.id === this.chosen);
      set(spot, { class: `spot ${all.length > 1 && kind !== "alarmed" ? "many" : kind}`, "aria-pressed": String(chosen), title: newest.headline,
        "aria-label": `${moment(newest.at)}: ${newest.headline}${all.length > 1 ? `, the newest of ${counted(all.length, "decision")}` : ""}` });
      say(spot, all.length > 1 ? `${all.length}×` : `${up ? "▲" : newest.after < newest.before ? "▼" : "•"} ${newest.after}`);
      spot.style.left = `${Math.min(Math.max(group.x, left + 16), left + width - 14)}px`;
    });
  }
}
