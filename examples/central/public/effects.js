// What lasts a moment: rings, bits that fly, numbers that rise. Each begins at a time of the
// world that is shown, and what has ended is forgotten; there are never more than MOST.

import {color} from "./palette.js";

const MOST = 400;
const LASTS = {ring: 600, bit: 700, number: 1400}; // ms

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Effects {
  #all = [];

  #add(kind, begin, hue, more) {
    if (this.#all.length < MOST) this.#all.push({kind, begin, hue, ...more});
  }

  ring(x, y, hue, begin, radius) {
    this.#add("ring", begin, hue, {x, y, radius});
  }

  burst(x, y, hue, begin, count, speed) {
    if (calm.matches) return;
    for (let i = 0; i < count; i++) {
      const angle = Math.random() * 2 * Math.PI;
      const fast = speed * (0.3 + 0.7 * Math.random());
      this.#add("bit", begin, hue, {x, y, dx: Math.cos(angle) * fast, dy: Math.sin(angle) * fast});
    }
  }

  number(x, y, hue, begin, text) {
    this.#add("number", begin, hue, {x, y, text});
  }

  paint(context, time, sight) {
    this.#all = this.#all.filter(each => time < each.begin + LASTS[each.kind]);
    for (const each of this.#all) {
      const age = (time - each.begin) / LASTS[each.kind];
      if (age < 0 || !sight.has(each.x, each.y, 200)) continue;
      PAINT[each.kind](context, each, 1 - (1 - age) ** 3, 1 - age);
    }
  }
}

const PAINT = {
  ring(context, {x, y, hue, radius}, way, left) {
    context.strokeStyle = color(hue, "glow", 0.8 * left);
    context.lineWidth = 1 + 5 * left;
    context.beginPath();
    context.arc(x, y, calm.matches ? radius * 0.6 : 12 + radius * way, 0, 7);
    context.stroke();
  },
  bit(context, {x, y, dx, dy, hue}, way, left) {
    context.fillStyle = color(hue, "glow", left);
    context.beginPath();
    context.arc(x + dx * way, y + dy * way, 1 + 3 * left, 0, 7);
    context.fill();
  },
  number(context, {x, y, text, hue}, way, left) {
    context.font = "700 20px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillStyle = color(hue, "ink", Math.min(1, 2 * left));
    context.fillText(text, x, y - 30 - (calm.matches ? 0 : 40 * way));
  },
};
