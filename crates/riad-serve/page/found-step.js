// What a new model finds, before it is put on the line.
import * as api from "./api.js";
import { leaveOut, suspectTile } from "./check-step.js";
import { el, setText } from "./dom.js";
import { LossChart } from "./loss-chart.js";
import { coverAll } from "./region.js";
import { attempt } from "./toast.js";
import { number } from "./words.js";

export class FoundStep {
  constructor({ store, name, go, used }) {
    Object.assign(this, { store, name, go, used });
    this.sentence = el("p", { class: "trial" });
    this.note = el("p", { class: "hint" });
    this.table = el("div", { class: "found-table", tabindex: "0", role: "region", "aria-label": "Made-up defects that were found" });
    this.promise = el("p", {});
    this.list = el("ul", { class: "picks", "aria-label": "Pictures to look at" });
    this.leave = el("button", { type: "button", onclick: () => this.trainWithout() }, "Leave these out and train again");
    this.suspects = el("section", { class: "found-suspects", hidden: true }, el("h4", {}, "Good pictures that look odd to the model"),
      el("p", { class: "hint" }, "If one of them is not good, leave it out and train again."), this.list, this.leave);
    this.chart = new LossChart();
    this.use = el("button", { type: "button", class: "primary", onclick: () => this.putOnLine() }, "Put it on the line");
    this.node = el("section", { class: "card", "aria-labelledby": "found-title" },
      el("h3", { id: "found-title", tabindex: "-1" }, "What it finds"), this.sentence, this.table, this.note,
      el("h4", {}, "The limit"), this.promise, this.suspects, el("h4", {}, "Losses"), this.chart.node,
      el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => go("plan") }, "Train otherwise"), this.use));
    this.shown = null;
  }

  paint({ found, training, region }) {
    this.chart.set(training?.losses ?? []);
    const marked = this.list.querySelectorAll("input:checked").length;
    this.leave.disabled = !marked;
    const text = JSON.stringify(found);
    if (!found || text === this.shown) return;
    this.shown = text;
    setText(this.sentence, `${found.sentence}.`);
    setText(this.note, found.note);
    setText(this.promise, `A score above ${number(found.threshold)} is called a defect, for a false-positive rate of ${found.rate}. Calibrated with ${found.promise}.`);
    this.table.replaceChildren(tableOf(found));
    this.suspects.hidden = !found.suspects.length;
    this.list.replaceChildren(...found.suspects.map((one) => suspectTile(this.name, one, () => this.paint(this.store.drafts.get(this.name)))));
    this.leave.disabled = true;
    coverAll(this.list, region);
  }

  async trainWithout() {
    if (await leaveOut(this.store, this.name, this.list)) this.go("plan");
  }

  async putOnLine() {
    this.use.disabled = true;
    const line = await attempt(() => api.putOnLine(this.name));
    this.use.disabled = false;
    if (line) await this.used();
  }
}

/** Kinds down, sizes across; in each field how many were found of how many. */
function tableOf({ kinds, lengths }) {
  const field = (count) => {
    if (!count) return el("td", { class: "nothing" }, "–");
    const [found, of] = count;
    return el("td", { "data-share": found >= 0.9 * of ? "most" : found >= 0.5 * of ? "half" : "few" }, `${found} of ${of}`);
  };
  return el("table", {}, el("caption", {}, "Made-up defects found, by kind and length in pixels"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Kind"), ...lengths.map((length) => el("th", { scope: "col" }, `${length} px`)))),
    el("tbody", {}, ...kinds.map(({ name, found }) => el("tr", {}, el("th", { scope: "row" }, name), ...found.map(field)))));
}
