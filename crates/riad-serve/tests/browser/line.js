// One look at the page of a line that works: node line.js URL SCREENSHOT. Shows the last verdict, and calls a reject a false alarm.
import assert from "node:assert/strict";
import { launch, live, openPage, until } from "./helpers.js";

const [url, screenshot] = process.argv.slice(2);
const get = async (path) => (await fetch(url + path)).json();
const line = (await get("/v1/lines")).lines[0].name;
const base = `/v1/lines/${encodeURIComponent(line)}`;
const [last] = (await get(`${base}/inspections?limit=1`)).inspections;
const [reject] = (await get(`${base}/inspections?limit=1&verdict=defective`)).inspections;

const browser = await launch();
const front = await openPage(browser, url, "", { size: "1920x1080" });
await live(front.page);
await until(() => front.page.locator(".stage img").getAttribute("alt"), (words) => words.startsWith(`Picture ${last.id}:`));
const title = await front.page.locator(".verdict .title").textContent();
assert.equal(title, { good: "OK", defective: "NOT OK" }[last.verdict]);
await front.page.screenshot({ path: screenshot });
await front.close();

const large = await openPage(browser, url, `#/line/${encodeURIComponent(line)}/picture/${reject.id}`);
await large.page.waitForSelector("dialog.detail[open]");
await large.page.getByRole("button", { name: "False alarm", exact: false }).first().click();
await until(async () => (await get(`${base}/inspections/${reject.id}`)).label, "good");
await large.close();
await browser.close();
console.log(`the page says ${title} of picture ${last.id}; picture ${reject.id} was called a false alarm there`);
