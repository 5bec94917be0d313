/* How often things are sent. Pure: time is an argument. */

/** Lets the latest value through at most once per `gap` ms. */
export class Pace {
  #gap;
  #latest = null;
  #last = -Infinity;

  constructor(gap) {
    this.#gap = gap;
  }

  put(value) {
    this.#latest = value;
  }

  clear() {
    this.#latest = null;
  }

  /** How long until `take` gives something. */
  wait(now) {
    return Math.max(0, this.#last + this.#gap - now);
  }

  take(now) {
    if (this.#latest === null || this.wait(now) > 0) return null;
    const value = this.#latest;
    this.#latest = null;
    this.#last = now;
    return value;
  }
}

/** Key presses in, typing frames out: the first press, then at most one frame per half a time to live. */
export class TypingPace {
  #sent = -Infinity;
  #pressed = -Infinity;

  /** A key was pressed. True: say so. */
  press(now, ttl) {
    this.#pressed = now;
    if (now - this.#sent < ttl / 2) return false;
    this.#sent = now;
    return true;
  }

  /** Half a time to live has passed since the last frame. True: keys were pressed since, say so. */
  refresh(now) {
    if (this.#pressed <= this.#sent) return false;
    this.#sent = now;
    return true;
  }

  /** How long until a whole time to live has passed since the last key. */
  rest(now, ttl) {
    return Math.max(0, this.#pressed + ttl - now);
  }

  /** True: the others think we are typing. */
  stop() {
    const was = this.#sent !== -Infinity;
    this.#sent = -Infinity;
    this.#pressed = -Infinity;
    return was;
  }
}
