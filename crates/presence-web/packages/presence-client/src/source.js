/* States to render from, and events. */

import { remember } from './promises.js';

/** The event that no app can name: there is another state. */
const CHANGE = Symbol();

/** A state to render from, and events. `getState` and `subscribe` can be passed around on their own. */
export class Source {
  #state;
  #listeners = new Map();

  constructor(state) {
    this.#state = state;
  }

  getState = () => this.#state;

  subscribe = (subscriber) => this.on(CHANGE, subscriber);

  on(event, listener) {
    const listeners = remember(this.#listeners, event, () => new Set());
    const entry = { listener }; // the same function twice is called twice
    listeners.add(entry);
    return () => {
      listeners.delete(entry);
    };
  }

  set(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit(CHANGE, state);
  }

  emit(event, ...args) {
    for (const { listener } of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // An exception in an app's listener is the app's: it is reported, and the client goes on.
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}
