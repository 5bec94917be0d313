/* Windows: a few rows of a list of people, however long it is. */

import { isPassing, problem } from './errors.js';
import { Source } from './source.js';
import { readUser, same } from './wire.js';

/** The windows of one place. Each has a number, by which the gateway knows it; equal windows with equal numbers cost it least. */
export class Windows {
  #link;
  #place;
  #open = new Map();

  /** `place` is `{ channel: id }` or `{ workspace: id }`. */
  constructor(link, place) {
    this.#link = link;
    this.#place = place;
  }

  open(wish) {
    let number = 1;
    while (this.#open.has(number)) number += 1;
    const window = new Window(this, number, wish);
    this.#open.set(number, window);
    const { unreachable } = this.#link;
    if (unreachable) this.#refused(window, unreachable);
    else if (this.#link.online) this.tell(window);
    return window;
  }

  /** Opens it with what it wants now, unless it was closed or wants something else by then. */
  tell(window) {
    const { number } = window;
    const asked = window.wish;
    if (this.#open.get(number) !== window || !this.#link.online) return;
    this.#link.request({ type: 'presence:openWindow', ...this.#place, window: number, ...command(asked) }, { again: false }).catch((error) => {
      if (this.#open.get(number) !== window || window.wish !== asked || error.code === 'disconnected') return;
      if (isPassing(error)) this.#link.after((error.retryAfter ?? 1_000) * (1 + Math.random() / 5), () => window.wish === asked && this.tell(window));
      else {
        this.close(window); // one that was refused to move still has its old rows
        window.refused(error);
      }
    });
  }

  close(window) {
    const { number } = window;
    if (this.#open.get(number) !== window) return;
    if (!this.#link.online) return this.#open.delete(number);
    // Its number is free when nothing more can come of it.
    this.#open.set(number, null);
    const free = () => this.#open.get(number) === null && this.#open.delete(number);
    return this.#link.request({ type: 'presence:closeWindow', ...this.#place, window: number }, { again: false }).then(free, free);
  }

  frame(frame) {
    this.#open.get(frame.window)?.heard(frame);
  }

  online() {
    this.#each((window) => this.tell(window));
  }

  lost() {
    for (const [number, window] of this.#open) if (!window) this.#open.delete(number);
    this.#each((window) => window.away());
  }

  /** None of them is for us any more. */
  ended(error) {
    this.#each((window) => this.#refused(window, error));
  }

  #refused(window, error) {
    this.#open.delete(window.number);
    window.refused(error);
  }

  #each(then) {
    for (const window of [...this.#open.values()]) if (window) then(window);
  }
}

/** A few rows of a list of people, and what changes in them. */
export class Window {
  number;
  wish;
  #windows;
  #source = new Source(BLANK);

  constructor(windows, number, wish) {
    this.#windows = windows;
    this.number = number;
    this.wish = { ...wish };
    this.getState = this.#source.getState;
    this.subscribe = this.#source.subscribe;
  }

  get state() {
    return this.getState();
  }

  on(event, listener) {
    return this.#source.on(event, listener);
  }

  /** Shows other rows: what is not named stays as it is. The old rows stay until the new ones are there. */
  move(options) {
    this.wish = { ...this.wish, ...options };
    this.#windows.tell(this);
  }

  close() {
    this.#windows.close(this);
  }

  /** @internal */
  heard(frame) {
    const { users: before, live } = this.state;
    if (frame.type === 'presence:windowChanges') {
      if (!live) return; // changes of rows that we do not have
      const moved = new Set([...frame.gone, ...frame.rows.map(({ user }) => user.id)]);
      const users = before.filter(({ id }) => !moved.has(id));
      for (const { at, user } of frame.rows) users.splice(at, 0, readUser(user));
      this.#set(users, frame.count ?? this.state.count);
    } else {
      const known = new Map(before.map((user) => [user.id, user]));
      const users = frame.users.map((wire) => {
        const user = readUser(wire);
        return same(user, known.get(user.id)) ? known.get(user.id) : user;
      });
      this.#set(users, frame.count);
      this.#source.emit('sync', this.state);
    }
  }

  /** @internal */
  away() {
    if (this.state.live) this.#source.set(Object.freeze({ ...this.state, live: false }));
  }

  /** @internal */
  refused(error) {
    this.#source.set(Object.freeze({ ...this.state, live: false, error }));
    if (error.code !== 'closed') this.#source.emit('error', error);
  }

  #set(users, count) {
    const { users: before } = this.state;
    const same = users.length === before.length && users.every((user, at) => user === before[at]);
    this.#source.set(Object.freeze({ users: same ? before : users, count, live: true, error: null }));
  }
}

const BLANK = Object.freeze({ users: [], count: 0, live: false, error: null });

export function removed() {
  return problem('forbidden', 'you may not watch this any more');
}

/** What somebody wants, as the gateway is told. */
function command({ order, prefix, after, limit }) {
  const byName = (order ?? (prefix === undefined ? 'joined' : 'name')) === 'name';
  const place = after && (byName ? { name: after.name, user_id: after.id } : { joined_at: after.joinedAt, user_id: after.id });
  return { order, prefix, after: place ?? undefined, limit };
}
