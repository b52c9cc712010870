// Superpixels over a picture: their location and their drawing.

import { percent } from "./words.js";

const VEIL = [12, 12, 16, 150];
const FILL = 95;
const PALE = 35;

/** The segment of every pixel, decoded from the PNG in an answer. */
export class Segments {
  static async decode({ map, width, height, count }) {
    const bytes = Uint8Array.from(atob(map), (character) => character.charCodeAt(0));
    // The colours encode numbers, so the browser must not correct them.
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    const context = canvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const at = new Uint32Array(width * height);
    for (let i = 0; i < at.length; i++) {
      at[i] = data[4 * i] | (data[4 * i + 1] << 8) | (data[4 * i + 2] << 16);
      // Some browsers add noise to what a canvas returns, to prevent fingerprinting.
      if (at[i] >= count) {
        throw new Error("this browser changed the map of superpixels; allow canvas access here");
      }
    }
    return new Segments(at, width, height, count);
  }

  constructor(at, width, height, count) {
    Object.assign(this, { at, width, height, count });
    this.centres = this.#centres();
  }

  #outlines = new Map();

  /** The segment at a point; x and y go from 0 to 1. */
  under(x, y) {
    const column = Math.min(Math.floor(x * this.width), this.width - 1);
    return this.at[Math.min(Math.floor(y * this.height), this.height - 1) * this.width + column];
  }

  /** The location of a segment in words, and its share of the image. */
  where(segment) {
    const { x, y, pixels } = this.centres[segment];
    const row = ["top", "", "bottom"][Math.floor((3 * y) / this.height)];
    const column = ["left", "", "right"][Math.floor((3 * x) / this.width)];
    const location = [row, column].filter(Boolean).join(" ") || "centre";
    return `${location}, ${percent(pixels / this.at.length)}`;
  }

  /** Each segment's size, and its pixel that is farthest from the segment's edge. */
  #centres() {
    const depth = this.#depth();
    const centres = Array.from({ length: this.count }, () => ({ x: 0, y: 0, depth: 0, pixels: 0 }));
    this.at.forEach((segment, i) => {
      const centre = centres[segment];
      centre.pixels++;
      if (depth[i] <= centre.depth) return;
      Object.assign(centre, { depth: depth[i], x: i % this.width, y: Math.floor(i / this.width) });
    });
    return centres;
  }

  /** Each pixel's distance from its segment's edge, by a forward and a backward pass. */
  #depth() {
    const { at, width, height } = this;
    const depth = new Uint16Array(at.length);
    const settle = (i, inside, ...adjacent) => {
      const near = (j) => (at[j] === at[i] ? depth[j] : 0);
      depth[i] = inside ? 1 + Math.min(...adjacent.map(near)) : 1;
    };
    for (let i = 0; i < at.length; i++) settle(i, i >= width && i % width, i - 1, i - width);
    for (let i = at.length - 1; i >= 0; i--) {
      const forward = depth[i];
      settle(i, i < (height - 1) * width && (i + 1) % width, i + 1, i + width);
      depth[i] = Math.min(depth[i], forward);
    }
    return depth;
  }

  /** A segment's outline, by marching squares, which cut the corners of its pixels. */
  outline(segment) {
    if (!this.#outlines.has(segment)) this.#outlines.set(segment, this.#trace(segment));
    return this.#outlines.get(segment);
  }

  #trace(segment) {
    const { at, width, height } = this;
    const inside = (x, y) =>
      x >= 0 && y >= 0 && x < width && y < height && at[y * width + x] === segment ? 1 : 0;
    const path = new Path2D();
    for (let y = -1; y < height; y++) {
      for (let x = -1; x < width; x++) {
        const corners = [inside(x, y), inside(x + 1, y), inside(x + 1, y + 1), inside(x, y + 1)];
        const which = corners.reduce((bits, corner, i) => bits | (corner << i), 0);
        const middles = [[x + 1, y + 0.5], [x + 1.5, y + 1], [x + 1, y + 1.5], [x + 0.5, y + 1]];
        for (const [from, to] of LINES[which]) {
          path.moveTo(...middles[from]);
          path.lineTo(...middles[to]);
        }
      }
    }
    return path;
  }
}

// For each combination of four adjacent pixels inside: the lines between the middles of the sides
// (top, right, bottom, left) of the square between these pixels.
const LINES = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[0, 2]], [[0, 1], [2, 3]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
];

/**
 * Draw `shown`, `[{segment, weight, direction, mark, uncertain}]`, over a whole canvas.
 * Superpixels whose rank is uncertain are pale and dashed.
 */
export function draw(target, segments, shown, marked) {
  const context = target.getContext("2d");
  const { width, height } = target;
  const scale = new DOMMatrix().scale(width / segments.width, height / segments.height);
  const unit = width / target.clientWidth;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(tints(segments, shown), 0, 0, width, height);
  context.lineCap = "round";
  // The marked superpixel is drawn once more, on top of the others.
  const inOrder = [...shown, ...shown.filter(({ segment }) => segment === marked)];
  for (const item of inOrder) {
    const line = item.segment === marked ? 4 : 2;
    const outline = new Path2D();
    outline.addPath(segments.outline(item.segment), scale);
    // White and black beside the line: one of them differs from any picture.
    stroke(context, outline, "#1b1a18", (line + 4) * unit);
    stroke(context, outline, "#fff", (line + 2) * unit);
    const ink = colour(item.weight);
    stroke(context, outline, item.uncertain ? dashes(context, ink, unit) : ink, line * unit);
  }
  for (const item of inOrder) badge(context, segments, item, scale, unit);
}

// The colours of pintag.explain.style, and ink that is legible on each.
const PRO = "#0072b2";
const CON = "#d55e00";
const INK_ON = { [PRO]: "#fff", [CON]: "#000" };

function colour(weight) {
  return weight < 0 ? CON : PRO;
}

/** Diagonal stripes. Canvas dashes do not work: an outline is many short lines, and each would restart them. */
function dashes(context, ink, unit) {
  const side = 2 * Math.round(6 * unit);
  const tile = canvas(side, side);
  const stripes = tile.getContext("2d");
  stripes.fillStyle = "#fff";
  stripes.fillRect(0, 0, side, side);
  stripes.fillStyle = ink;
  for (let x = 0; x < side; x++) {
    for (let y = 0; y < side; y++) {
      if ((x + y) % side < side / 2) stripes.fillRect(x, y, 1, 1);
    }
  }
  return context.createPattern(tile, "repeat");
}

/** An image of the map's size: a tint over the shown superpixels, a dark veil over the others. */
function tints(segments, shown) {
  const colours = Array(segments.count).fill(VEIL);
  for (const { segment, weight, uncertain } of shown) {
    colours[segment] = [...rgb(colour(weight)), uncertain ? PALE : FILL];
  }
  const image = new ImageData(segments.width, segments.height);
  segments.at.forEach((segment, i) => image.data.set(colours[segment], 4 * i));
  const tinted = canvas(segments.width, segments.height);
  tinted.getContext("2d").putImageData(image, 0, 0);
  return tinted;
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function stroke(context, path, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.stroke(path);
}

/** The mark of a superpixel, on its centre. */
function badge(context, segments, { segment, weight, direction, mark }, scale, unit) {
  const centre = segments.centres[segment];
  const { width, height } = context.canvas;
  const point = scale.transformPoint({ x: centre.x + 0.5, y: centre.y + 0.5 });
  context.font = `600 ${12 * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const own = colour(weight);
  const [ground, ink] = direction === "either" ? ["#fff", "#1b1a18"] : [own, INK_ON[own]];
  const border = direction === "either" ? own : ink;
  const half = context.measureText(mark).width / 2 + 5 * unit;
  // Keep the badge inside the picture.
  const x = Math.min(Math.max(point.x, half + unit), width - half - unit);
  const y = Math.min(Math.max(point.y, 10 * unit), height - 10 * unit);
  const pill = new Path2D();
  pill.roundRect(x - half, y - 9 * unit, 2 * half, 18 * unit, 9 * unit);
  context.fillStyle = ground;
  context.fill(pill);
  stroke(context, pill, border, 1.5 * unit);
  context.fillStyle = ink;
  context.fillText(mark, x, y + unit / 2);
}

function canvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
