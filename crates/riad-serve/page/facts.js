// The regions and the numbers of one picture: what an auditor asks for.
import { el, setText } from "./dom.js";
import { dayAndTime, notBelow, number, percent } from "./words.js";

const MOST = 20; // regions listed; the boxes show the 100 highest peaks

export class Facts {
  /** `point(index)` makes a region stand out, or none for null. */
  constructor(point) {
    this.point = point;
    this.reason = el("p", { class: "reason", hidden: true });
    this.regionsTitle = el("h3", {});
    this.regions = el("ol", { class: "regions" });
    this.numbers = el("dl", { class: "numbers" });
    this.node = el("section", { class: "facts-card", "aria-label": "Numbers" },
      this.reason, this.regionsTitle, this.regions, el("h3", {}, "Numbers"), this.numbers);
  }

  set(row) {
    this.node.hidden = !row;
    if (!row) return;
    setText(this.reason, row.reason ?? "");
    this.reason.hidden = !row.reason;
    const found = row.regions_total;
    setText(this.regionsTitle, found ? "What was found" : "No place stands out");
    this.regions.replaceChildren(...row.regions.slice(0, MOST).map((region, index) => this.region(region, index)));
    if (found > MOST) this.regions.append(el("li", {}, `and ${found - MOST} more`));
    this.numbers.replaceChildren(...this.rows(row).flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
  }

  region({ x, y, width, height, area, peak }, index) {
    return el("li", { onmouseenter: () => this.point(index), onmouseleave: () => this.point(null) },
      el("b", {}, `${Math.round(width)} × ${Math.round(height)} px`),
      ` at ${Math.round(x)}, ${Math.round(y)} · area ${Math.round(area)} px · peak ${number(peak)}`);
  }

  rows(row) {
    const rows = [];
    if (row.score !== null) rows.push(["Score", number(row.score)], ["Limit", number(row.threshold)]);
    if (row.p_value !== null) rows.push(["p-value", notBelow(row.p_value)]);
    if (row.rate !== null) rows.push(["False alarms allowed", percent(row.rate) + (row.confidence ? `, sure to ${percent(row.confidence)}` : "")]);
    rows.push(["Model", row.model ?? "–"], ["Version", String(row.version ?? "–")], ["Program", `riad ${row.riad_version}`]);
    if (row.width) rows.push(["Picture", `${row.width} × ${row.height} px` + (row.pictures > 1 ? `, one of ${row.pictures} in its file` : "")]);
    rows.push(["Received", dayAndTime(row.received)], ["From", { http: "the score API", folder: "the watched folder", page: "this page" }[row.source] ?? row.source]);
    if (row.ms !== null && row.ms !== undefined) rows.push(["Time to score", `${number(row.ms)} ms`]);
    if (row.labelled) rows.push(["Answered", dayAndTime(row.labelled)]);
    return rows;
  }
}
