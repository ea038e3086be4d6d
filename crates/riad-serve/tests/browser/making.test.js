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

/** Adds a rectangle by its numbers, with the keyboard alone. */
async function inNumbers(page, numbers) {
  for (const [k, label] of ["Left", "Top", "Width", "Height"].entries()) await page.getByLabel(label, { exact: true }).fill(String(numbers[k]));
  await page.keyboard.press("Enter");
  await page.getByText(/Defects are looked for in .* % of the picture/).first().waitFor();
}

/** Drags over the picture, through points given as shares of its sides. */
async function drag(page, ...points) {
  const stage = page.locator(".region-stage canvas");
  // Waits until nothing moves it any more.
  await stage.hover();
  const { x, y, width, height } = await stage.boundingBox();
  for (const [k, [across, down]] of points.entries()) {
    await page.mouse.move(x + across * width, y + down * height, { steps: k ? 4 : 1 });
    if (!k) await page.mouse.down();
  }
  await page.mouse.up();
}

/** What the service has for the region: its two values, and which of the points (as shares of the sides) are inside. */
const kept = (page, name, points) => page.evaluate(async ([line, all]) => {
  const response = await fetch(`/v1/lines/${line}/region`);
  if (!response.ok) return null;
  const image = await createImageBitmap(await response.blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  const { data } = canvas.getContext("2d").getImageData(0, 0, image.width, image.height);
  const at = ([x, y]) => data[4 * (Math.floor(y * image.height) * image.width + Math.floor(x * image.width))] > 0;
  return { values: [...new Set(data)].sort((a, b) => a - b), inside: all.map(at) };
}, [name, points]);

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

    await page.getByText("Defects are looked for in all of the picture.").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "region-title");
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Go on" }).click();

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

  test("where defects are looked for is drawn, taken back, kept, and shown from then on", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40);
    await page.getByRole("button", { name: "Region", exact: true }).click();
    const words = page.locator(".region-step .selected");
    const share = async () => Number((await words.textContent()).match(/([\d.]+) %/)?.[1] ?? 100);
    await until(() => words.textContent(), "Defects are looked for in all of the picture.");
    await drag(page, [0.1, 0.1], [0.6, 0.9]);
    await until(share, (now) => now > 39 && now < 41, "a rectangle of 0.5 by 0.8");
    await page.getByRole("button", { name: "Erase" }).first().click();
    await page.getByRole("button", { name: "Outline" }).click();
    await drag(page, [0.1, 0.1], [0.6, 0.1], [0.6, 0.9], [0.1, 0.1]);
    await until(share, (now) => now > 19 && now < 21, "half of it is taken out");
    await page.getByRole("button", { name: "Brush" }).click();
    await page.getByRole("button", { name: "Add" }).first().click();
    await drag(page, [0.8, 0.2], [0.8, 0.8]);
    const stroked = await until(share, (now) => now > 23);
    await page.keyboard.press("Control+z");
    await until(share, (now) => now < stroked - 2, "the stroke is taken back");
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("button", { name: "Undo" }).click();
    await until(() => words.textContent(), "Defects are looked for in all of the picture.");
    assert.ok(await page.getByRole("button", { name: "Clear" }).isDisabled());
    // What is only taken out leaves the rest.
    await page.getByRole("button", { name: "Erase" }).first().click();
    await page.getByRole("button", { name: "Rectangle", exact: true }).click();
    await drag(page, [0.002, 0.002], [0.5, 1.2]);
    await until(share, (now) => now > 49 && now < 51);
    assert.deepEqual(await violations(page), []);
    assert.equal(made.region, null, "it is kept when a person goes on");
    await page.getByRole("button", { name: "Plan", exact: true }).click();
    await page.getByRole("radio", { name: /advised/ }).waitFor();
    await page.getByText("Defects are looked for in 50 % of the picture.").waitFor();
    await until(() => page.locator(".region-note img").evaluateAll((all) => all.length === 2 && all.every((image) => image.naturalWidth)), true, "the picture and what is outside");
    const points = [[0.25, 0.5], [0.49, 0.02], [0.51, 0.02], [0.75, 0.5]];
    assert.deepEqual(await kept(page, "lid", points), { values: [0, 255], inside: [false, false, true, true] });
    mock.drafts.step = 1;
    mock.drafts.train(made, { preset: "tiny", size: 128 });
    await page.getByRole("heading", { name: "What it finds" }).waitFor();
    await page.locator(".region-note .outside").waitFor();
    await page.locator(".found-suspects .outside").waitFor();
    assert.deepEqual(await violations(page), []);

    // It is still there after a reload, and can be changed and taken away.
    await page.reload();
    await live(page);
    await page.getByRole("button", { name: "Region", exact: true }).click();
    await until(share, 50);
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByRole("button", { name: "Go on" }).click();
    await page.getByRole("radio", { name: /advised/ }).waitFor();
    assert.equal(made.region, null);
    assert.ok(await page.locator(".region-note").isHidden());
  }));

  test("a region is made without a mouse", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40);
    const region = page.getByRole("button", { name: "Region", exact: true });
    await region.focus();
    await page.keyboard.press("Enter");
    await page.getByText("Defects are looked for in all of the picture.").waitFor();
    // From the heading on, everything is reached by the tabulator.
    const reached = [];
    for (let k = 0; k < 20 && reached.at(-1) !== "Go on"; k++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => (document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()));
    }
    assert.deepEqual(reached, ["Rectangle", "Outline", "Brush", "Add", "Erase", "Another picture", "Left", "Top", "Width", "Height", "Add", "Erase", "Go on"]);
    await inNumbers(page, [90, 90, 450, 720]);
    await page.getByText("Defects are looked for in 40 % of the picture.").waitFor();
    await page.keyboard.press("Control+z");
    await page.getByText("Defects are looked for in all of the picture.").waitFor();
    await inNumbers(page, [450, 0, 450, 900]);
    await page.getByRole("button", { name: "Go on" }).press("Enter");
    await page.getByRole("radio", { name: /advised/ }).waitFor();
    await page.getByText("Defects are looked for in 50 % of the picture.").waitFor();
    assert.deepEqual((await kept(page, "lid", [[0.49, 0.5], [0.51, 0.5]])).inside, [false, true]);
    assert.ok(made.region);
  }));

  test("tiles are offered for large pictures alone", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40);
    const plan = page.getByRole("button", { name: "Plan", exact: true });
    await plan.click();
    await page.getByRole("radio", { name: /advised/ }).waitFor();
    assert.equal(await page.getByRole("radio", { name: /tiles/ }).count(), 0);
    made.isLarge = true;
    await page.getByRole("button", { name: "Check", exact: true }).click();
    await plan.click();
    await page.getByRole("radio", { name: /30 min.*cut into tiles of 128 × 128 pixels/ }).check();
    await page.getByText("The pictures are large.").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Train", exact: true }).click();
    await page.getByText(/cut into tiles of 128/).waitFor();
    assert.deepEqual(made.plan, { preset: "tiny", size: 128, tile: true });
  }));

  test("dark pictures are told, and one click says what is white", () => on("", async (page, mock) => {
    const made = draft(mock, "lid", 40, { likely: { level: 4095, brightest: 3900, full: 65535 } });
    await page.reload();
    await live(page);
    await page.getByText("the brightest sample is 3900 of 65535. If the camera has 12 bits, 4095 is white.").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Take 4095 for white" }).click();
    await page.getByText("A sample of 4095 is white.").waitFor();
    assert.equal(made.white, 4095);
    await until(() => page.locator(".small-picks img").first().getAttribute("src"), (address) => address.endsWith("?white=4095"));
    assert.deepEqual(await violations(page), []);
    await page.locator(".white-level").getByRole("button", { name: "Undo" }).click();
    await page.getByText("the brightest sample is 3900").waitFor();
    assert.equal(made.white, null);
  }));

  test("pictures on their way can be stopped, and others are sent afterwards", () => on("#/new", async (page, mock) => {
    await begin(page, "lid");
    const path = folder(numbered(30));
    await page.locator("input[webkitdirectory]").setInputFiles(path);
    await until(() => mock.drafts.drafts.get("lid").goods.length, (count) => count > 0);
    mock.drafts.isSlow = true;
    await page.getByRole("button", { name: "Stop sending" }).click();
    await page.getByText(/^Stopped: \d+ of 30 were sent\.$/).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "pictures-title");
    assert.ok(await page.getByRole("button", { name: "Stop sending" }).isHidden());
    assert.deepEqual(await violations(page), []);
    mock.drafts.isSlow = false;
    await page.locator("input[webkitdirectory]").setInputFiles(path);
    await until(() => page.locator(".selected:visible").textContent(), (words) => parseInt(words, 10) >= 30, "the rest");
    assert.ok(await page.getByText(/^Stopped/).isHidden());
    rmSync(path, { recursive: true });
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
      for (const [name, wait] of [["Check", "2 of 40"], ["Region", "all of the picture"], ["Plan", "advised"]]) {
        await page.getByRole("button", { name, exact: true }).click();
        await page.getByText(wait).first().waitFor();
        if (name === "Region") await inNumbers(page, [100, 200, 300, 400]);
        await fits(name);
      }
      await page.locator(".region-note .outside").waitFor();
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
  await page.getByText("Defects are looked for in all of the picture.").waitFor();
  // From pixel 8 to pixel 120 of 128: a region ends between pixels.
  await drag(page, [0.0625, 0.0625], [0.9375, 0.9375]);
  await page.getByText("Defects are looked for in 77 % of the picture.").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("radio", { name: /advised/ }).waitFor({ timeout: 120_000 });
  await page.locator(".region-note .outside").waitFor();
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
