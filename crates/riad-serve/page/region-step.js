// Where defects are looked for, drawn on a picture or given in numbers.
import * as api from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { Region, paintOver } from "./region.js";
import { attempt } from "./toast.js";
import { percent } from "./words.js";

const TOOLS = { rectangle: "Rectangle", outline: "Outline", brush: "Brush" };
const MODES = { add: "Add", erase: "Erase" };
const SHOWN = 50; // pictures to draw on
const EDGES = { left: "Left", top: "Top", width: "Width", height: "Height" };

export class RegionStep {
  constructor({ store, name, go }) {
    Object.assign(this, { store, name, region: null, kept: null, isChanged: false, changes: 0, pending: null, pictures: [], at: 0 });
    this.tool = "rectangle";
    this.mode = "add";
    const choice = (of, key, words) => el("button", { type: "button", "aria-pressed": "false", "data-choice": key, onclick: () => this.choose(of, key) }, words);
    const group = (of, label, all) => el("div", { class: "choices", role: "group", "aria-label": label }, ...Object.entries(all).map(([key, words]) => choice(of, key, words)));
    this.tools = group("tool", "Tool", TOOLS);
    this.modes = group("mode", "What it does", MODES);
    this.brush = el("input", { type: "range", min: "1", max: "30", value: "8" });
    this.brushRow = el("label", { class: "brush", hidden: true }, "Brush width ", this.brush);
    this.undo = el("button", { type: "button", onclick: () => this.change(() => this.region.undo()) }, "Undo");
    this.clear = el("button", { type: "button", onclick: () => this.change(() => this.region.clear()) }, "Clear");
    this.other = el("button", { type: "button", onclick: () => this.turn() }, "Another picture");
    this.image = el("img", { alt: "A good picture", decoding: "async", draggable: "false" });
    this.over = el("canvas", { "aria-hidden": "true" });
    this.stage = el("div", { class: "region-stage" }, this.image, this.over);
    this.words = el("p", { class: "selected", role: "status" });
    this.fields = Object.fromEntries(Object.keys(EDGES).map((edge) => [edge, el("input", { type: "number", min: "0", step: "1", required: true, inputmode: "numeric" })]));
    const apply = (key) => el("button", { type: "submit", value: key }, MODES[key]);
    this.numbers = el("form", { class: "numbers-form", "aria-label": "Rectangle in numbers", onsubmit: (event) => this.submit(event) },
      el("span", { class: "hint" }, "Rectangle in pixels"), ...Object.entries(EDGES).map(([edge, words]) => el("label", {}, `${words} `, this.fields[edge])), apply("add"), apply("erase"));
    this.next = el("button", { type: "button", class: "primary", onclick: () => go("plan") }, "Go on");
    this.node = el("section", { class: "card region-step", "aria-labelledby": "region-title", onkeydown: (event) => this.key(event) },
      el("h3", { id: "region-title", tabindex: "-1" }, "Where are defects looked for?"),
      el("p", { class: "hint" }, "Everywhere, unless you draw where. Leave out what is not the product, and what differs from one good product to the next."),
      el("div", { class: "tools" }, this.tools, this.modes, this.brushRow, this.undo, this.clear, this.other),
      this.stage, this.words, this.numbers, el("div", { class: "buttons" }, this.next));
    this.over.addEventListener("pointerdown", (event) => this.begin(event));
    this.over.addEventListener("pointermove", (event) => this.move(event));
    this.over.addEventListener("pointerup", (event) => this.end(event));
    this.over.addEventListener("pointercancel", () => this.drop());
    this.choose("tool", this.tool);
    this.choose("mode", this.mode);
  }

  get draft() {
    return this.store.drafts.get(this.name);
  }

  async open() {
    const asked = (this.asked = Symbol());
    const found = await attempt(() => api.pictures(this.name, { limit: SHOWN }));
    if (asked !== this.asked || !found?.pictures.length) return;
    const [{ width, height }] = found.pictures;
    // The mask lies over those of its size.
    this.pictures = found.pictures.filter((one) => one.width === width && one.height === height);
    this.at = Math.min(this.at, this.pictures.length - 1);
    const address = this.draft?.region?.mask ?? null;
    // What was drawn and is not kept yet stays, as long as the pictures are alike.
    if (!this.isChanged || this.region?.size.width !== width || this.region?.size.height !== height) {
      const region = new Region({ width, height });
      await attempt(() => region.take(address));
      // Meanwhile somebody may have begun to draw on what was shown before.
      if (asked !== this.asked || this.isChanged || this.pending) return;
      Object.assign(this, { region, kept: address, isChanged: false });
    }
    this.stage.style.setProperty("--shape", width / height);
    Object.assign(this.over, { width: this.region.mask.width, height: this.region.mask.height });
    for (const [edge, field] of Object.entries(this.fields)) field.max = edge === "left" || edge === "width" ? width : height;
    this.show();
    this.refresh();
  }

  show() {
    this.image.src = api.pictureImage(this.name, this.pictures[this.at].id);
  }

  turn() {
    this.at = (this.at + 1) % this.pictures.length;
    this.show();
  }

  choose(of, key) {
    this[of] = key;
    for (const button of this[`${of}s`].children) setAttribute(button, "aria-pressed", String(button.dataset.choice === key));
    this.brushRow.hidden = this.tool !== "brush";
  }

  /** Where a pointer is, in pixels of the picture. */
  place(event) {
    const { left, top, width, height } = this.over.getBoundingClientRect();
    const within = (value, most) => Math.round(Math.max(0, Math.min(1, value)) * most);
    return [within((event.clientX - left) / width, this.region.size.width), within((event.clientY - top) / height, this.region.size.height)];
  }

  begin(event) {
    if (!this.region || event.button !== 0) return;
    event.preventDefault();
    this.over.setPointerCapture(event.pointerId);
    const { width, height } = this.region.size;
    this.pending = { points: [this.place(event)], erase: this.mode === "erase" };
    if (this.tool === "brush") this.pending.width = (Number(this.brush.value) / 100) * Math.min(width, height);
    this.paintPending();
  }

  move(event) {
    if (!this.pending) return;
    const { points } = this.pending;
    const [x, y] = this.place(event);
    if (this.tool === "rectangle") {
      const [[left, top]] = points;
      this.pending.points = [[left, top], [x, top], [x, y], [left, y]];
    } else points.push([x, y]);
    this.paintPending();
  }

  end(event) {
    if (!this.pending) return;
    this.move(event);
    const shape = this.pending;
    this.pending = null;
    // A click encloses nothing.
    const isArea = shape.width || new Set(shape.points.map(String)).size > 2;
    if (isArea) this.change(() => this.region.add(shape));
    else this.drop();
  }

  drop() {
    this.pending = null;
    this.region.draw();
    this.paintOver();
  }

  paintPending() {
    this.region.draw(this.pending.points.length > 1 || this.pending.width ? this.pending : null);
    this.paintOver();
  }

  submit(event) {
    event.preventDefault();
    const [left, top, width, height] = Object.values(this.fields).map((field) => Number(field.value));
    if (!this.region || !width || !height) return;
    const [right, bottom] = [left + width, top + height];
    const points = [[left, top], [right, top], [right, bottom], [left, bottom]];
    this.change(() => this.region.add({ points, erase: event.submitter?.value === "erase" }));
  }

  key(event) {
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || this.undo.disabled) return;
    event.preventDefault();
    this.change(() => this.region.undo());
  }

  change(work) {
    if (!this.region) return;
    work();
    this.isChanged = true;
    this.changes++;
    this.refresh();
  }

  refresh() {
    const { region } = this;
    const isEmpty = region.isAll;
    // A button that has the focus keeps it: it goes to a neighbour.
    const focused = document.activeElement;
    this.undo.disabled = !region.shapes.length;
    this.clear.disabled = isEmpty;
    if (focused?.disabled && this.node.contains(focused)) this.tools.firstElementChild.focus();
    this.other.hidden = this.pictures.length < 2;
    const share = isEmpty ? 1 : region.share;
    setText(this.words, isEmpty ? "Defects are looked for in all of the picture." : share ? `Defects are looked for in ${percent(share)} of the picture.`
      : "Nothing is left to look at: add something, or clear.");
    this.next.disabled = !share;
    this.paintOver();
  }

  paintOver() {
    const shown = this.over.clientWidth || this.over.width;
    paintOver(this.over, this.region.mask, (2 * this.over.width) / shown);
  }

  /** Gives the service what was drawn, if that is new; whether it has it. */
  async keep() {
    if (!this.isChanged || !this.region) return true;
    const { region, changes } = this;
    if (!region.isAll && !region.share) return false;
    const draft = await attempt(async () => (region.isAll ? api.removeRegion(this.name) : api.setRegion(this.name, await region.toPng())));
    if (!draft) return false;
    // More may have been drawn meanwhile.
    this.isChanged = this.changes !== changes;
    this.kept = draft.region?.mask ?? null;
    this.store.setDraft(draft);
    return true;
  }

  paint({ region }) {
    // Somebody else may have drawn another one meanwhile.
    if (this.region && !this.isChanged && !this.pending && (region?.mask ?? null) !== this.kept) this.open();
  }
}
