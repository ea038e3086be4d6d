// A line that is being made: pictures, a look at the unusual ones, a plan, the training, and what it finds.
import * as api from "./api.js";
import { confirmed } from "./confirm.js";
import { el, paced, setAttribute, setText } from "./dom.js";
import { FoundStep } from "./found-step.js";
import { CheckStep } from "./check-step.js";
import { PicturesStep } from "./pictures-step.js";
import { PlanStep } from "./plan-step.js";
import { RegionNote } from "./region-note.js";
import { RegionStep } from "./region-step.js";
import { attempt, toast } from "./toast.js";
import { TrainingStep } from "./training-step.js";

const STEPS = { pictures: "Pictures", check: "Check", region: "Region", plan: "Plan", training: "Training", found: "Result" };

/** Which steps a person may go to, and which one is shown first. */
const OPEN = {
  collecting: ["pictures", "check", "region", "plan"],
  training: ["training"],
  stopped: ["training", "plan", "region", "check", "pictures"],
  failed: ["plan", "training", "region", "check", "pictures"],
  trained: ["found", "plan", "region", "check", "pictures"],
  used: ["found"],
};

export class Maker {
  constructor(store, name, { reload }) {
    this.store = store;
    this.name = name;
    this.reload = reload;
    const go = (step) => this.go(step);
    const given = { store, name, go };
    this.steps = {
      pictures: new PicturesStep(given),
      check: new CheckStep(given),
      region: new RegionStep(given),
      plan: new PlanStep(given),
      training: new TrainingStep(given),
      found: new FoundStep({ ...given, used: () => this.used() }),
    };
    this.links = Object.entries(STEPS).map(([step, words]) => el("button", { type: "button", "data-step": step, onclick: () => this.go(step) }, words));
    this.place = el("div", { class: "step-place" });
    this.note = new RegionNote(name);
    this.deleting = el("button", { type: "button", class: "small", onclick: () => this.remove() }, "Delete");
    this.node = el("div", { class: "maker" },
      el("header", {}, el("h2", { class: "page-title" }, `New line: ${name}`), this.deleting),
      el("nav", { class: "steps", "aria-label": "Steps" }, el("ol", {}, ...this.links.map((link) => el("li", {}, link)))), this.note.node, this.place);
    this.render = paced(() => this.paint());
    this.stage = null;
    this.follow();
    // What the events said may be older than what happened since.
    attempt(async () => store.setDraft(await api.making(name)));
  }

  get draft() {
    return this.store.drafts.get(this.name);
  }

  get isEnough() {
    return this.draft.pictures >= this.draft.needed;
  }

  isOpen(step) {
    return OPEN[this.draft.state].includes(step) && (step === "pictures" || this.isEnough);
  }

  /** Goes where the line is, when that has changed. */
  follow() {
    if (!this.draft) return;
    const { state } = this.draft;
    if (state !== this.stage) {
      this.stage = state;
      const first = OPEN[state][0];
      if (!this.step || !this.isOpen(this.step) || state !== "collecting") this.show(first);
    } else if (!this.isOpen(this.step)) this.show(OPEN[state][0]);
    this.render();
  }

  async go(step) {
    // What was drawn counts from the next step on, whichever way a person goes there.
    if (!this.isOpen(step) || !(await this.steps.region.keep()) || !this.isOpen(step)) return;
    this.show(step);
    this.render();
    // For those who listen: the new step is read from its heading on.
    this.steps[step].node.querySelector("h3")?.focus();
  }

  show(step) {
    if (this.step === step) return;
    this.step = step;
    this.place.replaceChildren(this.steps[step].node);
    this.steps[step].open?.();
  }

  paint() {
    if (!this.draft) return;
    for (const link of this.links) {
      const { step } = link.dataset;
      link.disabled = !this.isOpen(step);
      setAttribute(link, "aria-current", step === this.step ? "step" : "false");
    }
    this.deleting.disabled = this.draft.state === "training";
    this.note.paint(this.draft, ["plan", "training", "found"].includes(this.step));
    this.steps[this.step].paint(this.draft);
  }

  change(topic, name) {
    if (name !== null && name !== this.name) return;
    if (topic === "making" || topic === "uploads" || topic === "lines") this.follow();
  }

  /** Files that were dropped on the page. */
  take(files) {
    if (!this.isOpen("pictures")) {
      toast("The pictures stay as they are while the model is trained.");
      return;
    }
    this.show("pictures");
    this.steps.pictures.take(files);
    this.render();
  }

  async remove() {
    const sure = await confirmed(`Delete ${this.name}?`, "Its pictures here and what was trained are deleted. The files that you dropped stay where they are.", "Delete");
    if (!sure || !(await attempt(() => api.deleteLine(this.name)))) return;
    location.hash = "#/";
    await attempt(() => this.reload());
  }

  async used() {
    location.hash = `#/line/${encodeURIComponent(this.name)}`;
    await attempt(() => this.reload());
    toast(`${this.name} judges pictures from now on.`);
  }

  tick() {
    if (this.step === "training") this.render();
  }

  themeChanged() {}

  key() {
    return false;
  }

  close() {
    if (this.draft) this.steps.region.keep();
  }
}
