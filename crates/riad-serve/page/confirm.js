// A question with two answers, for what cannot be undone.
import { setText } from "./dom.js";

/** Resolves to whether the person said yes. */
export function confirmed(question, words, yes) {
  const dialog = document.getElementById("confirm");
  setText(dialog.querySelector("h2"), question);
  setText(dialog.querySelector("p"), words);
  setText(dialog.querySelector("[value=yes]"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}
