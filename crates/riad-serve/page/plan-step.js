// How to train, chosen by the time that it takes on this machine.
import * as api from "./api.js";
import { el, setText } from "./dom.js";
import { attempt } from "./toast.js";
import { lasting, sized } from "./words.js";

const ABOUT = { tiny: "small network, for most products", small: "larger network, finds finer defects", paper: "the largest, for a GPU" };

export class PlanStep {
  constructor({ store, name }) {
    Object.assign(this, { store, name });
    this.words = el("p", { class: "hint", role: "status" });
    this.failed = el("p", { class: "failed", hidden: true });
    this.choices = el("fieldset", { class: "plans" }, el("legend", {}, "Network, and how pictures are brought to it"));
    this.button = el("button", { type: "submit", class: "primary", disabled: true }, "Train");
    this.node = el("section", { class: "card", "aria-labelledby": "plan-title" },
      el("h3", { id: "plan-title", tabindex: "-1" }, "How long may it train?"), this.failed, this.words,
      el("form", { onsubmit: (event) => this.submit(event) }, this.choices, el("div", { class: "buttons" }, this.button)));
  }

  async open() {
    setText(this.words, "Measuring how fast this machine is. That takes some ten seconds …");
    this.button.disabled = true;
    this.choices.hidden = true;
    const asked = (this.asked = Symbol());
    let found = null;
    try {
      found = await api.plans(this.name);
    } catch (error) {
      if (asked === this.asked) setText(this.words, error.message);
      return;
    }
    if (asked !== this.asked) return;
    const [learned, watched, held] = found.pictures;
    setText(this.words, `Learns from ${learned} pictures. ${watched} are held out to watch it, and ${held} for the limit. ` +
      `The lines that are there go on meanwhile.${found.plans.some((plan) => plan.tile) ? " The pictures are large. Cut into tiles, fine defects in them are not lost, but each picture takes longer to judge." : ""}`);
    this.choices.replaceChildren(this.choices.firstElementChild, ...found.plans.map((plan) => this.choice(plan)));
    this.choices.hidden = false;
    this.button.disabled = false;
  }

  choice({ preset, size, tile, seconds, ends_early, estimated, advised }) {
    const box = el("input", { type: "radio", name: "plan", value: JSON.stringify({ preset, size, ...(tile && { tile }) }), checked: advised });
    const small = `${preset}, ${sized({ size, tile })}: ${ABOUT[preset] ?? ""}${ends_early ? "; ends sooner if nothing improves any more" : ""}`;
    return el("label", { class: "way" }, box, el("span", {}, el("b", {}, `${estimated ? "roughly " : ""}${lasting(seconds)}`, advised ? el("span", { class: "in-use" }, "advised") : ""), el("small", {}, small)));
  }

  async submit(event) {
    event.preventDefault();
    const chosen = new FormData(event.target).get("plan");
    if (!chosen) return;
    this.button.disabled = true;
    const draft = await attempt(() => api.train(this.name, JSON.parse(chosen)));
    this.button.disabled = false;
    if (draft) this.store.setDraft(draft);
  }

  paint({ state, note }) {
    this.failed.hidden = state !== "failed";
    setText(this.failed, state === "failed" ? `The training failed: ${note}` : "");
  }
}
