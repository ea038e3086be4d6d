// A name for a line that is to be made of good pictures; on a service without a line the first thing to see.
import * as api from "./api.js";
import { el } from "./dom.js";
import { attempt } from "./toast.js";

const STEPS = ["Drop a folder of pictures of good products.", "Look at the unusual ones.", "Choose how long to train on this machine.",
  "See what the model finds, and put it on the line."];

export class NewLine {
  constructor(store, { reload }) {
    this.store = store;
    this.reload = reload;
    this.input = el("input", { id: "new-name", name: "name", required: true, maxlength: "40", pattern: "[A-Za-z0-9_\\-]+", autocomplete: "off", spellcheck: "false",
      placeholder: "lid", "aria-describedby": "new-hint" });
    this.button = el("button", { type: "submit", class: "primary" }, "Begin");
    const first = !store.lines.size && !store.drafts.size;
    this.node = el("div", { class: "maker new-line" },
      el("section", { class: "card" }, el("h2", { class: "page-title" }, first ? "Make your first line" : "New line"),
        el("p", {}, "A line is a product and the model that looks at its pictures. The model learns from good pictures alone."),
        el("ol", { class: "way-there" }, ...STEPS.map((words) => el("li", {}, words))),
        el("form", { onsubmit: (event) => this.submit(event) },
          el("label", { for: "new-name" }, "What is it called?"), el("div", { class: "row" }, this.input, this.button),
          el("p", { class: "hint", id: "new-hint" }, "Letters, digits, - and _. It becomes part of addresses."))));
  }

  async submit(event) {
    event.preventDefault();
    const name = this.input.value.trim();
    this.button.disabled = true;
    const draft = await attempt(() => api.beginLine(name));
    this.button.disabled = false;
    if (!draft) return;
    await attempt(() => this.reload());
    location.hash = `#/line/${encodeURIComponent(name)}/make`;
  }

  change() {}

  tick() {}

  themeChanged() {}

  key() {
    return false;
  }

  close() {}
}
