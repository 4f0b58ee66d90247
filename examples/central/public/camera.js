// Which part of the world is on the canvas: it follows one's own comet, and turns points of the
// window into points of the world.

import {TILE} from "./board.js";

// The server shows what a page of this size has in sight, of which no more than a margin is beyond
// the edge of the world: see room.lua.
const MOST_WIDTH = 1880, MOST_HEIGHT = 940, MARGIN = 120;
const SMALLEST = 0.8; // of a unit's size in CSS pixels
const MOST_RATIO = 2; // of device pixels: more can't be seen in what moves

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Device pixels a CSS pixel, as the page paints them. */
export function pixelRatio() {
  return Math.min(devicePixelRatio || 1, MOST_RATIO);
}

// Keeps a side of what is in sight from showing more than a margin beyond the world.
function inside(center, half, size) {
  const least = half - MARGIN;
  return least > size - least ? size / 2 : Math.min(Math.max(center, least), size - least);
}

export class Camera {
  centerX = 2880;
  centerY = 1920;
  width = 1;   // of the canvas, device pixels
  height = 1;
  ratio = 1;   // device pixels a CSS pixel
  tile = TILE; // device pixels of a tile: a whole number, so that tiles meet
  scale = 1;   // device pixels a unit
  x = 0;       // where the world's corner is, device pixels
  y = 0;
  sight = {
    left: 0, top: 0, right: 0, bottom: 0,
    has(x, y, margin) {
      return x > this.left - margin && x < this.right + margin &&
        y > this.top - margin && y < this.bottom + margin;
    },
  };

  #shake = 0; // ms left

  /** Fits the canvas to the window. */
  fit(canvas) {
    const {clientWidth, clientHeight} = canvas;
    this.ratio = pixelRatio();
    this.width = canvas.width = Math.max(1, Math.round(clientWidth * this.ratio));
    this.height = canvas.height = Math.max(1, Math.round(clientHeight * this.ratio));
    const zoom = Math.max(SMALLEST, clientWidth / MOST_WIDTH, clientHeight / MOST_HEIGHT);
    this.tile = Math.round(TILE * zoom * this.ratio);
    this.scale = this.tile / TILE;
  }

  moveTo(x, y) {
    this.centerX = x;
    this.centerY = y;
  }

  shake() {
    if (!calm.matches) this.#shake = 260;
  }

  /** Follows a comet for so many ms, in a world of this size. */
  follow({x, y}, ms, world) {
    const share = calm.matches ? 1 : 1 - Math.exp(-ms * 0.007);
    const [halfX, halfY] = [this.width / this.scale / 2, this.height / this.scale / 2];
    this.centerX += (inside(x, halfX, world.width) - this.centerX) * share;
    this.centerY += (inside(y, halfY, world.height) - this.centerY) * share;
    this.#shake = Math.max(0, this.#shake - ms);
  }

  /** Settles for a frame what is where. */
  settle() {
    const jolt = this.#shake * 0.03 * this.ratio;
    this.x = Math.round(this.width / 2 - this.centerX * this.scale + jolt * Math.sin(this.#shake));
    this.y = Math.round(this.height / 2 - this.centerY * this.scale +
      jolt * Math.cos(this.#shake * 1.3));
    this.sight.left = -this.x / this.scale;
    this.sight.top = -this.y / this.scale;
    this.sight.right = (this.width - this.x) / this.scale;
    this.sight.bottom = (this.height - this.y) / this.scale;
  }

  /** The point of the world at a point of the window, CSS pixels. */
  toPoint(x, y) {
    return [(x * this.ratio - this.x) / this.scale, (y * this.ratio - this.y) / this.scale];
  }

  /** Lets a canvas be painted on in units of the world. */
  toWorld(context) {
    context.setTransform(this.scale, 0, 0, this.scale, this.x, this.y);
  }
}
