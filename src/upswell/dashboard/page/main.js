// The page: what the address says is shown, and what is chosen is written into the address.

import { get, hasToken, setToken, takeTokenFromAddress } from "./api.js";
import { AppView } from "./appview.js";
import { CaptionBar } from "./caption.js";
import { Compare } from "./compare.js";
import { unlock } from "./dialogs.js";
import { h, icon, set } from "./dom.js";
import { Overview } from "./overview.js";
import { RANGES, View } from "./view.js";

takeTokenFromAddress();
const main = document.getElementById("main"), bar = document.getElementById("bar");
let shown = null, view = null, session = { may_write: false, policies: [] }, caption = null, directed = false, locked = false;

const pulse = h("span", { class: "pulse", role: "status" }, h("i"), h("span", {}, "connecting"));
const crumb = h("span", { class: "crumb", hidden: true }, h("span", {}));
const ranges = h("div", { class: "segments", role: "group", "aria-label": "Period" }, ...RANGES.map(([name, span]) => h("button", { type: "button", "data-span": span, onclick: () => { view.span = span; view.resume(); shown.moved(); mark(); } }, name)));
const hold = h("button", { type: "button", class: "icon hold", onclick: () => { if (view.live) view.pause(); else view.resume(); shown.moved(); mark(); } });
const lock = h("button", { type: "button", class: "icon", onclick: async () => { if (hasToken()) setToken(""); else await unlock(); await know(); if (locked && hasToken()) route(); } });
const theme = h("button", { type: "button", class: "icon", "aria-label": "Light or dark", title: "Light or dark", onclick: turn }, icon("sun"));
const brand = h("a", { class: "brand", href: "?", onclick: (event) => { if (event.metaKey || event.ctrlKey) return; event.preventDefault(); go({}); } }, h("img", { src: "page/mark.svg", alt: "" }), "Upswell");
bar.append(brand, crumb, h("span", { class: "spring" }), pulse, ranges, hold, theme, lock);

function connection(state) {
  if (state === "locked" && !locked) { locked = true; unlock("This page is for those who have the token that `upswell dashboard` printed.").then((ok) => { if (ok) know().then(route); }); }
  const live = state === "live";
  const words = !live ? "reconnecting" : view && !view.live ? "paused" : "live";
  pulse.className = `pulse ${live ? (words === "live" ? "live" : "") : "lost"}`;
  if (pulse.lastElementChild.textContent !== words) pulse.lastElementChild.textContent = words;
  mark();
}

function mark() {
  const charts = view !== null;
  ranges.hidden = hold.hidden = !charts;
  if (!charts) return;
  for (const button of ranges.children) set(button, { "aria-pressed": String(view.live && Number(button.dataset.span) === view.span) });
  const words = view.live ? "Pause" : "Live";
  if (hold.title !== words) { hold.replaceChildren(icon(view.live ? "pause" : "play")); set(hold, { title: words, "aria-label": view.live ? "Pause" : "Back to live" }); }
}

async function know() {
  try { session = await get("session"); } catch { session = { may_write: false, policies: [] }; }
  if (hasToken() && !session.may_write) setToken("");
  const may = hasToken();
  lock.replaceChildren(icon(may ? "open" : "lock"));
  set(lock, { "aria-label": may ? "Lock: forget the token" : "Unlock: give the token", title: may ? "Unlocked; click to forget the token" : "Looking only; click to give the token", "aria-pressed": String(may) });
}

function turn() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("upswell-theme", document.documentElement.dataset.theme); } catch { /* this tab only */ }
  shown?.repaint();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.repaint());

/** Write into the address what was chosen; null takes it out. */
function changed(fields, push = false) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(fields)) { if (value === null || value === undefined) query.delete(name); else query.set(name, value); }
  const text = query.toString();
  history[push ? "pushState" : "replaceState"](null, "", text ? `?${text}` : location.pathname);
  mark();
  if (caption?.captions.length) caption.show();
}

function go(fields) {
  history.pushState(null, "", `?${new URLSearchParams(fields)}`);
  route();
  main.focus();
}

/** A lecture opens on its stage, once. */
function told(payload) {
  const lecture = payload.lecture;
  if (!lecture) return;
  const apps = Object.keys(lecture.apps), query = new URLSearchParams(location.search);
  if (!directed && !query.has("app") && !query.has("compare") && apps.length) {
    directed = true;
    const fields = apps.length > 1 ? { compare: apps.join(",") } : { app: apps[0] };
    setTimeout(() => { history.replaceState(null, "", `?${new URLSearchParams({ ...fields, span: 120 })}`); titles = lecture.apps; route(); });
    return;
  }
  titles = lecture.apps;
  caption?.update(lecture);
}
let titles = {};

function route() {
  locked = false;
  shown?.destroy();
  caption?.element.remove();
  const query = new URLSearchParams(location.search), name = query.get("app"), compare = query.get("compare");
  view = name || compare ? View.of(query) : null;
  caption = null;
  const common = { changed, state: connection, told };
  if (name) {
    caption = new CaptionBar(view, () => shown.moved());
    shown = new AppView(name, view, { ...common, policies: session.policies, chosen: Number(query.get("decision")) || null });
  } else if (compare) {
    caption = new CaptionBar(view, () => shown.moved());
    shown = new Compare(Object.fromEntries(compare.split(",").slice(0, 4).map((app) => [app, titles[app] ?? app])), view, common);
  } else {
    shown = new Overview({ ...common, search: query.get("q") ?? "", sort: query.get("sort") ?? "trouble", offset: Number(query.get("offset")) || 0, open: (app) => go({ app }) });
  }
  crumb.hidden = !name && !compare;
  crumb.firstElementChild.textContent = name ?? (compare ? "side by side" : "");
  document.title = name ? `${name} – Upswell` : "Upswell";
  if (caption) shown.element.append(caption.element);
  main.replaceChildren(shown.element);
  mark();
}

addEventListener("popstate", route);
await know();
route();
