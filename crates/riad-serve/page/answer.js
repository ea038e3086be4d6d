// The question under a picture: was the model right? Two buttons, the chosen one pressed, and Undo.
import { el, setAttribute, setText, sign } from "./dom.js";
import { isAsked, labelWord } from "./words.js";

const QUESTIONS = {
  reject: { ask: "Is this product really bad?", good: "False alarm", defective: "Really bad" },
  audit: { ask: "Passed, and drawn by chance to be checked: is it good?", good: "Is good", defective: "Was missed" },
  passed: { ask: "Passed as good. Is that wrong?", good: "Is good", defective: "Was missed" },
  strange: { ask: "Was this a product after all?", good: "A good one", defective: "A bad one" },
};

function question(row) {
  if (row.verdict === "defective") return "reject";
  if (row.verdict === "not_this_product") return "strange";
  return row.audit ? "audit" : "passed";
}

export class Answer {
  /** `give(label)` labels the shown picture; `undo()` takes the last answer back. */
  constructor(give, undo) {
    this.ask = el("p", { class: "ask" });
    const button = (label, kind, key) => {
      const words = el("span", {});
      const node = el("button", { type: "button", class: `give ${label}`, "aria-keyshortcuts": key, onclick: () => give(label) },
        sign(kind), words, el("kbd", { "aria-hidden": "true" }, key));
      return { node, words };
    };
    this.defective = button("defective", "bad", "B");
    this.good = button("good", "ok", "F");
    this.buttons = el("div", { class: "gives", role: "group", "aria-label": "Your answer" }, this.defective.node, this.good.node);
    this.said = el("span", { role: "status" });
    this.undo = el("button", { type: "button", class: "small", onclick: undo }, "Undo", el("kbd", { "aria-hidden": "true" }, "Z"));
    this.saidRow = el("p", { class: "said" }, this.said, this.undo);
    this.node = el("section", { class: "answer", "aria-label": "Your answer" }, this.ask, this.buttons, this.saidRow);
  }

  /** `done`: the last answer as {row} (which may be of another picture), or null. */
  set(row, done) {
    const asked = row && row.verdict !== "error";
    this.ask.hidden = this.buttons.hidden = !asked;
    if (asked) {
      const words = QUESTIONS[question(row)];
      setText(this.ask, words.ask);
      this.node.classList.toggle("quiet", !isAsked(row));
      for (const label of ["good", "defective"]) {
        setText(this[label].words, words[label]);
        setAttribute(this[label].node, "aria-pressed", String(row.label === label));
      }
    }
    const known = done ? done.row : row?.label ? row : null;
    setText(this.said, known ? (known.label ? `Picture ${known.id}: ${labelWord(known)}.` : `Picture ${known.id}: answer taken back.`) : "");
    this.undo.hidden = !known?.label;
    this.saidRow.hidden = !known;
  }
}
