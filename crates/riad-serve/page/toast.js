// A short message at the edge of the page, above dialogs too.
import { setText } from "./dom.js";

let node = null;
let timer = null;

export function toast(words, seconds = 6) {
  node ??= document.getElementById("toast");
  clearTimeout(timer);
  // Shown anew, it lies above a dialog that was opened meanwhile.
  if (node.matches(":popover-open")) node.hidePopover();
  node.showPopover();
  setText(node, words);
  timer = setTimeout(() => node.hidePopover(), seconds * 1000);
}

/** Does `work`; if it fails, says why and gives null. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error.message);
    return null;
  }
}
