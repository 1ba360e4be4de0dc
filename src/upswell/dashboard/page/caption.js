// The lecture's caption: what happens now, and pause and step through what has happened.

import { h, icon, say, set } from "./dom.js";
import { clock } from "./format.js";

export class CaptionBar {
  constructor(view, moved) {
    this.view = view; this.moved = moved; this.captions = [];
    this.title = h("h2"); this.text = h("p");
    this.hold = h("button", { type: "button", onclick: () => this.toggle() });
    this.element = h("aside", { class: "caption", hidden: true, "aria-label": "Lecture" }, h("div", { class: "words", "aria-live": "polite" }, this.title, this.text),
      h("div", { class: "row" }, h("button", { type: "button", class: "icon", "aria-label": "Step back", onclick: () => this.step(-1) }, icon("back")), this.hold, h("button", { type: "button", class: "icon", "aria-label": "Step on", onclick: () => this.step(1) }, icon("next"))));
  }

  update(lecture) {
    this.element.hidden = !lecture?.captions.length;
    if (this.element.hidden) return;
    this.captions = lecture.captions;
    this.show();
  }

  show() {
    const [, end] = this.view.period(), place = this.captions.findLastIndex((one) => one.at <= end + 0.5), caption = this.captions[Math.max(0, place)];
    say(this.title, caption.title);
    say(this.text, `${clock(caption.at)}  ${caption.text}`);
    const words = this.view.live ? "Pause" : "Live";
    if (this.hold.textContent !== words) { this.hold.replaceChildren(words); set(this.hold, { "aria-label": this.view.live ? "Pause the lecture" : "Back to live" }); }
  }

  toggle() { if (this.view.live) this.view.pause(); else this.view.resume(); this.moved(); this.show(); }

  /** To the caption before or after: the loop goes on meanwhile, and the page stands where it is told. */
  step(by) {
    const [, end] = this.view.period();
    const next = by > 0 ? this.captions.find((one) => one.at > end + 0.5) : this.captions.findLast((one) => one.at < end - 0.5);
    if (!next) { if (by > 0) this.view.resume(); } else this.view.end = next.at;
    this.moved();
    this.show();
  }
}
