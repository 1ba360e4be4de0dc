// Tiles, notices, workers: what a tick brings, put where it belongs.

import { app as path, hasToken, post } from "./api.js";
import { h, keyed, say, set, svg, toast } from "./dom.js";
import { age, bytes, clock, counted, each, money, number, percent, seconds } from "./format.js";

const WORDS = { well: "objective held", missed: "objective missed", alarm: "alarm", failing: "attempts fail" };
const KINDS = { alarm: "Alarm", warning: "Look", note: "Note" };

export class Verdict {
  constructor() {
    this.badge = h("span", { class: "badge" });
    this.text = h("span", {});
    this.sentence = h("p", { class: "sentence" });
    this.element = h("div", { class: "verdict" }, h("h1", {}, this.text, this.badge), this.sentence);
  }

  update(told) {
    const state = told.state;
    if (!state) { say(this.text, "Nothing is decided yet"); this.badge.hidden = true; say(this.sentence, told.notices[0]?.words ?? ""); return; }
    this.badge.hidden = false;
    set(this.badge, { class: `badge ${state.trouble}` });
    say(this.badge, WORDS[state.trouble]);
    const share = state.attainment === null ? "No upload ended lately" : `${percent(state.attainment)} within ${seconds(state.slo_seconds)}`;
    say(this.text, share);
    say(this.sentence, state.sentence);
  }
}

export class Notices {
  constructor() { this.element = h("div", { class: "notices", role: "region", "aria-label": "Alarms and bottlenecks" }); }

  update(told) {
    const all = [...(told.problem ? [{ kind: "alarm", words: told.problem }] : []), ...(told.notices ?? []), ...(told.parts ?? []).map((words) => ({ kind: "warning", words }))];
    this.element.hidden = !all.length;
    keyed(this.element, all, (one, place) => `${one.kind}${one.words.replace(/\d+/g, "")}${place ?? ""}`, () => h("div", { class: "notice" }, h("b"), h("span")), (row, one) => {
      set(row, { class: `notice ${one.kind}` });
      say(row.firstElementChild, KINDS[one.kind]);
      say(row.lastElementChild, one.words);
    });
  }
}

function tile(title, extra = "") {
  const big = h("p", { class: "big" }), below = h("div", { class: "below" });
  return { element: h("div", { class: `card tile ${extra}`, role: "group", "aria-label": title }, h("h2", {}, title), big, below), big, below };
}

function meter(share) {
  const shown = Math.max(0, Math.min(1, share));
  return svg("svg", { class: `meter${share < 0.25 ? " low" : ""}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: shown * 100, height: 6 }));
}

export class Tiles {
  constructor() {
    this.response = tile("Response time, p95", "wide");
    this.arrivals = tile("Arrivals");
    this.queue = tile("Queue");
    this.workers = tile("Workers");
    this.cost = tile("Cost", "wide");
    this.element = h("div", { class: "tiles" }, ...[this.response, this.arrivals, this.queue, this.workers, this.cost].map((one) => one.element));
  }

  update({ state, depth, cost, budget }) {
    const put = (place, big, unit, ...below) => {
      place.big.replaceChildren(big, unit ? h("small", {}, ` ${unit}`) : "");
      place.below.replaceChildren(...below.filter(Boolean).map((one) => (typeof one === "string" ? h("p", {}, one) : one)));
    };
    const left = budget?.left;
    put(this.response, seconds(state?.response?.p95), state ? `of ${seconds(state.slo_seconds)}` : "",
      left === null || left === undefined ? null : meter(left),
      !budget ? "No error budget yet" : left === null ? null : left < 0 ? `Error budget of 7 days overdrawn: ${number(budget.missed)} missed, ${number(Math.floor(budget.allowed))} allowed` : `${percent(left, 0)} of the 7-day error budget left`,
      state?.response ? `p50 ${seconds(state.response.p50)}, p99 ${seconds(state.response.p99)}` : null);
    put(this.arrivals, number(state?.arrival_rate, 2), "/s", `${number(state?.throughput, 2)}/s stored`, budget ? `${counted(budget.ended, "upload")} in 7 days` : null);
    const ready = depth?.ready ?? state?.ready, flying = depth?.in_flight ?? state?.in_flight;
    put(this.queue, number(ready), "waiting", `${number(flying)} in flight`, state?.oldest_age ? `the oldest for ${age(state.oldest_age)}` : null, depth?.dead ? counted(depth.dead, "dead upload") : null);
    const workers = state?.workers;
    put(this.workers, number(workers?.ready), `of ${number(state?.desired)} desired`, workers ? `${workers.busy} busy` : null,
      workers ? [[workers.starting, "starting"], [workers.standby, "standby"], [workers.draining, "draining"]].filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(", ") || "none starting or draining" : null);
    const priced = { price: cost?.price, currency: state?.currency };
    put(this.cost, cost ? (cost.price ? money(cost.now_per_hour, priced) : number(cost.now_per_hour)) : "–", cost?.price ? "an hour" : "worker-hours an hour",
      cost ? `${money(cost.today, priced)} today, ${money(cost.month, priced)} a month at this rate` : null, cost?.each ? `${each(cost.each, priced)}, of those in time` : null);
  }
}

export class Workers {
  constructor(app) {
    this.app = app;
    this.body = h("tbody");
    this.count = h("span", { class: "quiet small" });
    this.table = h("table", { class: "workers" }, h("caption", { class: "sr" }, "Workers"), h("thead", {}, h("tr", {}, ...["Worker", "State", "Slots", "Rate", "Since", "In hand"].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "sr" }, "Action")))), this.body);
    this.none = h("p", { class: "quiet small" }, "No worker sends a status.");
    this.element = h("section", { class: "card", "aria-label": "Workers" }, h("header", {}, h("h2", {}, "Workers"), this.count), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of workers" }, this.table), this.none);
  }

  update({ list }) {
    if (!list) return;
    this.none.hidden = list.length > 0;
    this.table.hidden = !list.length;
    say(this.count, list.length ? `${counted(list.length, "worker")}, ${number(list.reduce((sum, one) => sum + one.busy, 0))} of ${counted(list.reduce((sum, one) => sum + one.slots, 0), "slot")} busy` : "");
    keyed(this.body, list.slice(0, 200), (one) => one.id, (one) => this.row(one), (row, one) => this.fill(row, one));
  }

  row(one) {
    const cells = Array.from({ length: 6 }, () => h("td"));
    cells[0].classList.add("mono");
    const button = h("button", { type: "button", "aria-label": `Drain ${one.id}`, onclick: () => this.drain(one.id, button) }, "Drain");
    return h("tr", {}, ...cells, h("td", { class: "num" }, button));
  }

  fill(row, one) {
    const [name, state, slots, rate, since, hand, act] = row.children;
    name.title = one.id;
    say(name, one.id);
    if (state.textContent !== one.state) state.replaceChildren(h("span", { class: `state ${one.state}` }, h("i"), one.state));
    say(slots, `${one.busy} of ${one.slots}`);
    say(rate, one.rate === null ? "–" : `${bytes(one.rate)}/s`);
    say(since, one.since ? clock(one.since) : "–");
    const uploads = one.uploads ?? [];
    hand.className = "inhand-cell";
    if (!hand.firstElementChild) hand.append(h("div", { class: "inhand" }));
    keyed(hand.firstElementChild, uploads.slice(0, 4), (upload, place) => `${upload.name}${place ?? ""}`, () => h("div", {}, h("span", { class: "mono" }), h("em")), (line, upload) => {
      say(line.firstElementChild, upload.name);
      line.firstElementChild.title = upload.name;
      say(line.lastElementChild, `${bytes(upload.bytes)}${upload.size ? ` of ${bytes(upload.size)}` : ""}, ${age(upload.seconds)}${upload.attempt > 1 ? `, attempt ${upload.attempt}` : ""}`);
    });
    const button = act.firstElementChild;
    button.disabled = one.state === "draining" || !hasToken();
    button.title = hasToken() ? "Let it finish what it has in hand, and leave" : "Needs the token: unlock first";
  }

  async drain(id, button) {
    button.disabled = true;
    try { toast((await post(path(this.app, "/drain"), { worker: id })).told); } catch (error) { toast(error.message, true); }
  }
}
