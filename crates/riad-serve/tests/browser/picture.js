// Pictures for the mock: a metal lid seen from above, as PNG, made of arithmetic alone.
import { deflateSync } from "node:zlib";

function crc(bytes) {
  let c = ~0;
  for (const byte of bytes) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return ~c >>> 0;
}

function chunk(type, data) {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, "latin1");
  data.copy(out, 8);
  out.writeUInt32BE(crc(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

/** `paint(x, y)` gives [r, g, b] for x and y from 0 to 1. */
export function png(width, height, paint) {
  const raw = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const rgb = paint((x + 0.5) / width, (y + 0.5) / height);
      for (let k = 0; k < 3; k++) raw[y * (1 + 3 * width) + 1 + 3 * x + k] = Math.max(0, Math.min(255, rgb[k]));
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(raw)), chunk("IEND", Buffer.alloc(0))]);
}

/** How strongly a defect shows at a point, 0 to 1. */
function anomaly(defects, x, y) {
  let sum = 0;
  for (const d of defects) sum += Math.exp(-(((x - d.x) / d.rx) ** 2 + ((y - d.y) / d.ry) ** 2));
  return Math.min(1, sum);
}

function lid(defects, turn) {
  return (x, y) => {
    const dx = x - 0.5;
    const dy = y - 0.5;
    const r = Math.hypot(dx, dy);
    const angle = Math.atan2(dy, dx) + turn;
    const grain = Math.sin(x * 913 + y * 77) * Math.sin(y * 811 - x * 53) * 5;
    let v = 30 + 22 * (1 - y);
    if (r < 0.44) {
      v = 150 + 34 * Math.cos(2 * angle) + 9 * Math.sin(r * 260);
      if (r > 0.4) v = 96 + 46 * Math.cos(angle * 36);
      if (Math.abs(r - 0.3) < 0.012) v += 46;
      if (r < 0.1) v = 122 + 200 * r;
    }
    const a = anomaly(defects, x, y) * (r < 0.44 ? 1 : 0);
    return [v + grain - 118 * a, v + grain - 132 * a, v + grain + 5 - 150 * a];
  };
}

const heat = (a) => [255 * Math.min(1, a * 1.8), 255 * Math.max(0, a * 1.6 - 0.5), 255 * (a < 0.4 ? 0.25 + a * 0.6 : 0.5 * (1 - a))];

/** The picture, its overlay and its heat map, for `kind` "image", "overlay" or "heat-map". */
export function picture(kind, { verdict, defects, turn }, size) {
  if (verdict === "not_this_product") return png(size, size, (x, y) => [14 + 8 * x, 14 + 8 * y, 16]);
  const base = lid(defects, turn);
  if (kind === "image") return png(size, size, base);
  return png(size, size, (x, y) => {
    const a = Math.max(0.04, anomaly(defects, x, y));
    const h = heat(a);
    if (kind === "heat-map") return h;
    return base(x, y).map((v, k) => v * (1 - 0.7 * a) + h[k] * 0.7 * a);
  });
}
