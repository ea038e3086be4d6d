// Ties the rooms together: addresses, keyboard, the header. An address says all: `#/`, `#/line/lid`,
// `#/line/lid/picture/7`, `#/line/lid/answer`, `#/line/lid/review`.
import { Announcer } from "./announce.js";
import { Detail } from "./detail.js";
import { Drop } from "./drop.js";
import { Header } from "./header.js";
import { LineView } from "./line-view.js";
import { Live } from "./live.js";
import { Order } from "./order.js";
import { Overview } from "./overview.js";
import { Review } from "./review.js";
import { TITLES } from "./standing.js";
import { Store } from "./state.js";
import { toast } from "./toast.js";

const store = new Store();
const main = document.querySelector("main");
const announcer = new Announcer(document.getElementById("live"));
const header = new Header(store, { score: () => drop.choose(), themeChanged: () => view?.themeChanged() });
const detail = new Detail(store, { closed: leavePicture, moved: (id) => history.replaceState(null, "", pictureAddress(detail.line, id)) });
const drop = new Drop({ lineOf, scored: (line, ids) => openPicture(line, ids[0], new Order(store, line, ids, "Scored by hand:")) });

let view = null;
let shown = null; // the address of the view below a picture
let given = null; // the order for the picture that is opened next

const lineAddress = (name) => `#/line/${encodeURIComponent(name)}`;
const pictureAddress = (name, id) => `${lineAddress(name)}/picture/${id}`;

function parse() {
  const [, place, line, page, id] = location.hash.split("/");
  const named = place === "line" && line ? decoded(line) : null;
  if (!named) return { line: store.lines.size === 1 ? [...store.lines.keys()][0] : null, page: "" };
  return { line: named, page: page ?? "", id: Number(id) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null; // an address that somebody typed
  }
}

function makeView({ line, page }) {
  const actions = { openPicture, standingChanged };
  if (!line) return new Overview(store, actions);
  return page === "review" ? new Review(store, line, actions) : new LineView(store, line, actions);
}

function route() {
  if (!store.lines.size) return;
  const at = parse();
  if (at.line && !store.lines.has(at.line)) {
    toast(`There is no line ${at.line}.`);
    location.replace("#/");
    return;
  }
  const over = at.page === "picture" || at.page === "answer";
  // A picture lies above the view that it was opened from.
  const below = over ? (shown ?? lineAddress(at.line)) : at.line ? lineAddress(at.line) + (at.page === "review" ? "/review" : "") : "#/";
  if (!over && detail.isOpen) detail.dialog.close();
  if (below !== shown || !view) {
    view?.close();
    shown = below;
    view = makeView(over && !view ? { line: at.line, page: "" } : at);
    main.replaceChildren(view.node);
    // The verdict comes into the title with the next look at the line; one of before must not stay.
    document.title = at.page === "review" ? `Review · ${at.line}` : "riad";
    scrollTo(0, 0);
  }
  if (at.page === "picture" && !(detail.isOpen && detail.row?.id === at.id)) detail.open(at.line, at.id, given ?? undefined);
  if (at.page === "answer") detail.openQueue(at.line);
  given = null;
  header.update(at);
}

function openPicture(line, id, order = null) {
  given = order;
  const to = pictureAddress(line, id);
  if (location.hash === to) route();
  else location.hash = to;
}

function leavePicture() {
  const { page } = parse();
  if (page === "picture" || page === "answer") location.hash = shown;
}

function lineOf(element) {
  return element?.closest?.("[data-line]")?.dataset.line ?? parse().line;
}

function standingChanged(name, kind) {
  announcer.verdict(name, kind, store.lines.size > 1);
  const only = parse().line;
  if (!only) document.title = "riad";
  else if (only === name) document.title = `${TITLES[kind]} · ${name}`;
}

store.listen((topic, name, data) => {
  if (topic === "lines") {
    shown = null;
    route();
  } else if (topic === "connection") {
    header.update(parse());
    document.documentElement.dataset.connection = store.connection;
  } else if (topic === "line") header.update(parse());
  view?.change(topic, name, data);
  detail.change(topic, name, data);
});

addEventListener("hashchange", route);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.matches("input, select, textarea")) return;
  if (event.key === "?") header.help();
  else if (document.querySelector("dialog[open]") || !view?.key(event)) return;
  event.preventDefault();
});

setInterval(() => view?.tick(), 500);
new Live(store);
