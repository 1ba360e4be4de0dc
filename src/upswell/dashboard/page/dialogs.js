// Questions to whoever looks: the token, and whether a deletion is meant.

import { get, hasToken, setToken } from "./api.js";
import { h, toast } from "./dom.js";

function ask(title, text, fields, act, dangerous) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title, onclose: () => { dialog.remove(); resolve(dialog.returnValue === "yes"); } });
    const form = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); dialog.close("yes"); } },
      h("h2", {}, title), h("p", { class: "quiet" }, text), ...fields,
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"), h("button", { type: "submit", class: dangerous ? "danger" : "primary" }, act)));
    dialog.append(form);
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const confirm = (title, text, act) => ask(title, text, [], act, true);

/** Ask for the token until it is right, or nobody wants any more; return whether it is there. */
export async function unlock(why = "To drain, retry and purge, give the token that `upswell dashboard` printed.") {
  const input = h("input", { type: "password", autocomplete: "off", required: true, "aria-label": "Token" });
  if (!(await ask("Unlock", why, [input], "Unlock", false))) return hasToken();
  setToken(input.value.trim());
  try {
    const told = await get("session");
    if (told.may_write) { toast("Unlocked in this tab."); return true; }
  } catch { /* told below */ }
  setToken("");
  toast("This is not the token.", true);
  return false;
}
