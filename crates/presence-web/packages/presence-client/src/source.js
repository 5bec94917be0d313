/* States to render from, and events. */

import { remember } from './promises.js';

/** A state to render from, and events. `getState` and `subscribe` can be passed around on their own. */
export class Source {
  #state;
  #subscribers = new Set();
  #listeners = new Map();

  constructor(state) {
    this.#state = state;
  }

  getState = () => this.#state;

  subscribe = (subscriber) => {
    const entry = { subscriber }; // the same function twice is two subscriptions
    this.#subscribers.add(entry);
    return () => {
      this.#subscribers.delete(entry);
    };
  };

  on(event, listener) {
    const entry = { listener };
    remember(this.#listeners, event, () => new Set()).add(entry);
    return () => {
      this.#listeners.get(event)?.delete(entry);
    };
  }

  set(state) {
    if (state === this.#state) return;
    this.#state = state;
    for (const { subscriber } of [...this.#subscribers]) guarded(() => subscriber(state));
  }

  emit(event, ...args) {
    for (const { listener } of [...(this.#listeners.get(event) ?? [])]) guarded(() => listener(...args));
  }
}

/** An exception in an app's listener is the app's: it is reported, and the client goes on. */
function guarded(call) {
  try {
    call();
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
