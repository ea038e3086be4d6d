// The top of the page: which line, whether the connection lives, what waits for an answer, and help.
import { el, paced, setAttribute, setText } from "./dom.js";

const CONNECTION = { connecting: "connecting", live: "live", lost: "no connection" };

export class Header {
  constructor(store, { score, themeChanged }) {
    const find = (id) => document.getElementById(id);
    this.store = store;
    this.at = { line: null, page: "" };
    this.title = find("line-name");
    this.nav = find("lines");
    this.link = find("connection");
    this.answer = find("answer");
    this.answerWords = find("answer-words");
    this.review = find("review");
    this.score = find("score");
    this.newLine = find("new-line");
    this.dialog = find("help");
    this.render = paced(() => this.paint());
    find("score").addEventListener("click", score);
    find("help-open").addEventListener("click", () => this.help());
    const display = find("display");
    display.value = riadDisplay.get();
    display.addEventListener("change", () => {
      riadDisplay.set(display.value);
      themeChanged();
    });
  }

  help() {
    if (!this.dialog.open) this.dialog.showModal();
  }

  update(at) {
    this.at = at;
    this.render();
  }

  paint() {
    const { line, page } = this.at;
    const { lines, connection } = this.store;
    const served = lines.has(line) || (!line && lines.size > 0);
    setText(this.title, line ?? (page === "new" || !served ? "riad" : "All lines"));
    this.answer.hidden = this.score.hidden = !served || page === "new";
    setAttribute(this.newLine, "aria-current", page === "new" ? "page" : "false");
    setText(this.link, CONNECTION[connection]);
    setAttribute(this.link, "data-connection", connection);
    const base = line ? `#/line/${encodeURIComponent(line)}` : null;
    const asked = [...lines.values()].filter((one) => !line || one.name === line);
    const total = asked.reduce((sum, one) => sum + one.info.unanswered, 0);
    const first = (asked.find((one) => one.info.unanswered) ?? asked[0])?.name;
    setText(this.answerWords, `To answer: ${total}`);
    setAttribute(this.answer, "data-waiting", String(total > 0));
    setAttribute(this.answer, "href", first ? `#/line/${encodeURIComponent(first)}/answer` : "#/");
    this.review.hidden = !lines.has(line);
    if (base) setAttribute(this.review, "href", `${base}/review`);
    setAttribute(this.review, "aria-current", page === "review" ? "page" : "false");
    this.links([...lines.keys()], [...this.store.drafts.keys()]);
  }

  links(names, drafts) {
    const several = names.length + drafts.length > 1;
    const wanted = several ? [["#/", "All lines"], ...names.map((name) => [`#/line/${encodeURIComponent(name)}`, name]),
      ...drafts.map((name) => [`#/line/${encodeURIComponent(name)}`, `${name} (new)`])] : [];
    if (this.nav.children.length !== wanted.length || wanted.some(([to], k) => this.nav.children[k].getAttribute("href") !== to)) {
      this.nav.replaceChildren(...wanted.map(([to, words]) => el("a", { href: to }, words)));
    }
    const current = this.at.page === "new" ? "#/new" : this.at.line ? `#/line/${encodeURIComponent(this.at.line)}` : "#/";
    for (const link of this.nav.children) setAttribute(link, "aria-current", link.getAttribute("href") === current ? "page" : "false");
    this.nav.hidden = !wanted.length;
  }
}
