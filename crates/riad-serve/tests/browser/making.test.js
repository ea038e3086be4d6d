// From nothing: a line is made of a folder of good pictures, on the page. Against the mock, and for the whole way against a real
// service that was started without a line (RIAD_EMPTY_URL, with RIAD_GOOD).
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Mock } from "./mock.js";
import { SIZES, bytes, dropFiles, launch, live, openPage, until, violations } from "./helpers.js";

const REAL = process.env.RIAD_EMPTY_URL ?? null;

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser.close());

/** A mock without a line and a page on it; `work(page, mock)`. */
async function on(hash, work, { lines = [], ...pageOptions } = {}) {
  const mock = await new Mock({ lines }).listen();
  const opened = await openPage(browser, mock.url, hash, pageOptions);
  try {
    await live(opened.page);
    await work(opened.page, mock);
  } finally {
    await opened.close().finally(() => mock.close());
  }
}

/** A folder of pictures, as a person has one on the desktop. */
function folder(names) {
  const path = mkdtempSync(join(tmpdir(), "riad-good-"));
  names.forEach((name, k) => writeFileSync(join(path, name), /txt$/.test(name) ? "no picture" : bytes("good", k)));
  return path;
}

const numbered = (count) => Array.from({ length: count }, (_, k) => `${String(k).padStart(3, "0")}.png`);

const step = (page) => page.locator(".steps [aria-current=step]").textContent();

async function begin(page, name) {
  await page.getByLabel("What is it called?").fill(name);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Pictures of good products" }).waitFor();
}

/** A line with so many pictures that the mock made. */
function draft(mock, name, count, more = {}) {
  const made = mock.drafts.begin(name);
  for (let k = 0; k < count; k++) mock.drafts.take(made, `${k}.png`, 40_000);
  return Object.assign(made, more);
}

describe("from nothing", () => {
  test("the first visit leads to the first line, and from a folder to the line, by keyboard where there are keys", () => on("", async (page) => {
    await page.getByRole("heading", { name: "Make your first line" }).waitFor();
    assert.ok(await page.locator("#score").isHidden() && await page.locator("#answer").isHidden(), "nothing can be scored yet");
    assert.deepEqual(await violations(page), []);
    await begin(page, "lid");
    assert.ok(page.url().endsWith("#/line/lid/make"), page.url());
    const path = folder([...numbered(31), "notes.txt", ".hidden.png"]);
    await page.locator("input[webkitdirectory]").setInputFiles(path);
    await until(() => page.locator(".selected:visible").textContent(), (words) => /^31 good pictures/.test(words));
    await page.getByText("1 file left out").waitFor();
    assert.match(await page.locator(".left-out li").textContent(), /notes\.txt.*format/);
    await until(() => page.locator(".small-picks img").evaluateAll((all) => all.length === 31 && all.filter((image) => image.complete && image.naturalWidth).length > 5), true, "thumbnails");
    assert.deepEqual(await violations(page), []);

    await page.getByRole("button", { name: "Check them" }).click();
    await page.getByText("2 of 31 should be looked at").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "check-title");
    assert.deepEqual(await violations(page), []);
    await page.getByRole("checkbox").nth(1).check();
    await page.getByRole("button", { name: "Leave out 1 and go on" }).click();

    await page.getByRole("radio", { name: /tiny, images at 256/ }).waitFor();
    assert.ok(await page.getByRole("radio", { name: /advised/ }).isChecked());
    assert.match(await page.locator(".plans").textContent(), /4 min.*roughly 2 h 30 min.*roughly 25 h/);
    assert.deepEqual(await violations(page), []);
    await page.getByRole("radio", { name: /tiny, images at 128/ }).check();
    await page.getByRole("button", { name: "Train", exact: true }).click();

    await page.getByText(/^Training: \d+ %$/).waitFor();
    await page.getByText(/about \d+ min left/).waitFor();
    await until(() => page.locator(".losses svg").getAttribute("aria-label"), (words) => /^Loss from 0\.24 in epoch 1 to/.test(words));
    assert.deepEqual(await violations(page), []);
    await page.getByRole("heading", { name: "What it finds" }).waitFor();
    assert.match(await page.locator(".trial").textContent(), /^Made-up defects: finds 9 of 10 scratches/);
    assert.equal(await page.locator(".found-table tbody tr").count(), 3);
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Put it on the line" }).click();
    await page.locator(".verdict[data-kind=waiting]").waitFor();
    assert.ok(page.url().endsWith("#/line/lid"), page.url());
    await page.getByText("lid judges pictures from now on.").waitFor();
    assert.ok(await page.locator("#score").isVisible());
    rmSync(path, { recursive: true });
  }));

  test("files and folders can be dropped, and one that came is taken out again", () => on("#/new", async (page, mock) => {
    await begin(page, "cap");
    const words = await dropFiles(page, ".maker", numbered(3).map((name, k) => ({ name, body: bytes("good", k) })));
    assert.equal(words, "Drop to add good pictures");
    await page.getByText("3 good pictures").waitFor();
    await page.getByText("It takes at least 29: 26 more").waitFor();
    assert.ok(await page.getByRole("button", { name: "Check them" }).isDisabled());
    await page.getByRole("button", { name: "Take out 001.png" }).click();
    await page.getByText("2 good pictures").waitFor();
    assert.equal(mock.drafts.drafts.get("cap").goods.length, 2);
    // It lies beside a line that is there, and a drop on that one scores as before.
    assert.equal(await page.locator("nav a[aria-current=page]").textContent(), "cap (new)");
    await page.getByRole("link", { name: "lid", exact: true }).click();
    assert.equal(await dropFiles(page, ".line-view", [{ name: "a.png", body: bytes("good") }]), "Drop to score on lid");
  }, { lines: ["lid"] }));

  test("a training is stopped, goes on, and fails with its reason", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40);
    mock.drafts.step = 400;
    mock.drafts.train(made, { preset: "tiny", size: 128 });
    await page.reload();
    await live(page);
    await page.getByText(/^Training: /).waitFor();
    assert.equal(await step(page), "Training");
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped; nothing is lost, and it can go on.").waitFor();
    assert.deepEqual(await violations(page), []);
    const { epoch } = made.training;
    await page.getByRole("button", { name: "Go on" }).click();
    await until(() => made.training.epoch, (now) => now > epoch);
    Object.assign(made, { state: "failed", note: "the disk is full" });
    mock.drafts.tell(made);
    await page.getByText("The training failed: the disk is full").waitFor();
    await page.getByRole("radio", { name: /advised/ }).waitFor();
  }));

  test("a picture that looks odd to the model is left out, and then it is trained again", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40);
    mock.drafts.step = 1;
    mock.drafts.train(made, { preset: "tiny", size: 128 });
    await page.getByRole("heading", { name: "Good pictures that look odd to the model" }).waitFor();
    await page.getByRole("checkbox").check();
    await page.getByRole("button", { name: "Leave these out and train again" }).click();
    await page.getByRole("radio", { name: /advised/ }).waitFor();
    assert.equal(made.goods.length, 39);
  }));

  test("a line that is being made is deleted only when that is meant", () => on("", async (page, mock) => {
    draft(mock, "lid", 3);
    draft(mock, "cap", 3);
    await page.getByRole("article", { name: "New line cap" }).getByRole("link", { name: "Go on" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await until(() => mock.drafts.drafts.has("cap"), false);
    await page.getByRole("heading", { name: "New line: lid" }).waitFor();
  }));

  test("a name that is taken or is none is said so", () => on("#/new", async (page) => {
    await page.getByLabel("What is it called?").fill("lid");
    await page.keyboard.press("Enter");
    await page.getByText("There is a line lid already; choose another name.").waitFor();
    await page.getByLabel("What is it called?").fill("a b");
    await page.keyboard.press("Enter");
    assert.ok(page.url().endsWith("#/new"), "the browser says what is wrong with it");
  }, { lines: ["lid"], allow: /409/ }));

  for (const size of Object.keys(SIZES)) {
    test(`fits into ${size}, light and dark`, () => on("", async (page, mock) => {
      const made = draft(mock, "lid", 40);
      const fits = async (what) => {
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} is wider than the screen`);
        assert.deepEqual(await violations(page), [], what);
      };
      await page.getByText("40 good pictures").waitFor();
      await fits("pictures");
      await page.emulateMedia({ colorScheme: "dark" });
      for (const [name, wait] of [["Check", "2 of 40"], ["Plan", "advised"]]) {
        await page.getByRole("button", { name, exact: true }).click();
        await page.getByText(wait).first().waitFor();
        await fits(name);
      }
      mock.drafts.step = 1;
      mock.drafts.train(made, { preset: "tiny", size: 128 });
      await page.getByRole("heading", { name: "What it finds" }).waitFor();
      await fits("what it finds");
    }, { size }));
  }
});

test("the whole way on a real service", { skip: REAL ? false : "no RIAD_EMPTY_URL" }, async () => {
  const given = process.env.RIAD_GOOD;
  const opened = await openPage(browser, REAL, "");
  const { page } = opened;
  await live(page);
  await page.getByRole("heading", { name: "Make your first line" }).waitFor();
  await begin(page, "badge");
  await page.locator("input[webkitdirectory]").setInputFiles(given);
  const count = readdirSync(given).length;
  await until(() => page.locator(".selected:visible").textContent(), (words) => words.startsWith(`${count} good pictures`), "all pictures", 120);
  await page.getByRole("button", { name: "Check them" }).click();
  await page.getByText(/should be looked at|Nothing is unusual/).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("radio", { name: /advised/ }).waitFor({ timeout: 120_000 });
  assert.deepEqual(await violations(page), []);
  // What the page offers takes minutes; the test takes a smaller network.
  const response = await fetch(`${REAL}/v1/lines/badge/train`, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ preset: "tiny", size: 32, epochs: 20 }) });
  assert.equal(response.status, 202);
  await page.getByRole("heading", { name: "What it finds" }).waitFor({ timeout: 300_000 });
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Put it on the line" }).click();
  await page.locator(".verdict[data-kind=waiting]").waitFor();
  const [first] = readdirSync(given);
  const judged = await fetch(`${REAL}/v1/lines/badge/inspect`, { method: "POST", body: readFileSync(join(given, first)) });
  assert.equal(judged.status, 200);
  await until(() => page.locator(".verdict").getAttribute("data-kind"), (kind) => kind === "ok" || kind === "bad");
  await opened.close();
});
