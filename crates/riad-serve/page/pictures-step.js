// Good pictures come in: dropped, or chosen as files or as a folder.
import * as api from "./api.js";
import { el, setText } from "./dom.js";
import { chosen } from "./files.js";
import { coverAll } from "./region.js";
import { attempt } from "./toast.js";
import { Uploads } from "./uploads.js";
import { base, count, size } from "./words.js";

const SHOWN = 60; // thumbnails at once

export class PicturesStep {
  constructor({ store, name, go }) {
    Object.assign(this, { store, name });
    this.uploads = Uploads.of(store, name);
    const input = (more) => el("input", { type: "file", multiple: true, hidden: true, ...more, onchange: (event) => this.choose(event.target) });
    this.folder = input({ webkitdirectory: true, "aria-label": "Folder of good pictures" });
    this.files = input({ accept: "image/*,.tif,.tiff,.npy", "aria-label": "Good pictures" });
    this.count = el("p", { class: "selected", role: "status" });
    this.needs = el("p", { class: "hint" });
    this.progress = el("progress", { max: "1", value: "0", "aria-label": "Pictures sent", hidden: true });
    this.progressWords = el("span", { class: "hint" });
    this.sending = el("div", { class: "sending", hidden: true }, this.progressWords,
      el("button", { type: "button", class: "small", onclick: () => this.stop() }, "Stop sending"));
    this.error = el("p", { class: "failed", role: "alert", hidden: true });
    this.whiteWords = el("span", {});
    this.whiteButton = el("button", { type: "button", class: "small", onclick: () => this.setWhite() });
    this.white = el("div", { class: "white-level", hidden: true }, this.whiteWords, this.whiteButton);
    this.leftList = el("ul", { class: "left-out" });
    this.leftTitle = el("summary", {});
    this.left = el("details", { class: "warning", hidden: true, open: true }, this.leftTitle, this.leftList);
    this.grid = el("ul", { class: "picks small-picks", "aria-label": "Good pictures" });
    this.more = el("button", { type: "button", class: "small", hidden: true, onclick: () => this.load() }, "Show more");
    this.next = el("button", { type: "button", class: "primary", onclick: () => go("check") }, "Check them");
    this.node = el("section", { class: "card", "aria-labelledby": "pictures-title" },
      el("h3", { id: "pictures-title", tabindex: "-1" }, "Pictures of good products"),
      el("div", { class: "drop-here" }, el("p", {}, "Drop a folder or pictures here"),
        el("div", { class: "tools" },
          el("button", { type: "button", class: "primary", onclick: () => this.folder.click() }, "Choose a folder"),
          el("button", { type: "button", onclick: () => this.files.click() }, "Choose pictures")),
        el("p", { class: "hint" }, "Only good ones, as the camera of the line takes them. They are copied to this service.")),
      this.folder, this.files, this.progress, this.sending, this.error, this.count, this.needs, this.white, this.left,
      el("div", { class: "buttons" }, this.next), this.grid, this.more);
    this.shown = 0; // the number of the last one in the grid
    this.known = 0;
  }

  open() {
    this.grid.replaceChildren();
    this.shown = 0;
    this.more.hidden = true;
    this.load();
  }

  async load() {
    const found = await attempt(() => api.pictures(this.name, { after: this.shown, limit: SHOWN }));
    if (!found) return;
    for (const picture of found.pictures) this.add(picture);
    this.more.hidden = !found.next;
    coverAll(this.grid, this.store.drafts.get(this.name)?.region);
  }

  add(picture) {
    if (picture.id <= this.shown) return;
    this.shown = picture.id;
    const node = el("li", { class: "pick" },
      el("span", { class: "framed" }, el("img", { src: this.thumbnail(picture), alt: "", loading: "lazy", decoding: "async" })),
      el("span", { class: "tag" }, el("span", { class: "file", title: picture.name }, base(picture.name)),
        el("button", { type: "button", class: "small", "aria-label": `Take out ${picture.name}`, onclick: () => this.remove(picture, node) }, "✕")));
    this.grid.append(node);
  }

  /** Another white level makes another picture, so it has another address. */
  thumbnail({ thumbnail }) {
    const white = this.store.drafts.get(this.name)?.white_level;
    return white ? `${thumbnail}?white=${white}` : thumbnail;
  }

  stop() {
    this.uploads.stop();
    this.node.querySelector("h3").focus();
  }

  async setWhite() {
    this.whiteButton.disabled = true;
    const { likely_white } = this.store.drafts.get(this.name);
    const draft = await attempt(() => api.setWhiteLevel(this.name, likely_white ? likely_white.level : null));
    this.whiteButton.disabled = false;
    if (!draft) return;
    this.store.setDraft(draft);
    this.open();
    this.whiteButton.focus();
  }

  async remove(picture, node) {
    const before = node.previousElementSibling ?? node.nextElementSibling;
    const draft = await attempt(() => api.removePicture(this.name, picture.id));
    if (!draft) return;
    node.remove();
    (before?.querySelector("button") ?? this.node.querySelector("h3")).focus();
    this.store.setDraft(draft);
  }

  choose(input) {
    const files = chosen(input);
    input.value = "";
    this.take(files);
  }

  take(files) {
    if (files.length) this.uploads.add(files);
  }

  paintWhite({ white_level: level, likely_white: likely }) {
    this.white.hidden = !level && !likely;
    this.white.classList.toggle("warning", Boolean(likely));
    if (likely) {
      setText(this.whiteWords, `The pictures are dark: the brightest sample is ${likely.brightest} of ${likely.full}. If the camera has ${bits(likely.level)} bits, ${likely.level} is white.`);
      setText(this.whiteButton, `Take ${likely.level} for white`);
    } else if (level) {
      setText(this.whiteWords, `A sample of ${level} is white.`);
      setText(this.whiteButton, "Undo");
    }
  }

  paint(draft) {
    const { isBusy, done, total, leftOut, error } = this.uploads;
    this.progress.hidden = this.sending.hidden = !isBusy;
    this.progress.value = total ? done / total : 0;
    setText(this.progressWords, `${done} of ${total} sent`);
    this.error.hidden = !error;
    setText(this.error, error ?? "");
    setText(this.count, draft.pictures ? `${count(draft.pictures, "good picture")}, ${size(draft.bytes)}` : "No pictures yet");
    const lacking = draft.needed - draft.pictures;
    setText(this.needs, lacking > 0 ? `It takes at least ${draft.needed}: ${lacking} more. A few hundred are better.`
      : "More pictures make the limit more certain.");
    this.paintWhite(draft);
    coverAll(this.grid, draft.region);
    this.next.disabled = isBusy || lacking > 0;
    this.left.hidden = !leftOut.length;
    if (this.leftList.children.length !== leftOut.length) {
      setText(this.leftTitle, `${count(leftOut.length, "file")} left out`);
      this.leftList.replaceChildren(...leftOut.map(({ name, reason }) => el("li", {}, el("b", {}, name), ` ${reason}`)));
    }
    // What came is shown, as far as there is room.
    if (isBusy) return;
    if (draft.pictures > this.known && this.grid.children.length < SHOWN) this.load();
    this.known = draft.pictures;
  }
}

/** How many bits a camera has whose brightest sample this is. */
const bits = (level) => Math.round(Math.log2(level + 1));
