// One's own strokes: shown at once, sent in batches. When the room's state has what was sent, or
// the server has not taken it, they are taken off: so all see the same board.

const BATCH_MS = 60;
const MOST_SENT = 200;       // numbers in a call: the server's bound
const MOST_POINTS = 600;     // of a stroke; a longer one goes on as another
const NEAREST = 3;           // units between points

export class Pen {
  width = 6;
  stroke;       // that is being drawn

  #number = 0;
  #sent = 0;    // numbers of the stroke that are on their way
  #calls = [];  // of the stroke: promises
  #timer;
  #parts;       // {world, board, net, failed(error)}

  constructor(parts) {
    this.#parts = parts;
  }

  begin(x, y) {
    this.end();
    const {world: {me}, board} = this.#parts;
    if (!me) return;
    this.stroke = board.begin(me.id, ++this.#number, me.hue, this.width);
    this.#sent = 0;
    this.#calls = [];
    this.#timer = setInterval(() => this.#send(), BATCH_MS);
    this.#add(x, y);
  }

  move(x, y) {
    const {stroke} = this;
    if (!stroke) return;
    const {points} = stroke;
    if (Math.hypot(x - points.at(-2), y - points.at(-1)) < NEAREST) return;
    this.#add(x, y);
    if (points.length >= 2 * MOST_POINTS) this.begin(x, y);
  }

  end() {
    const {stroke} = this;
    if (!stroke) return;
    clearInterval(this.#timer);
    this.#send();
    this.stroke = undefined;
    Promise.all(this.#calls).then(() => this.#parts.board.remove(stroke));
  }

  #add(x, y) {
    const {world, board} = this.#parts;
    const point = [[x, world.width], [y, world.height]]
      .map(([value, most]) => Math.round(Math.min(Math.max(value, 0), most)));
    board.extend(this.stroke, point, performance.now());
  }

  #send() {
    const {stroke} = this;
    while (stroke && this.#sent < stroke.points.length) {
      const from = this.#sent;
      this.#sent = Math.min(from + MOST_SENT, stroke.points.length);
      this.#calls.push(this.#call(stroke, stroke.points.slice(from, this.#sent)));
    }
  }

  async #call(stroke, points) {
    try {
      await this.#parts.net.draw(stroke.number, stroke.width, points);
    } catch (error) {
      if (this.stroke === stroke) {
        clearInterval(this.#timer);
        this.stroke = undefined;
      }
      this.#parts.board.remove(stroke);
      this.#parts.failed(error);
    }
  }
}
