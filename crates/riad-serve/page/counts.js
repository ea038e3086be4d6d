// The counts of the shift.
import { el, setText, sign } from "./dom.js";
import { dayAndTime, percent } from "./words.js";

const ROWS = [
  ["good", "ok", "OK"],
  ["defective", "bad", "NOT OK"],
  ["not_this_product", "strange", "not this product"],
  ["error", "unread", "unreadable"],
];

export class Counts {
  constructor() {
    this.cells = ROWS.map(([verdict, kind, word]) => {
      const value = el("dd", {});
      const node = el("div", { class: "count", "data-kind": kind }, el("dt", {}, sign(kind), word), value);
      return { verdict, value, node };
    });
    this.list = el("dl", { class: "counts" }, ...this.cells.map((cell) => cell.node));
    this.since = el("p", { class: "since" }); // for the heading
    this.node = el("div", { class: "shift" }, this.list);
  }

  update(shift) {
    const judged = shift.good + shift.defective;
    for (const { verdict, value, node } of this.cells) {
      setText(value, shift[verdict].toLocaleString("en"));
      node.hidden = verdict !== "good" && verdict !== "defective" && shift[verdict] === 0;
    }
    const share = judged ? ` · ${percent(shift.defective / judged)} NOT OK` : "";
    setText(this.since, `since ${dayAndTime(shift.since)}${share}`);
  }
}
