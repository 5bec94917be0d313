/* The people whose status is watched one by one, wherever they are. */

import { isPassing } from './errors.js';
import { quiet, refused, remember } from './promises.js';
import { Source } from './source.js';
import { readStatus } from './wire.js';

const USERS_PER_WATCH_MAX = 1_000;

/** The people whose status is watched one by one. */
export class People {
  #link;
  #people = new Map();
  #watched = new Set();
  /** Whom the gateway was asked to watch for us, on this connection. */
  #told = new Set();
  #waiting = [];
  #scheduled = false;

  constructor(link) {
    this.#link = link;
    link.register('users', {
      frame: (frame) => this.#frame(frame),
      online: () => this.#tell(),
      lost: () => this.#told.clear(),
      closed: (error) => this.#waiting.splice(0).forEach(({ reject }) => reject(error)),
    });
  }

  user(id) {
    return this.#person(id).user;
  }

  want(id, watched) {
    const { unreachable } = this.#link;
    if (unreachable) return refused(unreachable);
    if (watched) this.#watched.add(id);
    else this.#watched.delete(id);
    // Nothing was heard of them: the gateway may have refused it.
    if (watched && !this.#person(id).epoch) this.#told.delete(id);
    return quiet(new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        // Not before: who is watched again in the same turn is not forgotten in between.
        for (const gone of this.#people.keys()) if (!this.#watched.has(gone)) this.#forget(gone);
        if (this.#link.online) this.#tell();
      });
    }));
  }

  #tell() {
    const waiting = this.#waiting.splice(0);
    const asks = [];
    const ask = (type, from, but) => {
      const ids = [...from].filter((id) => !but.has(id));
      while (ids.length) asks.push(this.#ask({ type, users: ids.splice(0, USERS_PER_WATCH_MAX) }));
    };
    ask('presence:unwatch', this.#told, this.#watched);
    ask('presence:watch', this.#watched, this.#told);
    this.#told = new Set(this.#watched);
    Promise.all(asks).then(
      () => waiting.forEach(({ resolve }) => resolve()),
      (error) => {
        if (error.code === 'disconnected') this.#waiting.unshift(...waiting);
        else waiting.forEach(({ reject }) => reject(error));
      },
    );
  }

  async #ask(command) {
    for (;;) {
      try {
        return await this.#link.request(command, { again: false });
      } catch (error) {
        if (!isPassing(error)) throw error;
        await new Promise((resolve) => this.#link.after(error.retryAfter ?? 1_000, resolve));
      }
    }
  }

  #frame(frame) {
    if (frame.type === 'presence:removed') {
      for (const id of frame.users) {
        this.#watched.delete(id);
        this.#told.delete(id);
        this.#forget(id);
      }
      return;
    }
    // A late frame of someone no longer watched must not start a memory of them.
    if (frame.type !== 'presence:status' || !this.#watched.has(frame.user_id)) return;
    const person = this.#person(frame.user_id);
    if (person.epoch === frame.epoch && frame.version <= person.version) return;
    person.epoch = frame.epoch;
    person.version = frame.version;
    person.source.set(readStatus(frame));
  }

  #forget(id) {
    const person = this.#person(id);
    if (!person.epoch) return;
    person.epoch = null;
    person.source.set(unknown(id));
  }

  #person(id) {
    return remember(this.#people, id, () => {
      const source = new Source(unknown(id));
      return { source, user: new User(id, this, source), epoch: null, version: -1 };
    });
  }
}

/** One person, wherever they are. */
export class User {
  #id;
  #people;
  /** What `follow()` has given out, and this user itself for `watch()`. */
  #followers = new Set();

  constructor(id, people, source) {
    this.#id = id;
    this.#people = people;
    this.getState = source.getState;
    this.subscribe = source.subscribe;
  }

  get id() {
    return this.#id;
  }

  get state() {
    return this.getState();
  }

  watch() {
    this.#followers.add(this);
    return this.#people.want(this.#id, true);
  }

  /** Stops at once, whoever follows. */
  unwatch() {
    this.#followers.clear();
    return this.#people.want(this.#id, false);
  }

  /** Watch until what is returned is called. It is counted, like `enter()` of a channel. */
  follow() {
    const follower = {};
    if (!this.#followers.size) this.#people.want(this.#id, true);
    this.#followers.add(follower);
    return () => {
      if (this.#followers.delete(follower) && !this.#followers.size) this.#people.want(this.#id, false);
    };
  }
}

/** Nobody told us about them yet. */
function unknown(userId) {
  return Object.freeze({ userId, status: null, devices: [] });
}
