/* Whether the person looks at the page and touches it. */

import { listen } from './browser.js';

/** Whether the person looks at the page and touches it: `active`, `idle` or `hidden`. */
export class Attention {
  #idleAfter;
  #env;
  #touched = Date.now();
  #said = 'active';

  constructor(idleAfter, env) {
    this.#idleAfter = idleAfter;
    this.#env = env;
    this.#said = this.now();
  }

  /** From now on `changed` is called at each change. */
  watch() {
    for (const event of ['visibilitychange', 'pointerdown', 'pointermove', 'keydown', 'wheel', 'focus']) {
      listen(this.#env.signal, event, () => {
        this.#touched = Date.now();
        this.#check();
      });
    }
    if (globalThis.window && Number.isFinite(this.#idleAfter)) this.#waitForIdle();
  }

  now() {
    if (globalThis.document?.visibilityState === 'hidden') return 'hidden';
    return Date.now() - this.#touched >= this.#idleAfter ? 'idle' : 'active';
  }

  #check() {
    const now = this.now();
    if (now === this.#said) return;
    this.#said = now;
    this.#env.changed();
  }

  /** One timer, armed for the earliest moment at which we could be idle. */
  #waitForIdle() {
    const rest = this.#touched + this.#idleAfter - Date.now();
    this.#env.after(rest > 0 ? rest : this.#idleAfter, () => {
      this.#check();
      this.#waitForIdle();
    });
  }
}
