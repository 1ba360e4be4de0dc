// One decision: what it does, its steps with their numbers, what was rejected, what the rehearsal said.

import { app as path, get } from "./api.js";
import { h, icon } from "./dom.js";
import { moment, number, percent, seconds } from "./format.js";

export class DecisionPanel {
  constructor(app, step) {
    this.app = app;
    this.id = null;
    this.body = h("div", { class: "decision", "aria-live": "polite" }, h("p", { class: "quiet small" }, "Choose a decision on the time axis to see why it was made."));
    this.element = h("section", { class: "card", "aria-label": "Decision" },
      h("header", {}, h("h2", {}, "Why"), h("div", { class: "pager" },
        h("button", { class: "icon", type: "button", "aria-label": "Decision before", onclick: () => step(-1) }, icon("back")),
        h("button", { class: "icon", type: "button", "aria-label": "Decision after", onclick: () => step(1) }, icon("next")))), this.body);
  }

  async show(line) {
    if (this.id === line.id) return;
    this.id = line.id;
    let told;
    try { told = await get(path(this.app, `/decisions/${line.id}`)); } catch (error) { this.body.replaceChildren(h("p", { class: "quiet" }, error.message)); return; }
    if (this.id !== told.id) return;
    // Who steps from one to the next compares what each saw.
    const open = this.body.querySelector("details")?.open ?? false;
    this.body.replaceChildren(...decision(told));
    this.body.querySelector("details").open = open;
  }
}

function decision(told) {
  const signals = told.signals;
  return [
    h("div", {}, h("p", { class: "quiet small" }, moment(told.at)), h("p", { class: "headline" }, told.headline)),
    told.steps.length > 1 ? h("p", { class: "why" }, told.sentence) : null,
    h("h3", {}, "Steps"),
    h("ol", { class: "steps" }, ...told.steps.map((step) => h("li", {},
      h("p", { class: "who" }, step.who, h("span", {}, step.before === step.after ? `stays ${step.after}` : `${step.before} → ${step.after}`)),
      h("p", { class: "words" }, step.why), numbers(step.numbers)))),
    told.rehearsal ? h("div", {}, h("h3", {}, "The rehearsal said"), h("p", { class: "quote" }, told.rehearsal)) : null,
    told.rejected.length ? h("div", {}, h("h3", {}, "Rejected"), h("ul", { class: "rejected" }, ...told.rejected.map((option) => h("li", {}, option.why)))) : null,
    h("details", {}, h("summary", {}, "What it saw"), numbers([
      ["objective", signals.slo], ["attained", percent(signals.attainment)], ["arriving", `${number(signals.arrival_rate)}/s`], ["stored", `${number(signals.throughput)}/s`],
      ["waiting", number(signals.ready)], ["in flight", number(signals.in_flight)], ["oldest", seconds(signals.oldest_age)], ["start-up", seconds(signals.start_delay)],
      ["service time", seconds(signals.service_time?.mean)], ...(signals.stale.length ? [["stale", signals.stale.join(", ")]] : []),
    ])),
  ].filter(Boolean);
}

function numbers(pairs) {
  if (!pairs.length) return null;
  return h("dl", { class: "numbers" }, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
