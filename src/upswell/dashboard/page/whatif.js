// What if: the recorded traffic under another objective, policy, limit, price, standby or start-up delay.

import { app as path, get, post } from "./api.js";
import { color, h, say, svg } from "./dom.js";
import { clock, counted, money, number, percent, seconds, wanted } from "./format.js";

const POLL = 400;

export class WhatIf {
  constructor(app, view, policies, overlay) {
    this.app = app; this.view = view; this.overlay = overlay; this.asked = null; this.known = null;
    const field = (name, label, more = {}) => { const input = h("input", { name, inputmode: "decimal", autocomplete: "off", placeholder: "as recorded", ...more }); return h("label", {}, label, input); };
    this.policy = h("select", { name: "policy" }, h("option", { value: "" }, "as recorded"), ...policies.filter((name) => name !== "rules").map((name) => h("option", { value: name }, name)));
    this.go = h("button", { class: "primary", type: "submit" }, "Replay");
    this.stop = h("button", { type: "button", hidden: true, onclick: () => this.cancel() }, "Cancel");
    this.clear = h("button", { type: "button", hidden: true, onclick: () => this.forget() }, "Clear");
    this.form = h("form", { onsubmit: (event) => { event.preventDefault(); this.ask(); } },
      field("share", "Share in time, %"), field("within", "Within, seconds"), h("label", {}, "Policy", this.policy), field("max_workers", "Most workers"), field("min_workers", "Least workers"),
      field("standby_workers", "Standby workers"), field("start_delay", "Start-up, seconds"), field("price", "Price of a worker-hour"),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "curve" }), "Cost against target"), h("div", { class: "go" }, this.go, this.stop, this.clear));
    this.progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Replay" });
    this.told = h("div", { class: "answer", "aria-live": "polite" });
    this.period = h("span", { class: "quiet small" });
    this.element = h("section", { class: "card whatif", "aria-label": "What if" }, h("header", {}, h("h2", {}, "What if"), this.period), this.form, this.progress, this.told);
  }

  update({ state }) {
    this.state = state;
    if (!this.known && state) {
      this.known = {};
      get(path(this.app, "/settings")).then((known) => {
        this.known = known;
        const place = (name, value) => { if (value !== null && value !== undefined) this.form.elements[name].placeholder = String(value); };
        place("max_workers", known.max_workers); place("min_workers", known.min_workers); place("standby_workers", known.standby_workers); place("price", known.price_per_worker_hour || "none");
        this.policy.options[0].textContent = `as recorded (${known.policy ?? "slo"})`;
      }, () => {});
      this.form.elements.share.placeholder = wanted(state.slo_share).slice(0, -1); this.form.elements.within.placeholder = number(state.slo_seconds);
    }
    const [begin, end] = this.view.period();
    say(this.period, `the traffic of ${clock(begin)} to ${clock(end)}, replayed beside the loop`);
  }

  question() {
    const value = (name) => { const text = this.form.elements[name].value.trim().replace(",", "."); return text === "" ? null : Number(text); };
    const whole = (name) => { const found = value(name); return found === null ? null : Math.round(found); };
    const share = value("share"), within = value("within"), [begin, end] = this.view.period();
    const slo = share === null && within === null ? null : `${share ?? this.state.slo_share * 100}% < ${within ?? this.state.slo_seconds}s`;
    return { app: this.app, begin, end, slo, policy: this.policy.value || null, max_workers: whole("max_workers"), min_workers: whole("min_workers"), standby_workers: whole("standby_workers"), start_delay: value("start_delay"), price: value("price"), curve: this.form.elements.curve.checked };
  }

  async ask() {
    const wrong = [...this.form.elements].find((one) => one.tagName === "INPUT" && one.type !== "checkbox" && one.value.trim() !== "" && !Number.isFinite(Number(one.value.trim().replace(",", "."))));
    if (wrong) { this.fail(`${wrong.parentElement.firstChild.textContent} must be a number.`); wrong.focus(); return; }
    this.forget();
    this.busy(true);
    try {
      let told = await post("what-if", this.question());
      this.asked = told.id;
      while (told.state === "running") {
        this.progress.value = told.progress;
        await new Promise((resolve) => setTimeout(resolve, POLL));
        if (this.asked !== told.id) return;
        told = await get(`what-if/${encodeURIComponent(told.id)}`);
      }
      if (this.asked !== told.id) return;
      if (told.state === "done") this.show(told.answer); else this.fail(told.state === "cancelled" ? "Cancelled." : told.problem);
    } catch (error) { this.fail(error.message); }
    this.busy(false);
  }

  busy(is) { this.go.disabled = is; this.stop.hidden = this.progress.hidden = !is; if (is) this.progress.value = 0; }
  fail(words) { this.told.replaceChildren(h("p", { class: "quiet" }, words)); }
  forget() { this.told.replaceChildren(); this.clear.hidden = true; this.overlay(null); }
  async cancel() { if (this.asked) await post(`what-if/${encodeURIComponent(this.asked)}/cancel`).catch(() => {}); }

  show(answer) {
    const { recorded, replayed } = answer;
    const cost = { price: answer.price, currency: this.state?.currency ?? "" };
    const change = recorded.cost ? replayed.cost / recorded.cost - 1 : null;
    const more = change === null ? "" : Math.abs(change) < 0.005 ? ", at the same cost" : `, at ${percent(Math.abs(change), 0)} ${change > 0 ? "more" : "less"} cost`;
    const row = (name, past, would) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, past), h("td", {}, would));
    this.clear.hidden = false;
    this.overlay(answer.timeline);
    this.told.replaceChildren(
      h("p", { class: "big" }, `${answer.policy} at ${answer.slo}: ${counted(replayed.late, "late upload")} instead of ${number(recorded.late)}${more}.`),
      h("div", { class: "halves" },
        h("div", {}, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, counted(answer.uploads, "upload")), h("th", { scope: "col" }, `as it was${answer.recorded_policy ? ` (${answer.recorded_policy})` : ""}`), h("th", { scope: "col" }, `what if (${answer.policy})`))),
          h("tbody", {}, row("in time", percent(recorded.attainment, 2), percent(replayed.attainment, 2)), row("late", number(recorded.late), number(replayed.late)), row("cost", recorded.cost === null ? "–" : money(recorded.cost / 3600, cost), money(replayed.cost / 3600, cost)), row("most workers", number(recorded.peak), number(replayed.peak)), row("p95", "–", seconds(replayed.p95)))),
          ...answer.notes.map((note) => h("p", { class: "quiet small" }, note))),
        answer.curve.length ? this.curve(answer, cost) : h("div", {}, h("h3", {}, "Where they differ most"), answer.differences.length ? h("ul", { class: "rejected" }, ...answer.differences.map((one) => h("li", {}, `${clock(one.at)}: ${one.recorded} → ${one.replayed}. ${one.why}`))) : h("p", { class: "quiet small" }, "Both made the same decisions."))));
  }

  /** What each target would have cost; a target is nines, so the axis is of what may be late. */
  curve(answer, cost) {
    const points = answer.curve, width = 420, height = 172, left = 58, right = 22, bottom = 36;
    const most = Math.max(...points.map((one) => one.cost)) * 1.12 || 1;
    const x = (index) => left + index / (points.length - 1) * (width - left - right), y = (value) => height - bottom - value / most * (height - bottom - 10);
    const line = points.map((one, index) => `${index ? "L" : "M"}${x(index)} ${y(one.cost)}`).join("");
    const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Cost against target" });
    const text = (content, at, tint = "quiet", anchor = "middle", size = 11) => { const one = svg("text", { x: at[0], y: at[1], "text-anchor": anchor, "font-size": size }); one.style.fill = color(tint); one.textContent = content; return one; };
    for (const part of [0, 0.5, 1]) { const rule = svg("line", { x1: left, x2: width - right, y1: y(part * most), y2: y(part * most) }); rule.style.stroke = color("grid"); drawn.append(rule, text(money(part * most / 3600, cost), [left - 6, y(part * most) + 4], "quiet", "end")); }
    const path = svg("path", { d: line, fill: "none", "stroke-width": 2.5 }); path.style.stroke = color("whatif"); drawn.append(path);
    points.forEach((one, index) => {
      const kept = one.attainment >= one.share, dot = svg("circle", { cx: x(index), cy: y(one.cost), r: 4.5, "stroke-width": 2 });
      dot.style.stroke = color("whatif"); dot.style.fill = kept ? color("whatif") : color("card");
      drawn.append(dot, text(`${number(one.share * 100)}%`, [x(index), height - bottom + 18], Math.abs(one.share - answer.share) < 1e-9 ? "ink" : "quiet"));
    });
    drawn.append(text("target (filled: it would have been held)", [(left + width - right) / 2, height - 4]));
    const table = h("details", {}, h("summary", {}, "As a table"), h("table", {}, h("thead", {}, h("tr", {}, ...["target", "attained", "cost"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...points.map((one) => h("tr", {}, h("td", {}, `${number(one.share * 100)}%`), h("td", {}, percent(one.attainment, 2)), h("td", {}, money(one.cost / 3600, cost)))))));
    const [here, next] = [points.findIndex((one) => one.share >= answer.share - 1e-9), points.findIndex((one) => one.share > answer.share + 1e-9)];
    const words = here >= 0 && next >= 0 && points[here].cost ? `${number(points[next].share * 100)}% instead of ${number(points[here].share * 100)}% costs ${percent(Math.max(0, points[next].cost / points[here].cost - 1), 0)} more.` : "";
    return h("div", { class: "curve" }, h("h3", {}, "Cost against target"), words ? h("p", { class: "small" }, words) : null, drawn, table);
  }
}
