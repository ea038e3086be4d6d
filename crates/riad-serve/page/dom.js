// Making and filling elements. Text goes in as text nodes only: names and reasons come from outside.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** One of the signs of index.html; they differ in shape, so that nobody needs the colour. */
export function sign(kind) {
  const use = svg("use", { href: `#sign-${kind}` });
  return svg("svg", { class: "sign", viewBox: "0 0 100 100", "aria-hidden": "true", focusable: "false" }, use);
}

export function setSign(node, kind) {
  const href = `#sign-${kind}`;
  if (node.firstChild.getAttribute("href") !== href) node.firstChild.setAttribute("href", href);
}

/** Writes only what differs: an unchanged text must not be read out or laid out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Runs `render` at most once in `gap` ms; the last call is never lost. By a timer, as a page in the background gets no
 * frames but still shows the verdict in its title.
 */
export function paced(render, gap = 16) {
  let waiting = false;
  let last = -Infinity;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      last = performance.now();
      render();
    }, Math.max(0, last + gap - performance.now()));
  };
}
