/* A workspace: everyone who is online in it. */

import { Place } from './place.js';

/** Everyone who is online in one workspace. */
export class Workspace {
  #place;
  #id;

  constructor(link, id) {
    this.#id = id;
    this.#place = new Place(link, 'workspace', id);
    this.getState = this.#place.source.getState;
    this.subscribe = this.#place.source.subscribe;
  }

  get id() {
    return this.#id;
  }

  get state() {
    return this.getState();
  }

  on(event, listener) {
    return this.#place.source.on(event, listener);
  }

  watch({ mode = 'full' } = {}) {
    return this.#place.want({ watch: { mode } });
  }

  unwatch() {
    return this.#place.want({ watch: null });
  }

  list(page) {
    return this.#place.list(page);
  }
}
