// What an operator can do from the console: one act on one thing, with the token of the installation. The service checks
// the token and journals who, when and why; this only asks.

import { act } from "./api.js";
import { h } from "./dom.js";

const WORDS = {
  release: "Release", hold: "Hold", retry: "Retry", reprocess: "Reprocess", reject: "Reject", accept: "Accept", withdraw: "Withdraw",
};

let dialog = null;

/** Ask for name, reason and token, do the act, and call `done` when the service has done it. */
function ask(name, target, title, done) {
  dialog?.remove();
  // The token is kept for as long as the tab is open, and nowhere else.
  const token = h("input", { id: "act-token", type: "password", autocomplete: "off", value: sessionStorage.getItem("token") ?? "" });
  const who = h("input", { id: "act-who", required: true, maxlength: "200", value: localStorage.getItem("who") ?? "" });
  const needsReason = ["reject", "withdraw"].includes(name);
  const why = h("input", { id: "act-why", maxlength: "900", required: needsReason });
  const answer = h("p", { id: "act-answer", role: "alert" });
  const form = h("form", { method: "dialog" },
    h("h2", {}, `${WORDS[name]} ${title}`),
    h("label", { for: "act-who" }, "Who"), who,
    h("label", { for: "act-why" }, needsReason ? "Why" : "Why (if there is something to say)"), why,
    h("label", { for: "act-token" }, "Token, from the file token in the work folder"), token,
    answer,
    h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, WORDS[name]),
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.textContent = "";
    try {
      const outcome = await act({ act: name, target, who: who.value.trim(), why: why.value.trim() }, token.value.trim());
      sessionStorage.setItem("token", token.value.trim());
      localStorage.setItem("who", who.value.trim());
      dialog.close();
      done(outcome.changes.join("; "));
    } catch (error) {
      if (error.status === 401 || error.status === 403) sessionStorage.removeItem("token");
      answer.textContent = [error.message, error.hint].filter(Boolean).join(" – ");
    }
  });
  dialog = h("dialog", { "aria-label": `${WORDS[name]} ${title}` }, form);
  document.body.append(dialog);
  dialog.showModal();
}

/** A button for an act. */
export function actButton(name, target, title, done) {
  return h("button", { type: "button", "data-act": name, "data-target": target, "aria-label": `${WORDS[name]} ${title}`,
    onclick: () => ask(name, target, title, done) }, WORDS[name]);
}

/** The acts that the remedies of a story name, as buttons. */
export function actsOf(story, done) {
  const offered = story.remedies.map((remedy) => /^`?soxsd (\w+) (\w+:\d+)/.exec(remedy)).filter((found) => found && found[1] in WORDS);
  return offered.map(([, name, target]) => actButton(name, target, target, done));
}
