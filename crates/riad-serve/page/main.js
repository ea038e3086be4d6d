// Ties the rooms together: addresses, keyboard, the header. An address says all: `#/`, `#/new`, `#/line/lid`,
// `#/line/lid/picture/7`, `#/line/lid/answer`, `#/line/lid/review`, `#/line/lid/make`.
import { Announcer } from "./announce.js";
import { Detail } from "./detail.js";
import { Drop } from "./drop.js";
import { Header } from "./header.js";
import { LineView } from "./line-view.js";
import { Live } from "./live.js";
import { Maker } from "./maker.js";
import { NewLine } from "./new-line.js";
import { Order } from "./order.js";
import { Overview } from "./overview.js";
import { Review } from "./review.js";
import { TITLES } from "./standing.js";
import { Store } from "./state.js";
import { toast } from "./toast.js";
import { Uploads } from "./uploads.js";

const store = new Store();
const main = document.querySelector("main");
const announcer = new Announcer(document.getElementById("live"));
const header = new Header(store, { score: () => drop.choose(), themeChanged: () => view?.themeChanged() });
const detail = new Detail(store, { closed: leavePicture, moved: (id) => history.replaceState(null, "", pictureAddress(detail.line, id)) });
const drop = new Drop({ lineOf, taker: () => (view?.take ? view : null), scored: (line, ids) => openPicture(line, ids[0], new Order(store, line, ids, "Scored by hand:")) });

let view = null;
let shown = null; // the address of the view below a picture
let given = null; // the order for the picture that is opened next

const SUBPAGES = ["review", "make"];
const TITLE = { review: "Review", make: "New line", new: "New line" };
const lineAddress = (name) => `#/line/${encodeURIComponent(name)}`;
const pictureAddress = (name, id) => `${lineAddress(name)}/picture/${id}`;

function parse() {
  const [, place, line, page, id] = location.hash.split("/");
  const named = place === "line" && line ? decoded(line) : null;
  const all = [...store.lines.keys(), ...store.drafts.keys()];
  if (place === "new" || !all.length) return { line: null, page: "new" };
  if (!named) return { line: all.length === 1 ? all[0] : null, page: store.lines.size ? "" : all.length === 1 ? "make" : "" };
  return { line: named, page: store.drafts.has(named) ? "make" : (page ?? ""), id: Number(id) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null; // an address that somebody typed
  }
}

function makeView({ line, page }) {
  const actions = { openPicture, standingChanged, reload: () => live.reload() };
  if (page === "new") return new NewLine(store, actions);
  if (page === "make") return new Maker(store, line, actions);
  if (!line) return new Overview(store, actions);
  return page === "review" ? new Review(store, line, actions) : new LineView(store, line, actions);
}

function route() {
  if (!store.isRead) return;
  const at = parse();
  if (at.line && !store.lines.has(at.line) && !store.drafts.has(at.line)) {
    toast(`There is no line ${at.line}.`);
    location.replace("#/");
    return;
  }
  if (at.page === "make" && !store.drafts.has(at.line)) at.page = "";
  const over = at.page === "picture" || at.page === "answer";
  // A picture lies above the view that it was opened from.
  const below = over ? (shown ?? lineAddress(at.line)) : at.page === "new" ? "#/new" : at.line ? lineAddress(at.line) + (SUBPAGES.includes(at.page) ? `/${at.page}` : "") : "#/";
  if (!over && detail.isOpen) detail.dialog.close();
  if (below !== shown || !view) {
    view?.close();
    shown = below;
    view = makeView(over && !view ? { line: at.line, page: "" } : at);
    main.replaceChildren(view.node);
    // The verdict comes into the title with the next look at the line; one of before must not stay.
    document.title = TITLE[at.page] ? `${TITLE[at.page]}${at.line ? ` · ${at.line}` : ""}` : "riad";
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

addEventListener("beforeunload", (event) => Uploads.isBusy && event.preventDefault());

setInterval(() => view?.tick(), 500);
const live = new Live(store);
