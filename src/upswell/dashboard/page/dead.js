// Dead uploads by reason: try them again, or delete them.

import { app as path, get, hasToken, post } from "./api.js";
import { h, keyed, say, toast } from "./dom.js";
import { counted, moment, number } from "./format.js";
import { confirm } from "./dialogs.js";

export class Dead {
  constructor(app) {
    this.app = app;
    this.known = null;
    this.remark = "";
    this.list = h("ul", { class: "dead" });
    this.count = h("span", { class: "quiet small" });
    this.retryAll = h("button", { type: "button", onclick: () => this.act("retry", null) }, "Retry all");
    this.none = h("p", { class: "quiet small" }, "None. Every upload was stored, or is still tried.");
    this.element = h("section", { class: "card", "aria-label": "Dead letters" }, h("header", {}, h("h2", {}, "Dead letters"), this.count, h("span", { class: "spring" }), this.retryAll), this.none, this.list);
    this.update({ depth: null });
  }

  update({ depth }) {
    const dead = depth?.dead ?? 0;
    this.none.hidden = dead > 0;
    this.retryAll.hidden = dead === 0;
    this.retryAll.disabled = !hasToken();
    for (const button of this.list.querySelectorAll("button")) button.disabled = !hasToken();
    if (dead !== this.known) {
      this.known = dead;
      if (dead) this.load();
      else { this.list.replaceChildren(); this.remark = ""; }
    }
    this.tell();
  }

  tell() { say(this.count, this.known ? `${counted(this.known, "upload")}${this.remark}` : ""); }

  async load() {
    let told;
    try { told = await get(path(this.app, "/dead")); } catch (error) {
      this.remark = `: ${error.message}`;
      this.tell();
      setTimeout(() => { this.known = null; }, 3000);  // then the next update looks again
      return;
    }
    keyed(this.list, told.groups, (group) => group.reason, (group) => this.row(group), (row, group) => {
      say(row.querySelector(".count"), number(group.count));
      say(row.querySelector(".quiet"), group.newest_at ? `the newest ${moment(group.newest_at)}; such as ${group.examples[0]?.id}` : `such as ${group.examples[0]?.id}`);
      for (const button of row.querySelectorAll("button")) button.disabled = !hasToken();
    });
    this.remark = told.looked_at >= told.most ? `, the oldest ${number(told.most)} by reason` : "";
    this.tell();
  }

  row(group) {
    const act = (what, label, extra = "") => h("button", { type: "button", class: extra, title: hasToken() ? "" : "Needs the token: unlock first", "aria-label": `${label}: ${group.reason}`, onclick: () => this.act(what, group.reason, group.count) }, label);
    return h("li", {}, h("span", { class: "count" }), h("div", {}, h("p", {}, group.reason), h("p", { class: "quiet small" })), h("div", { class: "row" }, act("retry", "Retry"), act("purge", "Purge", "danger")));
  }

  async act(what, reason, count = 0) {
    if (what === "purge" && !(await confirm("Delete these uploads for good?", `${counted(count, "dead upload")}: ${reason}`, "Delete"))) return;
    try {
      toast((await post(path(this.app, `/dead/${what}`), reason === null ? { all: true } : { reason })).told);
      this.known = null;
    } catch (error) { toast(error.message, true); }
  }
}
