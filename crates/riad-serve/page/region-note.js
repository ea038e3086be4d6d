// A reminder, in the steps after it, of where defects are looked for.
import * as api from "./api.js";
import { el, setText } from "./dom.js";
import { coverAll } from "./region.js";
import { attempt } from "./toast.js";
import { percent } from "./words.js";

export class RegionNote {
  constructor(name) {
    this.name = name;
    this.frame = el("span", { class: "framed" });
    this.words = el("figcaption", {});
    this.node = el("figure", { class: "region-note", hidden: true }, this.frame, this.words);
  }

  paint({ region }, isLater) {
    this.node.hidden = !region || !isLater;
    if (this.node.hidden) return;
    setText(this.words, `Defects are looked for in ${percent(region.share)} of the picture.`);
    if (!this.frame.firstChild) this.load();
    coverAll(this.node, region);
  }

  async load() {
    const image = el("img", { alt: "", decoding: "async" });
    this.frame.prepend(image);
    const found = await attempt(() => api.pictures(this.name, { limit: 1 }));
    if (found?.pictures.length) image.src = found.pictures[0].thumbnail;
    else image.remove();
  }
}
