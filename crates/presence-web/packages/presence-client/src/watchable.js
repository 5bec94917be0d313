/* What channels and workspaces have in common: who is there can be watched. */

/** A place as apps see it. */
export class Watchable {
  #place;
  #id;

  constructor(place, id) {
    this.#place = place;
    this.#id = id;
    this.getState = place.source.getState;
    this.subscribe = place.source.subscribe;
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

  /** See who is here without being here. */
  watch({ mode = 'full' } = {}) {
    return this.#place.want({ watch: { mode } });
  }

  unwatch() {
    return this.#place.want({ watch: null });
  }

  /** A few rows of the list of people, however long it is, and what changes in them, until it is closed. */
  window(options) {
    return this.#place.windows.open(options);
  }

  /** A page of the people here, in the order they came. */
  list(page) {
    return this.#place.list(page);
  }
}
