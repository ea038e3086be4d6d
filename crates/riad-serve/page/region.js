// The region of a picture in which defects are looked for: a mask, and the shapes that a person adds to it or takes out of it.

const SIDE = 1024; // the longer side of a mask, in its pixels
const SMALL = 320; // the same of one that lies over a small picture
const MOST = 200; // shapes that can be undone

const canvas = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

/** The size of a mask of pictures of this size. */
function fitted({ width, height }, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** A mask of the service, white inside, as a canvas that is opaque inside. */
async function loaded(address, side) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const { width, height } = fitted({ width: image.naturalWidth, height: image.naturalHeight }, side);
  const mask = canvas(width, height);
  const context = mask.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  for (let k = 0; k < pixels.data.length; k += 4) pixels.data[k + 3] = pixels.data[k];
  context.putImageData(pixels, 0, 0);
  return mask;
}

/** Paints over a picture what is outside, and a line around what is inside; `line` is its width in pixels. */
export function paintOver(target, mask, line) {
  const { width, height } = target;
  const context = target.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.fillStyle = hatching(context, line);
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(mask, 0, 0, width, height);
  const edge = canvas(width, height);
  const around = edge.getContext("2d");
  for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7]]) around.drawImage(mask, x * line, y * line, width, height);
  around.globalCompositeOperation = "source-in";
  around.fillStyle = "#ffd34d";
  around.fillRect(0, 0, width, height);
  around.globalCompositeOperation = "destination-out";
  around.drawImage(mask, 0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.drawImage(edge, 0, 0);
}

/** Dark and bright at once, so that it is seen on any picture. */
function hatching(context, line) {
  const side = Math.max(6, Math.round(6 * line));
  const tile = canvas(side, side);
  const pen = tile.getContext("2d");
  pen.fillStyle = "#0009";
  pen.fillRect(0, 0, side, side);
  pen.strokeStyle = "#fff9";
  pen.lineWidth = side / 8;
  pen.beginPath();
  for (const shift of [-side, 0, side]) {
    pen.moveTo(shift - 1, side + 1);
    pen.lineTo(shift + side + 1, -1);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

export class Region {
  /** For pictures of this size, in pixels; all of it is inside. */
  constructor(size) {
    this.size = size;
    Object.assign(this, { base: null, shapes: [], mask: canvas(...Object.values(fitted(size, SIDE))) });
  }

  /** Takes the mask that the service keeps, or none, for all that was drawn. */
  async take(address) {
    this.shapes = [];
    this.base = address ? await loaded(address, SIDE) : null;
    this.draw();
  }

  /** Whether all of the picture is inside because nothing was drawn. */
  get isAll() {
    return !this.base && !this.shapes.length;
  }

  /**
   * A shape has `points` in pixels of the picture, and `erase` if it is taken out. With a `width` it is a stroke, otherwise the area
   * within.
   */
  add(shape) {
    this.shapes.push(shape);
    this.draw();
    if (this.shapes.length <= MOST) return;
    const first = this.shapes.shift();
    const base = this.begun(canvas(this.mask.width, this.mask.height), first);
    this.trace(base.getContext("2d"), first);
    this.base = base;
  }

  undo() {
    this.shapes.pop();
    this.draw();
  }

  clear() {
    Object.assign(this, { base: null, shapes: [] });
    this.draw();
  }

  /** Brings the mask up to date, with a shape that is not finished. */
  draw(pending = null) {
    const shapes = pending ? [...this.shapes, pending] : this.shapes;
    this.begun(this.mask, shapes[0]);
    const context = this.mask.getContext("2d", { willReadFrequently: true });
    for (const shape of shapes) this.trace(context, shape);
  }

  /** What the first shape is drawn on: if there is nothing yet, an area is added to nothing, and taken out of everything. */
  begun(mask, first) {
    const context = mask.getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, mask.width, mask.height);
    if (this.base) context.drawImage(this.base, 0, 0, mask.width, mask.height);
    else if (!first || first.erase) context.fillRect(0, 0, mask.width, mask.height);
    return mask;
  }

  trace(context, { points, erase, width }) {
    const [across, down] = [this.mask.width / this.size.width, this.mask.height / this.size.height];
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x * across, y * down);
    if (!width) return context.fill();
    Object.assign(context, { lineWidth: width * across, lineCap: "round", lineJoin: "round" });
    // A line of one point has no length, and is not drawn.
    if (points.length === 1) context.lineTo(points[0][0] * across + 0.01, points[0][1] * down);
    return context.stroke();
  }

  pixels() {
    return this.mask.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, this.mask.width, this.mask.height);
  }

  /** How much of the picture is inside, from 0 to 1. */
  get share() {
    const { data } = this.pixels();
    let inside = 0;
    for (let k = 3; k < data.length; k += 4) inside += data[k] > 127;
    return (4 * inside) / data.length;
  }

  /** As a PNG of two values, white inside: edges are not to be soft. */
  toPng() {
    const pixels = this.pixels();
    const { data } = pixels;
    for (let k = 0; k < data.length; k += 4) data.fill(data[k + 3] > 127 ? 255 : 0, k, k + 3).fill(255, k + 3, k + 4);
    const copy = canvas(pixels.width, pixels.height);
    copy.getContext("2d").putImageData(pixels, 0, 0);
    return new Promise((done) => copy.toBlob(done, "image/png"));
  }
}

const over = { address: null, url: null };

/** The address of a picture that lies over a small picture of the line, to show what is outside; one at a time is kept. */
function overlay(address) {
  if (over.address !== address) {
    over.url?.then(URL.revokeObjectURL, () => {});
    over.address = address;
    over.url = loaded(address, SMALL).then((mask) => {
      const target = canvas(mask.width, mask.height);
      paintOver(target, mask, 2);
      return new Promise((done) => target.toBlob((blob) => done(URL.createObjectURL(blob)), "image/png"));
    });
  }
  return over.url;
}

/** Puts what is outside over the small pictures of a list, or takes it away: `img` in `.framed`. */
export async function coverAll(node, region) {
  const address = region?.mask ?? null;
  const frames = [...node.querySelectorAll(".framed")].filter((frame) => (frame.dataset.region ?? null) !== address);
  if (!frames.length) return;
  const url = address ? await overlay(address).catch(() => null) : null;
  for (const frame of frames) {
    frame.querySelector(".outside")?.remove();
    delete frame.dataset.region;
    if (!url) continue;
    frame.dataset.region = address;
    const image = new Image();
    Object.assign(image, { className: "outside", alt: "", src: url });
    frame.append(image);
  }
}
