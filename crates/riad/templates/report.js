"use strict";
for (const gallery of document.querySelectorAll(".gallery")) {
  const form = gallery.querySelector("form");
  const list = gallery.querySelector("ol");
  const shown = gallery.querySelector("output");
  const shots = Array.from(list.children);
  const score = (shot) => Number(shot.dataset.score);
  const orders = {
    worst: () => 0,
    highest: (a, b) => score(b) - score(a),
    lowest: (a, b) => score(a) - score(b),
    path: (a, b) => a.dataset.path.localeCompare(b.dataset.path, undefined, { numeric: true }),
  };
  let order = "worst";

  const update = () => {
    const chosen = Object.fromEntries(new FormData(form));
    const verdicts = chosen.verdict ? chosen.verdict.split(" ") : [];
    let count = 0;
    for (const shot of shots) {
      const { kind, verdict } = shot.dataset;
      shot.hidden = Boolean(
        (chosen.kind && kind !== chosen.kind) || (verdicts.length && !verdicts.includes(verdict)),
      );
      count += !shot.hidden;
    }
    if (chosen.order !== order) {
      order = chosen.order;
      // Sorting is stable, and the file has the worst mistakes first.
      list.append(...shots.toSorted(orders[order]));
    }
    gallery.dataset.size = chosen.size;
    shown.textContent = `${count} of ${shots.length} shown`;
  };

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}
