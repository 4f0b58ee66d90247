// The shared board: strokes, painted once into tiles of the world that are kept as pictures, so
// that a frame costs a few copies however much is drawn. A tile is painted again only when
// strokes on it go, or the scale or the theme changes.

import {color} from "./palette.js";

export const TILE = 480;       // units
const MOST_TILES = 40;         // pictures, of 0.9 to 4 MB each
const PAINT_MS = 5;            // a frame's time for painting tiles again
const CLOSE_AFTER = 1000;      // ms without new points: the stroke's end is painted, too

const middle = (points, i, axis) => (points[2 * i + axis] + points[2 * i + 2 + axis]) / 2;

// Adds the curve from point `from` on to the path: through the middles between points, so that
// corners are round. -1: from the beginning. With `isWhole` to the very last point.
function trace(context, points, from, isWhole) {
  const last = points.length / 2 - 1;
  if (from < 0) {
    context.moveTo(points[0], points[1]);
    if (last > 0) context.lineTo(middle(points, 0, 0), middle(points, 0, 1));
    from = 0;
  } else {
    context.moveTo(middle(points, from, 0), middle(points, from, 1));
  }
  for (let i = from + 1; i < last; i++) {
    context.quadraticCurveTo(points[2 * i], points[2 * i + 1],
      middle(points, i, 0), middle(points, i, 1));
  }
  if (isWhole) context.lineTo(points[2 * last] + 0.01, points[2 * last + 1]);
}

function pen(context, stroke) {
  context.strokeStyle = color(stroke.hue, "board");
  context.lineWidth = stroke.width;
  context.lineCap = context.lineJoin = "round";
}

export class Board {
  strokes = new Set(); // {serial, member, number, hue, width, points, painted, changed}
  version = 0;         // counts what changes the whole picture, for the map

  #bySerial = new Map();
  #last = 0;           // serial
  #open = new Set();   // strokes that somebody draws on: their ends are painted each frame
  #tiles = [];         // {strokes: Set, canvas, isStale, used}
  #pictures = 0;
  #columns = 1;
  #size = 0;           // pixels of a tile
  #frame = 0;

  /** Begins anew with a room, whose first patch hasn't come yet. */
  enter({state: {strokes}}, width, height) {
    this.#columns = Math.ceil(width / TILE);
    const rows = Math.ceil(height / TILE);
    this.strokes.clear();
    this.#bySerial.clear();
    this.#last = 0;
    this.#open.clear();
    this.#pictures = 0;
    this.#tiles = Array.from({length: this.#columns * rows}, () => ({strokes: new Set()}));
    this.version++;
    strokes.onAdd((stroke, serial, why) => this.#put(stroke, serial, why));
    strokes.onChange((stroke, serial) => this.#put(stroke, serial, "new"));
    strokes.onRemove((stroke, serial) => this.remove(this.#bySerial.get(serial)));
  }

  /** A stroke without points. One's own has no serial while it is drawn. */
  begin(member, number, hue, width, serial) {
    const stroke = {member, number, hue, width, serial, points: [], painted: -1, changed: 0};
    this.strokes.add(stroke);
    if (serial) this.#bySerial.set(serial, stroke);
    return stroke;
  }

  // What the server has of a stroke, which begins with what was there before.
  #put({member, number, hue, width, points}, serial, why) {
    const stroke = this.#bySerial.get(serial) ?? this.begin(member, number, hue, width, serial);
    const now = why === "new" ? performance.now() : 0;
    this.extend(stroke, points.slice(stroke.points.length), now);
    if (serial < this.#last) this.#raise(serial);
    this.#last = Math.max(this.#last, serial);
  }

  extend(stroke, points, now) {
    const {points: all} = stroke;
    const before = Math.max(0, all.length - 4); // the last segment may bend yet
    for (const value of points) all.push(value);
    stroke.changed = now;
    this.#open.add(stroke);
    this.#cover(stroke, before);
    const last = all.length / 2 - 1;
    if (last < 1 || last - 1 === stroke.painted) return stroke;
    this.#paintFrom(stroke, before, false);
    stroke.painted = last - 1;
    return stroke;
  }

  // Later strokes belong above.
  #raise(serial) {
    const later = [...this.strokes].filter(other => other.serial > serial)
      .sort((a, b) => a.serial - b.serial);
    for (const other of later) {
      this.strokes.delete(other);
      this.strokes.add(other);
      for (const tile of this.#tilesOf(other)) {
        tile.strokes.delete(other);
        tile.strokes.add(other);
        tile.isStale = true;
      }
    }
  }

  /** All is to be painted again, because the colours have changed. */
  repaint() {
    for (const tile of this.#tiles) tile.isStale = true;
    this.version++;
  }

  /** Takes a stroke off. */
  remove(stroke) {
    if (!this.strokes.delete(stroke)) return;
    this.#bySerial.delete(stroke.serial);
    this.#open.delete(stroke);
    for (const tile of this.#tilesOf(stroke)) {
      tile.strokes.delete(stroke);
      tile.isStale = true;
    }
    this.version++;
  }

  #tilesOf(stroke) {
    return this.#tiles.filter(tile => tile.strokes.has(stroke));
  }

  // Calls fn with the tiles that points from an index on may touch.
  #each(stroke, from, fn) {
    const {points, width} = stroke;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = from; i < points.length; i += 2) {
      left = Math.min(left, points[i]);
      right = Math.max(right, points[i]);
      top = Math.min(top, points[i + 1]);
      bottom = Math.max(bottom, points[i + 1]);
    }
    const cell = value => Math.floor(value / TILE);
    const lastX = Math.min(this.#columns - 1, cell(right + width));
    const lastY = Math.min(this.#tiles.length / this.#columns - 1, cell(bottom + width));
    for (let y = Math.max(0, cell(top - width)); y <= lastY; y++) {
      for (let x = Math.max(0, cell(left - width)); x <= lastX; x++) {
        fn(this.#tiles[y * this.#columns + x], x, y);
      }
    }
  }

  // Long lists are covered a few points at a time, or a large circle would be on all tiles in it.
  #cover(stroke, from) {
    const {points} = stroke;
    for (let i = from; i < points.length; i += 16) {
      const part = {points: points.slice(Math.max(0, i - 2), i + 18), width: stroke.width};
      this.#each(part, 0, tile => tile.strokes.add(stroke));
    }
  }

  // Paints what is new of a stroke into the tiles that have a picture.
  #paintFrom(stroke, before, isWhole) {
    this.#each(stroke, before, (tile, x, y) => {
      if (tile.canvas && !tile.isStale) this.#paint(tile, x, y, [stroke], stroke.painted, isWhole);
    });
  }

  #paint(tile, x, y, strokes, from, isWhole) {
    const context = tile.canvas.getContext("2d");
    const scale = this.#size / TILE;
    context.setTransform(scale, 0, 0, scale, -x * this.#size, -y * this.#size);
    for (const stroke of strokes) {
      const {points} = stroke;
      if (points.length < 2) continue;
      pen(context, stroke);
      context.beginPath();
      trace(context, points, from, isWhole ?? !this.#open.has(stroke));
      context.stroke();
    }
  }

  // The end of a stroke is painted into the tiles. Where others were drawn over it meanwhile,
  // the tiles are painted again, so that all see the same one above.
  #close(stroke) {
    this.#open.delete(stroke);
    this.#paintFrom(stroke, Math.max(0, stroke.points.length - 4), true);
    for (const tile of this.#tilesOf(stroke)) {
      if (tile.canvas && [...tile.strokes].at(-1) !== stroke) tile.isStale = true;
    }
  }

  #picture(tile, x, y) {
    if (!tile.canvas) {
      if (this.#pictures >= MOST_TILES) this.#dropPicture();
      tile.canvas = document.createElement("canvas");
      this.#pictures++;
    }
    tile.canvas.width = tile.canvas.height = this.#size; // this clears it
    tile.isStale = false;
    this.#paint(tile, x, y, tile.strokes, -1);
  }

  #dropPicture() {
    let oldest;
    for (const tile of this.#tiles) {
      if (tile.canvas && (!oldest || tile.used < oldest.used)) oldest = tile;
    }
    oldest.canvas = undefined;
    this.#pictures--;
  }

  /**
   * Paints what is in sight. The view's tiles are whole numbers of pixels wide and at whole
   * pixels, so a picture is copied as it is.
   */
  show(context, view, now) {
    if (this.#size !== view.tile) {
      this.#size = view.tile;
      this.repaint();
    }
    this.#frame++;
    const until = performance.now() + PAINT_MS;
    const {left, top, right, bottom} = view.sight;
    const sight = {points: [left, top, right, bottom], width: 0};
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.#each(sight, 0, (tile, x, y) => {
      if (tile.strokes.size === 0 && !tile.canvas) return;
      if ((!tile.canvas || tile.isStale) && performance.now() < until) this.#picture(tile, x, y);
      if (!tile.canvas) return;
      tile.used = this.#frame;
      context.drawImage(tile.canvas, view.x + x * this.#size, view.y + y * this.#size,
        this.#size, this.#size); // a stale picture may be of another size
    });
    view.toWorld(context);
    for (const stroke of this.#open) this.#showEnd(context, stroke, now);
  }

  #showEnd(context, stroke, now) {
    if (stroke.points.length < 2) return;
    if (now - stroke.changed > CLOSE_AFTER) this.#close(stroke);
    pen(context, stroke);
    context.beginPath();
    trace(context, stroke.points, stroke.painted, true);
    context.stroke();
  }
}
