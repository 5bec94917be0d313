/* A channel or a workspace: what we want of it, what the gateway has been told on this connection, and what it told us. */

import { isPassing } from './errors.js';
import { Picture } from './picture.js';
import { nothing, quiet, refused } from './promises.js';
import { Source } from './source.js';
import { Windows, removed } from './window.js';
import { readUser, same } from './wire.js';

const HEAL_MS = 1_000; // between two attempts to mend a gap

/** A channel or a workspace as the gateway knows it. Wishes are compared with what was told, so that a reconnect is only telling again. */
export class Place {
  source;
  windows;
  #link;
  #kind;
  #id;
  #app;
  #picture = new Picture();
  #wanted = { join: null, watch: null };
  #told = { joined: false, meta: null, mode: null };
  /** The gateway may believe that our session is inside: it did once, and a restored session still is. */
  #inside = false;
  #waiting = [];
  #unanswered = new Set();
  #scheduled = false;
  #later = nothing;
  #healing = nothing;
  #forget = nothing;
  #live = false;
  /** Why the last wish was refused for good. */
  #error = null;

  /**
   * `app` hears when we are `offline`, when we are `out` because the gateway does not want us in, and of a meta that it refused:
   * `metaRefused(meta)`.
   */
  constructor(link, kind, id, app = {}) {
    this.#link = link;
    this.#kind = kind;
    this.#id = id;
    this.#app = app;
    this.windows = new Windows(link, { [kind]: id });
    this.#renamed();
    this.source = new Source(placeState(this.#picture, { joined: false, live: false, error: null }));
    link.register(`${kind} ${id}`, {
      frame: (frame) => this.#frame(frame),
      online: () => this.#online(),
      renamed: () => this.#renamed(),
      lost: () => this.#lost(),
      closed: (error) => this.#closed(error),
    });
  }

  get joined() {
    return this.#told.joined;
  }

  /** Wishes made in one turn are one wish: a component that mounts twice joins once. */
  want(wish) {
    const { unreachable } = this.#link;
    if (unreachable) return refused(unreachable);
    Object.assign(this.#wanted, wish);
    this.#error = null;
    return quiet(new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.reconsider();
    }));
  }

  list({ limit, offset } = {}) {
    const answer = this.#link.request(this.#command('list', { limit, offset }));
    return quiet(answer.then((page) => ({ ...page, users: page.users.map(readUser) })));
  }

  reconsider() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#link.online) this.#tell();
    });
  }

  #tell() {
    const waiting = this.#waiting.splice(0);
    this.#later();
    for (const untold of this.#untold()) {
      const answer = this.#ask(untold);
      this.#unanswered.add(answer);
      answer.then(nothing, nothing).then(() => this.#unanswered.delete(answer));
    }
    if (this.#told.mode === null && this.#picture.epoch !== null) this.#reset();
    this.#publish();
    Promise.allSettled([...this.#unanswered]).then((answers) => {
      const errors = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
      const final = errors.find((error) => !isPassing(error) && error.code !== 'disconnected');
      if (final) waiting.forEach(({ reject }) => reject(final));
      else if (errors.length) this.#waiting.unshift(...waiting);
      else waiting.forEach(({ resolve }) => resolve());
      this.#publish();
    });
  }

  async #ask({ command, refused }) {
    try {
      await this.#link.request(command, { again: false });
      if (command.type === 'presence:leave') this.#inside = this.#told.joined;
    } catch (error) {
      if (error.code !== 'disconnected') { // or else everything is told again on the next connection
        const passing = isPassing(error);
        const matters = refused(passing);
        if (passing) {
          this.#later();
          this.#later = this.#link.after((error.retryAfter ?? 1_000) * (1 + Math.random() / 5), () => this.reconsider());
        } else if (!matters) {
          return;
        } else if (error.code !== 'closed') {
          this.#error = error;
          this.source.emit('error', error);
        }
      }
      throw error;
    }
  }

  /**
   * What this connection has yet to be told. `refused(passing)` takes it back: to be said again when the refusal
   * is passing, else the wish is dropped. It returns whether the app needs to know.
   */
  #untold() {
    const { join, watch } = this.#wanted;
    const told = this.#told;
    const mode = (join?.watch ? join.mode : watch?.mode) ?? null;
    const meta = join && (this.#link.name === undefined ? join.meta : { name: this.#link.name, ...join.meta });
    const untold = [];
    const say = (what, more, refused) => untold.push({ command: this.#command(what, more), refused });

    if (join && !told.joined) {
      say('join', { meta, watch: mode !== null, mode: mode ?? undefined, have: this.#have(mode) }, (passing) => {
        Object.assign(this.#told, { joined: false, mode: null });
        if (!passing) {
          this.#wanted.join = null;
          this.#inside = false;
          this.#app.out?.();
        }
        return true;
      });
      Object.assign(told, { joined: true, meta, mode });
      this.#inside = true;
    } else if (join && !same(meta, told.meta)) {
      const before = told.meta;
      say('update', { meta }, (passing) => {
        this.#told.meta = before;
        if (!passing) this.#app.metaRefused?.(join.meta);
        if (!passing && this.#wanted.join) this.#wanted.join = { ...this.#wanted.join, meta: before };
        return true;
      });
      told.meta = meta;
    } else if (!join && told.joined) {
      say('leave', {}, (passing) => {
        this.#told.joined = passing;
        return false;
      });
      // Whether the watch went with it or not, what follows puts it right.
      Object.assign(told, { joined: false, mode: mode === null ? told.mode : null });
    }

    if (mode !== null && told.mode !== mode) {
      say('watch', { mode, have: this.#have(mode) }, (passing) => {
        this.#told.mode = null;
        if (!passing) this.#wanted.watch = null;
        return true;
      });
    } else if (mode === null && told.mode !== null) {
      const before = told.mode;
      say('unwatch', {}, (passing) => {
        if (passing) this.#told.mode = before;
        return false;
      });
    }
    told.mode = mode;
    return untold;
  }

  #command(what, more) {
    return { type: `presence:${what}`, [this.#kind]: this.#id, ...more };
  }

  /** What we have, if it is what we ask for: a count is no substitute for a list. */
  #have(mode) {
    const { epoch, version, mode: made } = this.#picture;
    return epoch !== null && made === mode ? { epoch, version } : undefined;
  }

  #frame(frame) {
    if (frame.window !== undefined) return this.windows.frame(frame);
    if (frame.type === 'presence:removed') {
      // What we wished for is not for us any more: asking again on every reconnect would be refused every time.
      this.#wanted = { join: null, watch: null };
      this.#inside = false;
      this.#app.out?.();
      this.#reset();
      this.#lost();
      this.#publish();
      this.windows.ended(removed());
      this.source.emit('removed');
      return;
    }
    if (frame.type === 'presence:broadcast') {
      const { event, payload, user_id: userId, session } = frame;
      const broadcast = { event, payload, userId, session };
      this.source.emit('broadcast', broadcast);
      this.source.emit(`broadcast:${event}`, broadcast);
      return;
    }
    // Late frames of a topic we no longer watch would build a picture nobody keeps up to date.
    if (!this.#told.mode) return;
    const { outcome, events, synced } = this.#picture.fold(frame);
    if (outcome === 'gap') this.#heal(this.#have(this.#told.mode));
    else if (this.#picture.behind) this.#checkLater();
    if (synced) {
      this.#live = true;
      this.#forget();
    }
    if (outcome !== 'folded') return;
    this.#publish();
    this.#emit(events);
    if (synced) this.source.emit('sync', this.source.getState());
  }

  /** Watches again, at most once a second; the second time without `have`, since it did not help. */
  #heal(have) {
    if (this.#healing !== nothing) return;
    this.#checkLater();
    this.#link.request(this.#command('watch', { mode: this.#told.mode, have }), { again: false }).catch(nothing);
  }

  #checkLater() {
    if (this.#healing !== nothing) return;
    this.#healing = this.#link.after(HEAL_MS, () => {
      this.#healing = nothing;
      if (this.#picture.behind) this.#heal(undefined);
    });
  }

  /** Whose picture it is, or what our session is called, is known now. */
  #renamed() {
    this.#picture.me = { userId: this.#link.userId, session: this.#link.session };
  }

  #online() {
    this.#renamed();
    this.windows.online();
    this.#inside &&= this.#link.restored;
    // Left while the connection was away: the gateway is yet to be told.
    this.#told.joined = this.#inside && !this.#wanted.join;
    if (this.#wanted.join || this.#wanted.watch || this.#told.joined || this.#waiting.length) this.#tell();
  }

  #lost() {
    this.windows.lost();
    this.#told = { joined: false, meta: null, mode: null };
    this.#later();
    this.#healing();
    this.#healing = nothing;
    this.#app.offline?.();
    if (!this.#live) return;
    this.#live = false;
    this.#publish();
    // People stay in the picture, marked as not live; a keystroke or a cursor would be a lie after a while.
    this.#forget = this.#link.after(this.#link.typingTtl, () => {
      const events = this.#picture.forgetFleeting();
      this.#publish();
      this.#emit(events);
    });
  }

  #closed(error) {
    this.#lost();
    this.#forget();
    this.#picture.forgetFleeting();
    this.#publish();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.windows.ended(error);
  }

  #reset() {
    this.#picture = new Picture();
    this.#renamed();
    this.#live = false;
    this.#healing();
    this.#healing = nothing;
  }

  #emit(events) {
    for (const [event, ...args] of events) this.source.emit(event, ...args);
  }

  #publish() {
    this.source.set(placeState(this.#picture, { joined: this.#told.joined, live: this.#live, error: this.#error }, this.source.getState()));
  }
}

/** A new state, or the old one when nothing in it changed. */
function placeState(picture, flags, before) {
  const { mode, count, users, typing, cursors } = picture;
  const state = { mode, count, users, typing, cursors, ...flags };
  if (before && Object.keys(state).every((key) => state[key] === before[key])) return before;
  return Object.freeze(state);
}
