/* What lets a reloaded page go on as the same session. */

import { stored } from './browser.js';

/**
 * What lets a reloaded page go on as the same session. It is in memory while the page lives and in
 * sessionStorage only between two pages: a duplicated tab gets a copy of the storage, and must not find it there.
 */
export class ResumeToken {
  token = null;
  #key;

  constructor(key) {
    this.#key = key;
  }

  takeOut() {
    this.token = stored('sessionStorage', (storage) => {
      const token = storage.getItem(this.#key);
      storage.removeItem(this.#key);
      return token;
    });
  }

  putAway() {
    const { token } = this;
    if (token) stored('sessionStorage', (storage) => storage.setItem(this.#key, token));
    this.token = null;
  }
}
