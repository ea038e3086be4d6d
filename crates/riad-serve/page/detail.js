// One picture, large: what the model found, its numbers, and the person's answer.
import * as api from "./api.js";
import { Answer } from "./answer.js";
import { el, setSign, setText, sign } from "./dom.js";
import { Facts } from "./facts.js";
import { Order } from "./order.js";
import { Picture } from "./picture.js";
import { attempt } from "./toast.js";
import { dayAndTime, kindOf, labelWord, wordOf } from "./words.js";

const VIEWS = [["image", "Picture"], ["overlay", "Overlay"], ["heat-map", "Heat map"]];
const ZOOM = 2.5;

export class Detail {
  /** `closed()` is called when the person closes it; `moved(id)` when another picture is shown. */
  constructor(store, { closed, moved }) {
    this.store = store;
    this.moved = moved;
    this.row = null;
    this.done = null;
    this.busy = false;
    this.picture = new Picture();
    this.answer = new Answer((label) => this.give(label), () => this.undo());
    this.facts = new Facts((index) => this.picture.point(index));
    this.build();
    this.dialog.addEventListener("close", () => {
      this.row = this.done = null;
      this.picture.show(null);
      closed();
    });
    // On the document: where a button that had the focus was hidden, keys no longer reach the dialog.
    document.addEventListener("keydown", (event) => this.key(event));
    this.picture.frame.addEventListener("click", (event) => this.zoom(event));
  }

  build() {
    const button = (text, press, props) => el("button", { type: "button", onclick: press, ...props }, text);
    this.sign = sign("ok");
    this.title = el("h2", { id: "detail-title", tabindex: "-1", autofocus: true });
    this.about = el("p", { class: "about" });
    this.where = el("p", { class: "where" });
    this.newer = button("‹", () => this.step(-1), { class: "step", "aria-label": "Newer picture", title: "Newer (←)" });
    this.older = button("›", () => this.step(1), { class: "step", "aria-label": "Older picture", title: "Older (→)" });
    this.views = VIEWS.map(([view, text]) => button(text, () => this.view(view), { "data-view": view, "aria-pressed": "false" }));
    this.answered = el("p", { class: "answered", hidden: true }, sign("ok"), "All answered. Thank you.");
    this.body = el("div", { class: "detail-body" },
      el("div", { class: "detail-picture" },
        el("div", { class: "views", role: "group", "aria-label": "What is shown" }, ...this.views),
        this.picture.frame, this.newer, this.older),
      el("div", { class: "side" }, this.answered, this.answer.node, this.facts.node));
    this.dialog = el("dialog", { class: "detail", "aria-labelledby": "detail-title" },
      el("header", {}, this.sign, el("div", { class: "names", "aria-live": "polite" }, this.title, this.about), this.where,
        button("Close", () => this.dialog.close(), { class: "close" })),
      this.body);
    document.body.append(this.dialog);
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** `order`: an Order to walk along; the line's own flow if left out. */
  async open(line, id, order = new Order(this.store, line)) {
    this.line = line;
    this.order = order;
    this.done = null;
    const row = id === null ? null : await attempt(() => this.fetch(id));
    if (id !== null && !row) {
      if (this.isOpen) this.dialog.close();
      else this.dialog.dispatchEvent(new Event("close"));
      return;
    }
    if (!this.isOpen) this.dialog.showModal();
    this.show(row, "image");
  }

  /** The pictures that wait for an answer, one after the other. */
  async openQueue(line) {
    const order = await attempt(() => Order.unanswered(this.store, line));
    if (order) await this.open(line, order.ids[0] ?? null, order);
  }

  async fetch(id) {
    const known = this.store.lines.get(this.line)?.recent.find((row) => row.id === id);
    return known ?? api.inspection(this.line, id);
  }

  show(row, view = this.shownView) {
    this.row = row;
    const kind = row ? kindOf(row.verdict) : "ok";
    this.dialog.dataset.kind = kind;
    setSign(this.sign, kind);
    setText(this.title, row ? wordOf(row.verdict) : "Nothing to answer");
    const hand = row?.source === "page" ? "scored by hand, not part of the line" : "";
    setText(this.about, row ? [this.store.lines.size > 1 ? row.line : "", `Picture ${row.id}`, row.name, dayAndTime(row.received), hand, labelWord(row)].filter(Boolean).join(" · ") : this.line);
    this.body.classList.toggle("empty", !row);
    this.answered.hidden = Boolean(row) || !this.order.isQueue;
    this.answer.set(row, this.done);
    this.facts.set(row);
    this.view(view);
    this.buttons();
  }

  buttons() {
    setText(this.where, this.order.words(this.row?.id));
    this.newer.disabled = !this.row || !this.order.hasNewer(this.row.id);
    this.older.disabled = !this.row || !this.order.hasOlder(this.row.id);
  }

  view(view) {
    const kept = this.row?.verdict === "error" || !this.row ? "image" : view;
    this.shownView = view;
    for (const button of this.views) button.setAttribute("aria-pressed", String(button.dataset.view === kept));
    this.picture.show(this.row, kept);
    this.facts.node.classList.toggle("flat", kept !== "image");
  }

  /** 1: older, -1: newer. */
  async step(step) {
    if (!this.row || this.busy) return;
    await this.during(async () => {
      const id = await this.order.next(this.row.id, step);
      if (id !== null) await this.goTo(id);
    });
  }

  async goTo(id) {
    const row = await this.fetch(id);
    if (!this.isOpen) return;
    this.moved(id);
    this.show(row);
  }

  /** One thing after the other: a second press must not answer for a picture that nobody has seen yet. */
  async during(work) {
    if (this.busy) return;
    this.busy = true;
    this.dialog.setAttribute("aria-busy", "true");
    await attempt(work);
    this.busy = false;
    this.dialog.setAttribute("aria-busy", "false");
  }

  give(label) {
    const { row } = this;
    if (!row || row.verdict === "error") return;
    this.during(async () => {
      this.put({ before: row.label, row: await api.label(this.line, row.id, label) });
      if (!this.order.isQueue) return;
      const next = await this.order.answered(row.id);
      if (next !== null) await this.goTo(next);
      else if (this.isOpen) this.show(null);
    });
  }

  undo() {
    const done = this.done ?? (this.row?.label ? { row: this.row, before: null } : null);
    if (!done?.row.label) return;
    this.during(async () => {
      const row = await api.label(this.line, done.row.id, done.before);
      this.order.asksAgain(row);
      this.put({ before: done.row.label, row });
      if (this.row?.id !== row.id) await this.goTo(row.id);
      this.title.focus();
    });
  }

  put(done) {
    this.done = done;
    this.store.addLabel(done.row);
    if (this.row?.id === done.row.id) this.show(done.row);
  }

  /** Somebody else may have answered meanwhile. */
  change(topic, name, row) {
    if (this.isOpen && topic === "label" && name === this.line && row.id === this.row?.id && row.label !== this.row.label) this.show(row);
    if (this.isOpen && (topic === "inspection" || topic === "line")) this.buttons();
  }

  zoom(event) {
    const { frame } = this.picture;
    const box = frame.getBoundingClientRect();
    frame.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
    frame.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
    frame.style.setProperty("--zoom", frame.classList.toggle("zoomed") ? ZOOM : 1);
  }

  key(event) {
    if (!this.isOpen || document.querySelector("dialog[open]:not(.detail)")) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const act = { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), b: () => this.give("defective"),
      f: () => this.give("good"), z: () => this.undo() }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
