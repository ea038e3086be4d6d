// Scoring a picture by hand: dropped on the page, or chosen as a file.
import * as api from "./api.js";
import { setText } from "./dom.js";
import { dropped } from "./files.js";
import { toast } from "./toast.js";

const MOST = 20; // files at once

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

export class Drop {
  /**
   * `lineOf(element or null)` says which line is meant, or null; `scored(line, ids)` shows the results; `taker()` gives the view that
   * takes good pictures, if one is shown.
   */
  constructor({ lineOf, scored, taker }) {
    this.taker = taker;
    this.lineOf = lineOf;
    this.scored = scored;
    this.zone = document.getElementById("dropzone");
    this.input = document.getElementById("file");
    this.input.addEventListener("change", () => {
      this.score(this.lineOf(null), [...this.input.files]);
      this.input.value = "";
    });
    addEventListener("dragover", (event) => this.over(event));
    addEventListener("dragleave", (event) => !event.relatedTarget && this.hide());
    addEventListener("drop", (event) => this.drop(event));
  }

  choose() {
    if (this.lineOf(null)) this.input.click();
    else toast("Open a line first, or drop the picture on one.");
  }

  over(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (this.taker()) {
      event.dataTransfer.dropEffect = "copy";
      setText(this.zone, "Drop to add good pictures");
      this.zone.hidden = false;
      return;
    }
    const line = this.lineOf(event.target);
    event.dataTransfer.dropEffect = line ? "copy" : "none";
    setText(this.zone, line ? `Drop to score on ${line}` : "Drop it on one of the lines");
    this.zone.hidden = false;
  }

  hide() {
    this.zone.hidden = true;
  }

  drop(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    this.hide();
    const taker = this.taker();
    if (taker) {
      dropped(event.dataTransfer).then((files) => taker.take(files), () => toast("The folder cannot be read."));
      return;
    }
    this.score(this.lineOf(event.target), [...event.dataTransfer.files]);
  }

  async score(line, files) {
    if (!line) {
      toast("Drop it on one of the lines.");
      return;
    }
    const ids = [];
    const failed = [];
    const few = files.slice(0, MOST);
    for (const [k, file] of few.entries()) {
      toast(`Scoring ${file.name}${few.length > 1 ? ` (${k + 1} of ${few.length})` : ""} …`, 60);
      try {
        ids.push((await api.inspect(line, file)).id);
      } catch (error) {
        failed.push(`${file.name}: ${error.message}`);
      }
    }
    if (failed.length) toast(failed.slice(0, 3).join(" "), 10);
    else toast(files.length > MOST ? `The first ${MOST} of ${files.length} were scored.` : "Scored.", 3);
    if (ids.length) this.scored(line, ids);
  }
}
