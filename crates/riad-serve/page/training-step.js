// The training under way: how far it is, its losses, and a way to stop it.
import * as api from "./api.js";
import { el, setText } from "./dom.js";
import { LossChart } from "./loss-chart.js";
import { attempt } from "./toast.js";
import { lasting, percent, sized } from "./words.js";

export class TrainingStep {
  constructor({ store, name }) {
    Object.assign(this, { store, name });
    this.doing = el("p", { class: "selected", role: "status" });
    this.progress = el("progress", { max: "1", value: "0", "aria-label": "Progress" });
    this.left = el("p", { class: "hint" });
    this.note = el("p", { class: "warning", hidden: true });
    this.chart = new LossChart();
    this.stop = el("button", { type: "button", onclick: () => this.act(() => api.stopTraining(name)) }, "Stop");
    this.again = el("button", { type: "button", class: "primary", hidden: true, onclick: () => this.act(() => api.train(name, this.plan)) }, "Go on");
    this.node = el("section", { class: "card", "aria-labelledby": "training-title" },
      el("h3", { id: "training-title", tabindex: "-1" }, "Training"), this.note, this.doing, this.progress, this.left, this.chart.node,
      el("p", { class: "hint" }, "You may close this page: the service goes on."), el("div", { class: "buttons" }, this.stop, this.again));
  }

  async act(work) {
    this.stop.disabled = this.again.disabled = true;
    const draft = await attempt(work);
    this.stop.disabled = this.again.disabled = false;
    if (draft) this.store.setDraft(draft);
  }

  paint({ state, note, plan, training }) {
    this.plan = plan;
    const isRunning = state === "training";
    this.stop.hidden = !isRunning;
    this.again.hidden = state !== "stopped";
    this.note.hidden = isRunning || !note;
    setText(this.note, note ? `${note.charAt(0).toUpperCase()}${note.slice(1)}.` : "");
    this.progress.hidden = !isRunning;
    const epochs = training?.epochs ? ` of ${training.epochs}` : "";
    const done = training?.epoch ? `epoch ${training.epoch}${epochs} done` : "";
    setText(this.doing, isRunning ? `${cap(training?.doing ?? "beginning")}: ${percent(training?.progress ?? 0)}` : `Not under way${done ? `: ${done}` : ""}`);
    this.progress.value = training?.progress ?? 0;
    const left = training?.seconds_left;
    const size = plan ? `${plan.preset}, ${sized(plan)}` : "";
    const words = [size, isRunning && done, isRunning && left !== null && left !== undefined && `about ${lasting(left)} left`];
    setText(this.left, words.filter(Boolean).join(" · "));
    this.chart.set(training?.losses ?? []);
  }
}

const cap = (words) => words.charAt(0).toUpperCase() + words.slice(1);
