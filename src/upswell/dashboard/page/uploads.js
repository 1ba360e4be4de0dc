// The uploads of one minute as dots, by when they ended and how long they took: to find the slow ones.

import { app as path, get } from "./api.js";
import { FONT } from "./chart.js";
import { color, h, keyed, say, toast } from "./dom.js";
import { clock, counted, number, seconds } from "./format.js";

const HEIGHT = 190, PAD = { left: 48, right: 12, top: 10, bottom: 22 }, NEAR = 14;
const TABLE = ["ended", "took", "waiting", "service", "outcome", "request"];

export class Uploads {
  constructor(app, view) {
    this.app = app;
    this.view = view;
    this.begin = null;
    this.told = null;
    this.dots = [];
    this.canvas = h("canvas", { role: "img", "aria-label": "Uploads of one minute", onpointermove: (event) => this.point(event), onpointerleave: () => { this.hint.hidden = true; }, onclick: (event) => { this.point(event); if (this.near) copy(this.near[5]); } });
    this.hint = h("div", { class: "hint", hidden: true });
    this.sentence = h("p", { class: "quiet small" });
    this.at = h("span", { class: "small quiet" });
    this.body = h("tbody");
    this.details = h("details", { ontoggle: () => this.fillTable() }, h("summary", {}, "The slowest, as a table"), h("div", { class: "scroll" }, h("table", { class: "slowest" }, h("thead", {}, h("tr", {}, ...TABLE.map((name) => h("th", { scope: "col" }, name)))), this.body)));
    this.element = h("section", { class: "card", "aria-label": "Uploads of one minute" },
      h("header", {}, h("h2", {}, "One minute of uploads"), this.at, h("span", { class: "spring" }),
        h("button", { class: "icon", type: "button", "aria-label": "Minute before", onclick: () => this.move(-60) }, "‹"),
        h("button", { class: "icon", type: "button", "aria-label": "Minute after", onclick: () => this.move(60) }, "›"),
        h("button", { type: "button", onclick: () => this.show(null) }, "Now")),
      h("div", { class: "dots" }, this.canvas, this.hint), this.sentence, this.details);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.element);
  }

  move(by) { this.show((this.begin ?? this.view.period()[1] - 60) + by); }
  show(begin) { this.begin = begin; this.asked = 0; this.load(); }

  /** At each tick: the newest minute moves on, one that was chosen stays. */
  update({ state }) {
    this.slo = state ? { seconds: state.slo_seconds, share: state.slo_share } : null;
    if (this.begin === null && performance.now() - (this.asked ?? -1e9) > 3000) this.load();
  }

  async load() {
    this.asked = performance.now();
    const { begin } = this, end = begin === null ? this.view.period()[1] : begin + 60;
    let told;
    try { told = await get(path(this.app, "/uploads"), { begin: end - 60, end }); } catch (error) { if (begin === this.begin) say(this.sentence, error.message); return; }
    if (begin !== this.begin) return;  // another minute was chosen meanwhile: a late answer must not take its place
    this.told = told;
    this.draw();
  }

  draw() {
    const told = this.told, width = this.element.clientWidth - 38, ratio = devicePixelRatio;
    if (!told || width < 80) return;
    const { canvas } = this, context = canvas.getContext("2d");
    canvas.width = width * ratio; canvas.height = HEIGHT * ratio;
    canvas.style.width = `${width}px`; canvas.style.height = `${HEIGHT}px`;
    context.scale(ratio, ratio);
    const most = Math.max((this.slo?.seconds ?? 0) * 1.15, ...told.uploads.map((one) => one[1]), 0.1) * 1.05;
    const x = (at) => PAD.left + (at - told.begin) / (told.end - told.begin) * (width - PAD.left - PAD.right);
    const y = (took) => HEIGHT - PAD.bottom - Math.sqrt(took / most) * (HEIGHT - PAD.top - PAD.bottom);
    context.font = FONT;
    context.lineWidth = 1;
    for (const part of [0, 0.04, 0.25, 0.6, 1]) {
      context.strokeStyle = color("grid"); context.beginPath(); context.moveTo(PAD.left, y(part * most)); context.lineTo(width - PAD.right, y(part * most)); context.stroke();
      context.fillStyle = color("quiet"); context.textAlign = "right"; context.fillText(seconds(Number((part * most).toPrecision(2))), PAD.left - 6, y(part * most) + 4);
    }
    context.textAlign = "center";
    for (const part of width < 480 ? [0, 30, 60] : [0, 15, 30, 45, 60]) context.fillText(clock(told.begin + part), Math.min(Math.max(x(told.begin + part), PAD.left + 22), width - 34), HEIGHT - 5);
    const tints = { stored: color("p95"), late: color("slo"), dead: color("bad"), failed: color("starting") };
    let late = 0;
    this.dots = told.uploads.map((one) => [x(one[0]), y(one[1]), one]);
    for (const [at, took, , , outcome] of told.uploads) {
      const kind = outcome === "stored" && this.slo && took > this.slo.seconds ? "late" : outcome;
      late += kind === "late";
      context.fillStyle = context.strokeStyle = tints[kind]; context.globalAlpha = kind === "stored" ? 0.6 : 0.95;
      context.beginPath();
      if (kind === "dead" || kind === "failed") { const [a, b] = [x(at), y(took)]; context.moveTo(a - 3.5, b - 3.5); context.lineTo(a + 3.5, b + 3.5); context.moveTo(a + 3.5, b - 3.5); context.lineTo(a - 3.5, b + 3.5); context.lineWidth = 1.8; context.stroke(); }
      else { context.arc(x(at), y(took), kind === "late" ? 4 : 3, 0, 7); context.fill(); }
    }
    context.globalAlpha = 1;
    if (this.slo) { context.strokeStyle = color("slo"); context.setLineDash([6, 4]); context.lineWidth = 1.5; context.beginPath(); context.moveTo(PAD.left, y(this.slo.seconds)); context.lineTo(width - PAD.right, y(this.slo.seconds)); context.stroke(); }
    say(this.at, `${clock(told.begin)} to ${clock(told.end)}`);
    const stored = told.uploads.filter((one) => one[4] === "stored").length, others = told.uploads.length - stored;
    const slowest = told.uploads[0];
    const text = told.uploads.length ? `${counted(stored, "upload")} stored, ${number(late)} late${others ? `, ${counted(others, "attempt")} failed (×)` : ""}; the slowest took ${seconds(slowest[1])}${slowest[2] === null ? "" : `, of which it waited ${seconds(slowest[2])}`}.` : "No upload ended in this minute.";
    say(this.sentence, text);
    canvas.setAttribute("aria-label", `Uploads by response time. ${text}`);
    this.fillTable();
  }

  /** The slowest by name; a row stays while it is shown, so that what one selects or is about to press does not go. */
  fillTable() {
    if (!this.details.open || !this.told) return;
    keyed(this.body, this.told.uploads.slice(0, 20), (one) => one.join(" "), (one) => {
      const [at, took, waiting, service, outcome, id] = one;
      const name = id ? h("button", { type: "button", class: "id mono", "aria-label": `Copy the id ${id}`, title: "Copy the id", onclick: () => copy(id) }, id) : h("span", { class: "quiet" }, "told no id");
      return h("tr", {}, ...[clock(at), seconds(took), seconds(waiting), seconds(service), outcome].map((cell) => h("td", {}, cell)), h("td", {}, name));
    }, () => {});
  }

  /** Tell of the dot under the pointer; the same is in the table, for keyboards. */
  point({ offsetX, offsetY }) {
    let least = NEAR;
    this.near = null;
    for (const [x, y, one] of this.dots) { const far = Math.hypot(x - offsetX, y - offsetY); if (far < least) { least = far; this.near = one; } }
    this.hint.hidden = !this.near;
    this.canvas.style.cursor = this.near?.[5] ? "pointer" : "";
    if (!this.near) return;
    const [at, took, waiting, , outcome, id] = this.near;
    this.hint.replaceChildren(h("b", {}, `${seconds(took)}${waiting === null ? "" : `, of which it waited ${seconds(waiting)}`}`), h("span", {}, `${outcome} ${clock(at)}`), id ? h("span", { class: "mono" }, id) : h("span", {}, "told no id"), id ? h("span", { class: "quiet" }, "click to copy the id") : "");
    const right = offsetX > this.canvas.clientWidth / 2;
    this.hint.style.left = right ? "auto" : `${offsetX + 14}px`;
    this.hint.style.right = right ? `${this.canvas.parentElement.clientWidth - offsetX + 14}px` : "auto";
    this.hint.style.top = `${Math.max(0, Math.min(offsetY - 20, HEIGHT - 90))}px`;
  }

  destroy() { this.resized.disconnect(); }
}

/** Put an id where one can paste it from; `upswell find` takes it. Browsers allow it to safe origins alone. */
async function copy(id) {
  if (!id) return;
  try { await navigator.clipboard.writeText(id); toast(`Copied ${id}`); } catch { toast(`This browser does not let the page copy: select ${id}`, true); }
}
