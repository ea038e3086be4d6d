// Files that a person drops or chooses, folders and all that is in them.

/** What systems leave in folders by themselves. */
const NOISE = /(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini)$/i;

const clean = (files) => files.filter(({ name, file }) => !NOISE.test(name) && file.size > 0).sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));

/** Of an input: each file with its path below the folder that was chosen. */
export const chosen = (input) => clean([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));

const asFile = (entry) => new Promise((done, failed) => entry.file(done, failed));
const some = (reader) => new Promise((done, failed) => reader.readEntries(done, failed));

async function walk(entry, found) {
  if (entry.isFile) found.push({ file: await asFile(entry), name: entry.fullPath.replace(/^\//, "") });
  if (!entry.isDirectory) return;
  const reader = entry.createReader();
  // A reader gives a hundred at a time.
  for (let entries = await some(reader); entries.length; entries = await some(reader)) {
    for (const one of entries) await walk(one, found);
  }
}

/** Of a drop. To be called while the event is handled: afterwards it holds nothing any more. */
export async function dropped(transfer) {
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return clean(files.map((file) => ({ file, name: file.name })));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return clean(found);
}
