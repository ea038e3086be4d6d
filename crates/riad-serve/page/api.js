// The calls of the HTTP interface. Whatever goes wrong comes out as an ApiError whose message a person can read.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const WORDS = {
  400: "The service did not accept this.",
  403: "The service does not allow this from here.",
  404: "The service does not have this; it may have been deleted.",
  413: "The picture is too large.",
  422: "The picture cannot be read.",
  503: "The service is busy. Try again in a moment.",
  504: "The service took too long.",
};

/** The status of a call that somebody has stopped. */
export const ABORTED = -1;

let leaving = false;

/** As a sentence: the service writes its reasons small and without a full stop. */
const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…]$/.test(words) ? "" : ".");

async function ask(path, { wait, until, ...request }, again) {
  const late = AbortSignal.timeout(wait);
  try {
    const response = await fetch(path, { ...request, signal: until ? AbortSignal.any([late, until]) : late, cache: "no-store" });
    if (response.status === 204) return { response, answer: true };
    return { response, answer: await response.json().catch(() => null) };
  } catch (error) {
    if (until?.aborted) throw new ApiError("Stopped.", ABORTED);
    if (error.name === "TimeoutError") throw new ApiError("The service does not answer in time.", 0);
    if (!again) throw new ApiError("The service cannot be reached.", 0);
    // Reading may be done twice: a connection that was closed just then is no reason to show nothing.
    await new Promise((done) => setTimeout(done, 200));
    return ask(path, { wait, until, ...request }, false);
  }
}

async function call(path, { method = "GET", body, headers, wait = 20_000, until, also = [] } = {}) {
  const { response, answer } = await ask(path, { method, body, headers, wait, until }, method === "GET");
  if (response.status === 401) {
    if (!leaving) location.assign("/login");
    leaving = true; // several calls may be refused at once
    throw new ApiError("Please sign in.", 401);
  }
  if ((response.ok && answer) || (also.includes(response.status) && answer?.id)) return answer;
  throw new ApiError(answer?.error ? sentence(answer.error) : (WORDS[response.status] ?? `The service failed (${response.status}).`), response.status);
}

const send = (path, method, value) =>
  call(path, { method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

const of = (line) => `/v1/lines/${encodeURIComponent(line)}`;

/** `lines`, and `being_made`. */
export const lines = (wait) => call("/v1/lines", { wait });

/** `query` filters, as the contract names them: verdict, label, audit, unanswered, before, limit. */
export const inspections = (line, query) => call(`${of(line)}/inspections?${new URLSearchParams(query)}`);

export const inspection = (line, id) => call(`${of(line)}/inspections/${id}`);

export const scores = async (line, limit) => (await call(`${of(line)}/scores?limit=${limit}`)).scores;

export const label = (line, id, value) => send(`${of(line)}/inspections/${id}/label`, "PUT", { label: value });

export const versions = async (line) => (await call(`${of(line)}/versions`)).versions;

export const makeVersion = (line, how, ids) => send(`${of(line)}/versions`, "POST", { how, inspections: ids });

export const useVersion = (line, version) => call(`${of(line)}/versions/${version}/use`, { method: "POST" });

export const newShift = (line) => call(`${of(line)}/shift`, { method: "POST" });

export const beginLine = (name) => send("/v1/lines", "POST", { name });

export const deleteLine = (line) => call(of(line), { method: "DELETE" });

/** How the making of a line goes. */
export const making = (line) => call(`${of(line)}/making`);

export const pictures = (line, query) => call(`${of(line)}/pictures?${new URLSearchParams(query)}`);

/** Gives a line a good picture, until a signal says otherwise; what it holds is looked at, not what it is called. */
export const addPicture = (line, file, name, until) =>
  call(`${of(line)}/pictures`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream", "X-Filename": encodeURIComponent(name) },
    wait: 120_000,
    until,
  });

export const removePicture = (line, id) => call(`${of(line)}/pictures/${id}`, { method: "DELETE" });

/** The address of a good picture, as large as a screen. */
export const pictureImage = (line, id) => `${of(line)}/pictures/${id}/image`;

/** Has defects looked for only where a PNG is white. */
export const setRegion = (line, png) => call(`${of(line)}/region`, { method: "PUT", body: png, headers: { "Content-Type": "image/png" }, wait: 120_000 });

export const removeRegion = (line) => call(`${of(line)}/region`, { method: "DELETE" });

/** Which sample value is white in the files; null for the largest that they can have. */
export const setWhiteLevel = (line, level) => send(`${of(line)}/white-level`, "PUT", { white_level: level });

/** Looks through all pictures, which takes a while with many. */
export const suspects = (line) => call(`${of(line)}/suspects`, { wait: 600_000 });

/** Measures the machine the first time. */
export const plans = (line) => call(`${of(line)}/plans`, { wait: 120_000 });

export const train = (line, plan) => send(`${of(line)}/train`, "POST", plan);

export const stopTraining = (line) => call(`${of(line)}/train`, { method: "DELETE" });

export const putOnLine = (line) => call(`${of(line)}/use`, { method: "POST", wait: 60_000 });

/** Scores a file. One that cannot be read is an answer too, with the verdict `error`. */
export const inspect = (line, file) =>
  call(`${of(line)}/inspect?source=page`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream", "X-Filename": encodeURIComponent(file.name) },
    wait: 60_000,
    also: [422],
  });

/** The next page of a list, by the address that came with it. */
export const follow = (next) => call(new URL(next, location.href).pathname + new URL(next, location.href).search);
