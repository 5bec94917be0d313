/* The people whose status is watched one by one, wherever they are. */

import { isPassing } from './errors.js';
import { chunks, quiet, refused, remember } from './promises.js';
import { Source } from './source.js';
import { readStatus } from './wire.js';

const USERS_PER_WATCH_MAX = 1_000;

/** The people whose status is watched one by one. */
export class People {
  #link;
  #people = new Map();
  #watched = new Set();
  /** Whom the gateway watches for us, on this connection. */
  #told = new Set();
  #added = new Set();
  #removed = new Set();
  #waiting = [];
  #scheduled = false;

  constructor(link) {
    this.#link = link;
    link.register('users', {
      frame: (frame) => this.#frame(frame),
      online: () => {
        this.#added = new Set(this.#watched);
        this.#removed.clear();
        this.#tell();
      },
      lost: () => this.#told.clear(),
      closed: (error) => this.#waiting.splice(0).forEach(({ reject }) => reject(error)),
    });
  }

  user(id) {
    return this.#person(id).user;
  }

  want(id, watched) {
    const { refusal } = this.#link;
    if (refusal) return refused(refusal);
    if (watched) {
      this.#watched.add(id);
      this.#removed.delete(id);
      if (!this.#told.has(id)) this.#added.add(id);
    } else {
      this.#watched.delete(id);
      this.#added.delete(id);
      this.#removed.add(id);
    }
    return quiet(new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        // Not before: who is watched again in the same turn is not forgotten in between.
        for (const gone of this.#removed) this.#forget(gone);
        if (this.#link.online) this.#tell();
      });
    }));
  }

  #tell() {
    const waiting = this.#waiting.splice(0);
    const asks = [
      ...chunks([...this.#removed].filter((id) => this.#told.delete(id)), USERS_PER_WATCH_MAX).map((users) => ({ type: 'presence:unwatch', users })),
      ...chunks([...this.#added], USERS_PER_WATCH_MAX).map((users) => ({ type: 'presence:watch', users })),
    ];
    for (const id of this.#added) this.#told.add(id);
    this.#added.clear();
    this.#removed.clear();
    Promise.all(asks.map((command) => this.#ask(command))).then(
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
        if (!isPassing(error)) {
          if (command.type === 'presence:watch') for (const id of command.users) this.#told.delete(id);
          throw error;
        }
        await new Promise((resolve) => this.#link.after(error.retryAfter ?? 1_000, resolve));
      }
    }
  }

  #frame(frame) {
    if (frame.type === 'presence:removed') {
      for (const id of frame.users) {
        this.#watched.delete(id);
        this.#added.delete(id);
        this.#told.delete(id);
        this.#forget(id);
      }
      return;
    }
    // A late frame of someone no longer watched must not start a memory of them.
    if (!this.#watched.has(frame.user_id)) return;
    const person = this.#person(frame.user_id);
    if (person.epoch === frame.epoch && frame.version <= person.version) return;
    person.epoch = frame.epoch;
    person.version = frame.version;
    person.source.set(Object.freeze(readStatus(frame)));
  }

  #forget(id) {
    Object.assign(this.#person(id), { epoch: null, version: -1 }).source.set(unknown(id));
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
