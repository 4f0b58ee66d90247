// Pointers and keys, made into what one wants: to point somewhere, to dash, to draw.
//
// The mouse aims all the time, a finger while it is down. Keys steer from the comet on. While
// drawing the comet rests, unless keys steer it, and Space draws where it is.

const AIM_MS = 50;      // 20 a second at most
const AHEAD = 420;      // units before the comet that keys aim at
const STEER = {
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
};

export class Input {
  tool = "fly";
  aim;                    // the point of the world that is aimed at

  #canvas;
  #parts;                 // {camera, world, pen, net}
  #actions;               // {dash(), chat(), tool(name), pointed()}
  #pointers = new Map();  // id -> {x, y}: fingers and buttons that are down
  #pointer;               // where one points in the window; undefined: nowhere
  #keys = new Set();      // that steer
  #hasSteered = false;
  #sent = [NaN, NaN];
  #sentAt = 0;

  constructor(canvas, parts, actions) {
    this.#canvas = canvas;
    this.#parts = parts;
    this.#actions = actions;
    const on = (target, types, fn) => {
      for (const type of types.split(" ")) target.addEventListener(type, fn);
    };
    on(canvas, "pointerdown", event => this.#down(event));
    on(canvas, "pointermove", event => this.#move(event));
    on(canvas, "pointerup pointercancel", event => this.#up(event));
    on(canvas, "contextmenu", event => event.preventDefault());
    on(window, "keydown", event => this.#keyDown(event));
    on(window, "keyup", event => this.#keyUp(event));
    on(window, "blur", () => this.release());
  }

  /** Chooses "fly" or "draw". */
  use(tool) {
    this.release();
    this.tool = tool;
    this.#pointer = undefined;
    this.aim = this.#here();
  }

  /** Ends what keys and pointers have begun. */
  release() {
    if (this.#keys.size) this.#hasSteered = true;
    this.#keys.clear();
    this.#pointers.clear();
    this.#parts.pen.end();
  }

  /** A new room: what was aimed at is nowhere in it. */
  reset() {
    this.release();
    this.aim = undefined;
    this.#sent = [NaN, NaN];
  }

  /** Each frame: settles what is aimed at, and tells the server when that has changed. */
  frame(now) {
    const {world: {me}, pen, net} = this.#parts;
    if (!me?.alpha) return;
    if (this.#keys.size) this.#steer(me);
    else if (this.#hasSteered) this.#rest();
    else if (this.#pointer) this.aim = this.#point(this.#pointer);
    if (pen.stroke && this.#keys.has("Space")) pen.move(me.x, me.y);
    if (!this.aim || now - this.#sentAt < AIM_MS) return;
    const [x, y] = this.aim.map(Math.round);
    if (x === this.#sent[0] && y === this.#sent[1]) return;
    if (!net.aim(x, y)) return;
    this.#sent = [x, y];
    this.#sentAt = now;
  }

  #steer(me) {
    let [dx, dy] = [0, 0];
    for (const key of this.#keys) {
      dx += STEER[key]?.[0] ?? 0;
      dy += STEER[key]?.[1] ?? 0;
    }
    const length = Math.hypot(dx, dy);
    if (length) {
      this.#pointer = undefined;
      this.#hasSteered = true;
      this.aim = this.#within(me.x + dx / length * AHEAD, me.y + dy / length * AHEAD);
    } else if (this.#hasSteered) {
      this.#rest();
    }
  }

  #rest() {
    this.#hasSteered = false;
    this.aim = this.#here();
  }

  // Where the comet is by the newest snapshot, which is where it can best come to rest.
  #here() {
    const {room} = this.#parts.world;
    const comet = room?.state.comets.get(room.member);
    return comet && [comet.x, comet.y];
  }

  #within(x, y) {
    const {width, height} = this.#parts.world;
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  #point({x, y}) {
    return this.#within(...this.#parts.camera.toPoint(x, y));
  }

  #down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({preventScroll: true});
    this.#canvas.setPointerCapture(event.pointerId);
    const isSecond = this.#pointers.size > 0;
    this.#pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    this.#actions.pointed();
    if (this.tool === "draw" && !isSecond) {
      this.#parts.pen.begin(...this.#point({x: event.clientX, y: event.clientY}));
    } else if (this.tool === "draw") {
      this.#parts.pen.end(); // a second finger flies
      this.#aimAt(event);
    } else if (event.pointerType === "mouse" || isSecond) {
      if (!isSecond) this.#aimAt(event);
      this.#actions.dash();
    } else {
      this.#aimAt(event);
    }
  }

  #move(event) {
    const down = this.#pointers.get(event.pointerId);
    if (down) [down.x, down.y] = [event.clientX, event.clientY];
    const {pen} = this.#parts;
    if (this.tool === "draw") {
      if (!down) return;
      if (this.#pointers.size > 1) return this.#aimAt(event);
      const all = event.getCoalescedEvents?.() ?? [];
      for (const {clientX: x, clientY: y} of all.length ? all : [event]) {
        pen.move(...this.#point({x, y}));
      }
    } else if (event.pointerType === "mouse" || down && this.#isFirst(event)) {
      this.#aimAt(event);
    }
  }

  // A finger that is lifted leaves the aim where it was in the world; the mouse is never lifted.
  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (event.pointerType !== "mouse" && this.#pointers.size === 0) {
      if (this.#pointer) this.aim = this.#point(this.#pointer); // a tap may fall between two frames
      this.#pointer = undefined;
    }
    if (this.tool === "draw") {
      this.#pointer = undefined;
      this.#parts.pen.end();
    }
  }

  #isFirst(event) {
    return this.#pointers.keys().next().value === event.pointerId;
  }

  #aimAt(event) {
    this.#hasSteered = false;
    this.#pointer = {x: event.clientX, y: event.clientY};
  }

  #keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return this.#escape();
    if (event.target.closest("input, textarea, dialog")) return;
    const isOnButton = event.target.closest("button, a");
    if (STEER[event.code]) {
      event.preventDefault();
      this.#keys.add(event.code);
    } else if (event.code === "Space" && !isOnButton) {
      event.preventDefault();
      if (!event.repeat) this.#space();
    } else if (event.key === "Enter" && !isOnButton) {
      event.preventDefault();
      this.#actions.chat();
    } else if (event.code === "KeyB" && !event.repeat) {
      this.#actions.tool(this.tool === "draw" ? "fly" : "draw");
    }
  }

  #space() {
    const {pen, world: {me}} = this.#parts;
    if (this.tool === "fly") {
      this.#actions.dash();
    } else if (me?.alpha) {
      this.#keys.add("Space");
      pen.begin(me.x, me.y);
    }
  }

  #escape() {
    if (this.tool === "draw") this.#actions.tool("fly");
  }

  #keyUp(event) {
    if (!this.#keys.delete(event.code)) return;
    if (event.code === "Space") this.#parts.pen.end();
  }
}
