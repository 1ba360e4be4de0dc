// All applications: who needs a look first. The list is searched and sorted by the server, a page at a time.

import { Stream, get } from "./api.js";
import { h, keyed, say, set, svg } from "./dom.js";
import { age, counted, money, number, percent, seconds } from "./format.js";
import { Notices } from "./panels.js";

const SORTS = [["trouble", "Trouble first"], ["queued", "Longest queue"], ["workers", "Most workers"], ["name", "Name"]];
const WORDS = { well: "held", missed: "missed", alarm: "alarm", failing: "attempts fail", old: "no decision lately" };
const PAGE = 200, SPARKS_EVERY = 15000;

export class Overview {
  constructor({ search, sort, offset, changed, open, state, told }) {
    this.search = search; this.sort = sort || "trouble"; this.offset = offset; this.changed = changed; this.state = state; this.onTold = told; this.open = open;
    this.title = h("h1", {}, "Applications");
    this.sentence = h("p", { class: "sentence" });
    this.notices = new Notices();
    this.find = h("input", { type: "search", placeholder: "Search applications", "aria-label": "Search applications", value: search, oninput: () => this.later() });
    this.order = h("select", { "aria-label": "Order", onchange: () => { this.sort = this.order.value; this.ask(); } }, ...SORTS.map(([value, name]) => h("option", { value, selected: value === this.sort }, name)));
    this.body = h("tbody");
    this.before = h("button", { type: "button", onclick: () => { this.offset = Math.max(0, this.offset - PAGE); this.ask(); } }, "Before");
    this.after = h("button", { type: "button", onclick: () => { this.offset += PAGE; this.ask(); } }, "Next 200");
    this.shown = h("span", { class: "quiet small" });
    this.none = h("p", { class: "quiet waiting" }, "No application yet. A monitor that runs with this state folder writes the first in a few seconds.");
    this.table = h("table", { class: "list" }, h("caption", { class: "sr" }, "Applications"), h("thead", {}, h("tr", {}, ...["Application", "Objective", "p95", "p95 and objective, half an hour", "Arriving", "Queue", "Workers", "Cost an hour"].map((name) => h("th", { scope: "col", class: ["Arriving", "Queue", "Workers", "Cost an hour", "p95"].includes(name) ? "num" : "" }, name)))), this.body);
    this.element = h("div", { class: "page" }, h("div", { class: "verdict" }, this.title, this.sentence), this.notices.element,
      h("section", { class: "card", "aria-label": "List of applications" }, h("header", { class: "tools" }, h("div", { class: "find" }, this.find), this.order, h("span", { class: "spring" }), this.shown, this.before, this.after), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of applications" }, this.table), this.none));
    this.listen();
  }

  later() { clearTimeout(this.timer); this.timer = setTimeout(() => { this.search = this.find.value.trim(); this.offset = 0; this.ask(); }, 200); }
  ask() { this.changed({ q: this.search || null, sort: this.sort === "trouble" ? null : this.sort, offset: this.offset || null }); this.listen(); }

  listen() {
    this.stream?.close();
    this.sparks = {}; this.sparksAt = -SPARKS_EVERY;
    this.stream = new Stream({ search: this.search, sort: this.sort, offset: String(this.offset) }, { tick: (told) => this.tick(told), state: this.state });
  }

  tick(told) {
    this.onTold?.(told);
    if (performance.now() - this.sparksAt > SPARKS_EVERY) this.loadSparks();
    this.notices.update(told);
    if (!told.apps) return;
    const well = told.found - told.in_alarm - told.missing;
    say(this.title, told.in_alarm || told.missing ? `${counted(told.in_alarm + told.missing, "application")} of ${number(told.found)} need${told.in_alarm + told.missing === 1 ? "s" : ""} a look` : told.found ? "Every objective is held" : "Applications");
    say(this.sentence, told.found ? `${number(well)} well, ${number(told.missing)} missing the objective, ${number(told.in_alarm)} in alarm; ${counted(told.workers, "worker")}, ${counted(told.queued, "upload")} waiting.` : "");
    this.none.hidden = told.found > 0; this.table.hidden = !told.found;
    say(this.shown, told.found > PAGE ? `${number(told.offset + 1)} to ${number(Math.min(told.found, told.offset + PAGE))} of ${number(told.found)}` : "");
    this.before.hidden = this.offset === 0; this.after.hidden = told.offset + PAGE >= told.found;
    keyed(this.body, told.apps, (one) => one.app, (one) => this.row(one), (row, one) => this.fill(row, one, told.now));
  }

  async loadSparks() {
    this.sparksAt = performance.now();
    try { this.sparks = await get("sparks", { search: this.search, sort: this.sort, offset: this.offset }); } catch { return; }
    for (const row of this.body.children) row.children[3].replaceChildren(spark(this.sparks[row.dataset.key] ?? [], row.slo));
  }

  row(one) {
    const link = h("a", { href: `?app=${encodeURIComponent(one.app)}`, onclick: (event) => { if (event.metaKey || event.ctrlKey) return; event.preventDefault(); this.open(one.app); } }, one.app);
    const cell = (name, extra = "num") => h("td", { "data-name": name, class: extra });
    return h("tr", {}, h("td", { class: "name" }, link), h("td", {}, h("span", { class: "badge" })), cell("p95"), h("td", { class: "draw" }), cell("arriving"), cell("queue"), cell("workers"), cell("cost"));
  }

  fill(row, one, now) {
    const [, badge, p95, draw, arriving, queue, workers, cost] = row.children, kind = one.old ? "old" : one.trouble;
    set(badge.firstElementChild, { class: `badge ${kind}` });
    say(badge.firstElementChild, one.old ? `${WORDS.old}, ${age(now - one.at)}` : one.attainment === null ? `${WORDS[kind]}` : `${WORDS[kind]} ${percent(one.attainment)}`);
    badge.title = one.sentence;
    say(p95, `${seconds(one.response?.p95)} of ${seconds(one.slo_seconds)}`);
    say(arriving, `${number(one.arrival_rate, 2)}/s`); say(queue, number(one.ready));
    const { ready, starting, standby, draining } = one.workers, all = ready + starting + standby + draining;
    say(workers, `${number(ready)} of ${number(one.desired)}`);
    say(cost, money(all, { price: one.price, currency: one.currency }));
    row.slo = one.slo_seconds;
    if (!draw.firstElementChild) draw.replaceChildren(spark(this.sparks[one.app] ?? [], one.slo_seconds));
  }

  repaint() {}
  destroy() { clearTimeout(this.timer); this.stream.close(); }
}

function spark(points, slo) {
  const drawn = svg("svg", { viewBox: "0 0 140 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  const most = Math.max(slo * 1.4, ...points.map((point) => (point[1] ?? 0) / 1000));
  const y = (value) => 29 - value / most * 28, end = points.at(-1)?.[0] ?? 0;
  let line = "", pen = "M";
  for (const [at, p95] of points) {
    if (p95 === null) { pen = "M"; continue; }
    line += `${pen}${(140 - (end - at) / 1800 * 140).toFixed(1)} ${y(p95 / 1000).toFixed(1)}`;
    pen = "L";
  }
  drawn.append(svg("line", { x1: 0, x2: 140, y1: y(slo), y2: y(slo) }), svg("path", { d: line }));
  return drawn;
}
