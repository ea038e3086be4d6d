// Numbers, times and verdicts in words.

/** The sign and the short word of each verdict. */
export const VERDICTS = {
  good: { kind: "ok", word: "OK" },
  defective: { kind: "bad", word: "NOT OK" },
  not_this_product: { kind: "strange", word: "Not this product" },
  error: { kind: "unread", word: "Cannot be read" },
};

export const kindOf = (verdict) => VERDICTS[verdict]?.kind ?? "unread";

export const wordOf = (verdict) => VERDICTS[verdict]?.word ?? verdict;

/** What a person said of a picture, seen from what the model said. */
export function labelWord(row) {
  if (!row.label) return "";
  if (row.verdict === "defective") return row.label === "good" ? "false alarm" : "really bad";
  return row.label === "good" ? "is good" : "was missed";
}

/** Whether the line asks a person about this picture. */
export const isAsked = (row) => row.verdict === "defective" || (row.audit && row.verdict === "good");

export function ago(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** A time that something takes, as people say it. */
export function lasting(seconds) {
  if (seconds < 45) return "under a minute";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${Math.max(1, minutes)} min`;
  const hours = minutes / 60;
  if (hours < 10) return minutes % 60 ? `${Math.floor(hours)} h ${minutes % 60} min` : `${hours} h`;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}

/** How a plan brings pictures to a network. */
export const sized = ({ size, tile }) => (tile ? `cut into tiles of ${size} × ${size} pixels` : `images at ${size} × ${size} pixels`);

/** A file's own name, without its folders. */
export const base = (name) => name.split("/").at(-1) || name;

/** Bytes as people say them. */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${Number((bytes / 1e6).toPrecision(2))} MB` : `${Number((bytes / 1e9).toPrecision(2))} GB`;
}

// One language on the page: the texts are English.
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const clock = (time) => CLOCK.format(new Date(time));

export const hourMinute = (time) => SHORT.format(new Date(time));

export const dayAndTime = (time) => DAY.format(new Date(time));

/** Three digits that count, as scores of different models differ by orders of magnitude. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  return Number(value) === 0 ? "0" : Number(Number(value).toPrecision(3)).toString();
}

/** A number above 0, not below what it is: a smaller p-value could be taken for that of a defect. */
export function notBelow(value) {
  const scale = 10 ** (2 - Math.floor(Math.log10(value)));
  return number(Math.ceil(value * scale * (1 - 1e-12)) / scale);
}

export function percent(share) {
  const value = share * 100;
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} %`;
}

export const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
