/* Who of this page wants to be in a channel. Pure: what follows from it is told by others. */

/** One `join()` at most, and every `enter()` that has not left. */
export class Stays {
  #join = null;
  /** In the order they came. */
  #stays = new Set();

  /** The `join()` of this page; a later one replaces it. */
  join(options) {
    this.#stays.delete(this.#join);
    this.#join = this.enter(options);
  }

  /** One more user of the channel. Returns what `leave` takes. */
  enter({ meta, mode = 'full', watch = true } = {}) {
    const stay = { meta, mode, watch };
    this.#stays.add(stay);
    return stay;
  }

  /** True: it was there, and what we want may be something else now. */
  leave(stay) {
    return this.#stays.delete(stay);
  }

  /** Everybody leaves. */
  clear() {
    this.#stays.clear();
  }

  /** Replaces the meta of whoever came last. */
  update(meta) {
    [...this.#stays].at(-1).meta = meta;
  }

  /** The gateway refused `meta`: those who wanted it go on without. */
  forget(meta) {
    for (const stay of this.#stays) {
      if (stay.meta === meta) stay.meta = undefined;
    }
  }

  /** What they want together: the latest meta that was given, and the whole list if anybody wants it. `null`: to be out. */
  wish() {
    const stays = [...this.#stays];
    if (!stays.length) return null;
    const watching = stays.filter(({ watch }) => watch);
    return {
      meta: stays.findLast(({ meta }) => meta !== undefined)?.meta ?? {},
      mode: watching.some(({ mode }) => mode === 'full') || !watching.length ? 'full' : 'summary',
      watch: watching.length > 0,
    };
  }
}
