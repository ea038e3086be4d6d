// The labelled pictures of a line, and what is made of them.
import * as api from "./api.js";
import { el, setText, sign } from "./dom.js";
import { Order } from "./order.js";
import { attempt, toast } from "./toast.js";
import { Versions } from "./versions.js";
import { count, dayAndTime, labelWord, percent } from "./words.js";

const PAGE = 100;
const MOST = 1000; // pictures on the page, the newest; older ones are selected by nobody one by one

const HOW = {
  recalibrate: "Sets the limit anew, in seconds. Take those drawn by chance: nobody picked them, so the promised rate holds.",
  train: "Goes on training from the present weights, in the background. Takes minutes to hours; the line goes on.",
};

export class Review {
  constructor(store, name, { openPicture }) {
    this.store = store;
    this.name = name;
    this.openPicture = openPicture;
    this.good = new Map(); // id -> {row, box}
    this.versions = new Versions(store, name);
    this.build();
    this.load();
  }

  build() {
    const pick = (text, keep) => el("button", { type: "button", class: "small", onclick: () => this.select(keep) }, text);
    const button = (text, props) => el("button", { type: "button", ...props }, text);
    this.goodGrid = el("ul", { class: "picks", "aria-label": "Good ones" });
    this.badGrid = el("ul", { class: "picks", "aria-label": "Bad ones" });
    this.goodEmpty = el("p", { class: "none" }, "None yet. Answer what the line asks: rejects, and pictures drawn by chance.");
    this.badEmpty = el("p", { class: "none" }, "None yet. Rejects that are really bad appear here.");
    this.more = button("Older ones", { class: "small", hidden: true, onclick: () => this.loadMore() });
    this.measured = el("div", { class: "measured" });
    this.selected = el("p", { class: "selected", role: "status" });
    this.warning = el("p", { class: "warning", hidden: true });
    this.make = el("button", { type: "submit", class: "primary" }, "Make a new version");
    const way = (how, title) => el("label", { class: "way" }, el("input", { type: "radio", name: "how", value: how, checked: how === "recalibrate", onchange: () => this.tell() }),
      el("span", {}, el("b", {}, title), el("small", {}, HOW[how])));
    this.form = el("form", { class: "card make", onsubmit: (event) => this.submit(event) },
      el("h2", {}, "New version"),
      el("fieldset", {}, el("legend", {}, "How"), way("recalibrate", "Recalibrate"), way("train", "Train on")),
      this.selected, this.warning, this.make,
      el("p", { class: "hint" }, "Nothing changes on the line until you press Use."));
    this.node = el("div", { class: "review" },
      el("div", { class: "review-pictures" },
        el("header", {}, el("h2", { class: "page-title" }, "Review"), el("a", { href: `#/line/${encodeURIComponent(this.name)}` }, "Back to the line")),
        this.measured,
        el("section", { class: "card", "aria-labelledby": "good-title" },
          el("header", {}, el("h2", { id: "good-title" }, "Good ones"),
            el("div", { class: "tools" }, pick("All", () => true), pick("Drawn by chance", (row) => row.audit),
              pick("False alarms", (row) => row.verdict === "defective"), pick("None", () => false))),
          this.goodGrid, this.goodEmpty),
        el("section", { class: "card", "aria-labelledby": "bad-title" },
          el("header", {}, el("h2", { id: "bad-title" }, "Bad ones"), el("p", { class: "hint" }, "A new version is checked against these.")),
          this.badGrid, this.badEmpty),
        this.more),
      el("div", { class: "review-side" }, this.form, this.versions.node));
    this.tell();
  }

  async load() {
    this.measure();
    this.next = { good: null, defective: null };
    const ask = (label) => api.inspections(this.name, { label, limit: PAGE });
    await attempt(async () => this.add(await ask("good"), await ask("defective")));
    this.select((row) => row.audit);
  }

  async loadMore() {
    const go = (next) => (next ? api.follow(next) : { inspections: [], next: null });
    await attempt(async () => this.add(await go(this.next.good), await go(this.next.defective)));
  }

  add(good, bad) {
    this.next = { good: good.next, defective: bad.next };
    // One that an event has brought already is as new.
    for (const row of [...good.inspections, ...bad.inspections]) if (!this.find(row.id)) this.put(row);
    this.settle();
  }

  find(id) {
    return this.node.querySelector(`.pick[data-id="${id}"]`);
  }

  /** Puts a labelled one in its place, the newest first. */
  put(row) {
    const isGood = row.label === "good";
    const grid = isGood ? this.goodGrid : this.badGrid;
    const node = this.tile(row, isGood);
    if (isGood) this.good.set(row.id, { row, box: node.querySelector("input") });
    // From the end: what is loaded comes in this order.
    let before = null;
    let last = grid.lastElementChild;
    while (last && Number(last.dataset.id) < row.id) [before, last] = [last, last.previousElementSibling];
    grid.insertBefore(node, before);
  }

  remove(id) {
    this.find(id)?.remove();
    this.good.delete(id);
  }

  /** Others may label for weeks while this is open, so the oldest make room. */
  settle() {
    const [good, bad] = [this.goodGrid.children, this.badGrid.children];
    while (good.length + bad.length > MOST) this.remove(Number((good.length > bad.length ? this.goodGrid : this.badGrid).lastElementChild.dataset.id));
    this.more.hidden = good.length + bad.length >= MOST || (!this.next.good && !this.next.defective);
    this.goodEmpty.hidden = good.length > 0;
    this.badEmpty.hidden = bad.length > 0;
    this.tell();
  }

  tile(row, selectable) {
    const words = `${labelWord(row)}${row.audit ? ", drawn by chance" : ""}, picture ${row.id}, ${dayAndTime(row.received)}`;
    const image = row.kept ? el("img", { src: row.links.thumbnail, alt: "", loading: "lazy", decoding: "async" }) : el("span", { class: "blank" });
    const open = el("button", { type: "button", class: "open", "aria-label": `Open: ${words}`, onclick: () => this.open(row.id) }, image);
    const tag = el("span", { class: "tag", "data-kind": "bad" }, sign("bad"), labelWord(row));
    if (!selectable) return el("li", { class: "pick", "data-id": row.id }, open, tag);
    const box = el("input", { type: "checkbox", "aria-label": `Select: ${words}`, onchange: () => this.tell() });
    const chance = row.audit ? el("span", { class: "drawn" }, "drawn") : "";
    return el("li", { class: "pick", "data-id": row.id }, open, el("label", { class: "tag" }, box, labelWord(row), chance));
  }

  open(id) {
    const ids = [...this.node.querySelectorAll(".pick")].map((node) => Number(node.dataset.id));
    this.openPicture(this.name, id, new Order(this.store, this.name, ids, "Labelled"));
  }

  select(keep) {
    for (const { row, box } of this.good.values()) box.checked = keep(row);
    this.tell();
  }

  chosen() {
    return [...this.good.values()].filter(({ box }) => box.checked).map(({ row }) => row);
  }

  tell() {
    const rows = this.chosen();
    const picked = rows.filter((row) => !row.audit).length;
    const how = new FormData(this.form).get("how");
    setText(this.selected, `${count(rows.length, "good one")} selected`);
    this.make.disabled = !rows.length;
    this.warning.hidden = how !== "recalibrate" || !picked;
    setText(this.warning, `${picked} of them were not drawn by chance. Recalibrating leaves these out: they were picked for looking odd, and would raise the limit too far.`);
  }

  async submit(event) {
    event.preventDefault();
    const how = new FormData(this.form).get("how");
    const version = await attempt(() => api.makeVersion(this.name, how, this.chosen().map((row) => row.id)));
    if (!version) return;
    this.versions.take(version);
    toast(`Version ${version.version} is being made.`);
  }

  /** How often the version in use is wrong, from the answers to what it judged. */
  measure() {
    const measured = this.store.lines.get(this.name)?.info.measured;
    const fact = ([k, n, low, high], title, of) => el("p", {}, el("b", {}, n ? percent(k / n) : "–"), el("span", {}, title),
      el("small", {}, n ? `${k} of ${n} ${of}; the true share lies between ${percent(low)} and ${percent(high)}` : `no ${of} yet`));
    this.measured.hidden = !measured;
    if (measured) {
      this.measured.replaceChildren(fact(measured.false_alarms, "of the rejects are false alarms", "answered rejects of the version in use"),
        fact(measured.misses, "of what passed was missed", "answered passed ones of the version in use, drawn by chance"));
    }
  }

  change(topic, name, data) {
    if (name !== null && name !== this.name) return;
    if (topic === "version") this.versions.take(data);
    if (topic === "line") this.measure();
    if (topic === "line" || topic === "connection") this.versions.render();
    if (topic === "label") this.relabel(data);
  }

  relabel(row) {
    this.remove(row.id);
    if (row.label) this.put(row);
    this.settle();
  }

  tick() {}

  themeChanged() {}

  key() {
    return false;
  }

  close() {}
}
