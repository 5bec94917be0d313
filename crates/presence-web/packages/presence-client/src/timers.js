/* Timers that end with the connection they belong to. */

import { nothing } from './promises.js';

export class Timers {
  #running = new Set();
  #stopped = false;

  /** Runs `then` after `ms`, unless all are stopped before; returns what cancels it. */
  after(ms, then) {
    if (this.#stopped) return nothing;
    const timer = setTimeout(() => {
      this.#running.delete(timer);
      then();
    }, ms);
    this.#running.add(timer);
    return () => {
      clearTimeout(timer);
      this.#running.delete(timer);
    };
  }

  /** Stops all of them, for good. */
  stop() {
    this.#stopped = true;
    for (const timer of this.#running) clearTimeout(timer);
    this.#running.clear();
  }
}
