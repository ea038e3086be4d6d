// The unusual ones among the good pictures, before anything is learned from them.
import * as api from "./api.js";
import { el, setText } from "./dom.js";
import { coverAll } from "./region.js";
import { attempt } from "./toast.js";
import { base, count } from "./words.js";

/** A picture that should be looked at, with a box to leave it out. */
export function suspectTile(line, { id, name, reason }, changed) {
  const box = el("input", { type: "checkbox", value: String(id), onchange: changed });
  return el("li", { class: "pick suspect" }, el("span", { class: "framed" }, el("img", { src: `/v1/lines/${encodeURIComponent(line)}/pictures/${id}/thumbnail`, alt: "", loading: "lazy", decoding: "async" })),
    el("label", { class: "tag" }, box, el("span", {}, el("span", { class: "unseen" }, "Leave out "), el("span", { class: "file", title: name }, base(name)))), el("p", { class: "hint" }, reason));
}

/** Takes the pictures out whose boxes are checked; the line then, or null if none was taken out. */
export async function leaveOut(store, line, list) {
  const boxes = [...list.querySelectorAll("input:checked")];
  for (const box of boxes) {
    const draft = await attempt(() => api.removePicture(line, Number(box.value)));
    if (!draft) return false;
    box.closest("li").remove();
    store.setDraft(draft);
  }
  return true;
}

export class CheckStep {
  constructor({ store, name, go }) {
    Object.assign(this, { store, name, go });
    this.words = el("p", { class: "selected", role: "status" });
    this.list = el("ul", { class: "picks", "aria-label": "Unusual pictures" });
    this.next = el("button", { type: "button", class: "primary", onclick: () => this.leave() }, "Go on");
    this.node = el("section", { class: "card", "aria-labelledby": "check-title" },
      el("h3", { id: "check-title", tabindex: "-1" }, "Look at the unusual ones"),
      el("p", { class: "hint" }, "The model takes for good whatever it learns from. Leave out what is not good, or is no picture of this product."),
      this.words, this.list, el("div", { class: "buttons" }, this.next));
  }

  async open() {
    this.list.replaceChildren();
    setText(this.words, "Looking …");
    this.next.disabled = true;
    const asked = (this.asked = Symbol());
    const found = await attempt(() => api.suspects(this.name));
    if (asked !== this.asked) return;
    this.next.disabled = false;
    if (!found) {
      setText(this.words, "The pictures could not be looked through.");
      return;
    }
    const { suspects, looked_at } = found;
    setText(this.words, suspects.length ? `${suspects.length} of ${looked_at} should be looked at` : `Nothing is unusual about the ${count(looked_at, "picture")}.`);
    this.list.replaceChildren(...suspects.map((one) => suspectTile(this.name, one, () => this.paint())));
    this.paint();
  }

  paint() {
    const marked = this.list.querySelectorAll("input:checked").length;
    coverAll(this.list, this.store.drafts.get(this.name)?.region);
    setText(this.next, marked ? `Leave out ${marked} and go on` : "Go on");
  }

  async leave() {
    this.next.disabled = true;
    const done = await leaveOut(this.store, this.name, this.list);
    this.next.disabled = false;
    if (done) this.go(this.store.drafts.get(this.name).pictures < this.store.drafts.get(this.name).needed ? "pictures" : "region");
  }
}
