/* A channel: who is in it, and what we do there. */

import { problem } from './errors.js';
import { Pace, TypingPace } from './pace.js';
import { Place } from './place.js';
import { done, nothing, refused } from './promises.js';
import { Stays } from './stays.js';
import { Watchable } from './watchable.js';

const CURSOR_MS = 40; // 25 a second, which looks smooth

/** A place people are in, and who is in it. */
export class Channel extends Watchable {
  #place;
  #stays = new Stays();
  #link;
  #typing = new TypingPace();
  #typingTimer = nothing;
  #cursor = new Pace(CURSOR_MS);
  #cursorTimer = nothing;
  #lastCursor = null;

  constructor(link, id) {
    const place = new Place(link, 'channel', id, {
      offline: () => this.#hush(),
      out: () => this.#stays.clear(),
      metaRefused: (meta) => this.#stays.forget(meta),
    });
    super(place, id);
    this.#place = place;
    this.#link = link;
  }

  /**
   * Be in the channel, and watch it unless `watch` is false. Again with other options: they replace the old ones.
   * It holds over reconnects until `leave()`; the promise waits as long as it takes.
   */
  join(options) {
    this.#stays.join(options);
    return this.#wish();
  }

  /**
   * Be in the channel until what is returned is called. It is counted: parts of a page that know nothing of each other share the
   * channel, the latest meta that was given is shown, and we leave when the last of them has left.
   */
  enter(options) {
    const stay = this.#stays.enter(options);
    this.#wish();
    return () => {
      if (this.#stays.leave(stay)) this.#wish();
    };
  }

  /** Replaces your meta in this channel. */
  update(meta) {
    if (!this.#stays.wish()) return refused(problem('not_joined', 'join the channel first'));
    this.#stays.update(meta);
    return this.#wish();
  }

  /** Leaves at once, whoever has entered. A `watch()` of your own stays. */
  leave() {
    this.#stays.clear();
    return this.#wish();
  }

  /** You are typing: call it at every key press, it sends what is needed. `typing(false)` stops at once. */
  typing(active = true) {
    if (!this.#place.joined) return;
    if (!active) {
      if (this.#stopTyping()) this.#link.send({ type: 'presence:typing', channel: this.id, typing: false });
      return;
    }
    if (this.#typing.press(Date.now(), this.#link.typingTtl)) this.#sendTyping();
  }

  /** You point at `(x, y)`; the latest wins. `cursor(null)` hides your cursor. */
  cursor(x, y) {
    if (!this.#place.joined) return;
    if (x === null) {
      if (!this.#lastCursor) return;
      this.#cursorTimer();
      this.#cursor.clear();
      this.#link.send({ ...this.#lastCursor, visible: false });
      this.#lastCursor = null;
      return;
    }
    if (!Number.isFinite(x) || !Number.isFinite(y)) return; // a part of a board that has no size yet
    this.#lastCursor = { type: 'presence:cursor', channel: this.id, x, y };
    this.#cursor.put(this.#lastCursor);
    this.#sendCursor();
  }

  /** You selected `start` to `end`; `select(null)` nothing. */
  select(start, end) {
    if (!this.#place.joined) return;
    this.#link.send({ type: 'presence:selection', channel: this.id, start: start ?? undefined, end });
  }

  /** Tells everyone who watches the channel, yourself too. It also ends your typing. */
  broadcast(event, payload = null) {
    this.#stopTyping();
    // Not repeated after a lost connection: whether it was heard is not known, and twice may be worse than never.
    return done(this.#link.request({ type: 'presence:broadcast', channel: this.id, event, payload }, { again: false }));
  }

  /** @internal */
  renamed() {
    this.#place.reconsider();
  }

  #wish() {
    const join = this.#stays.wish();
    if (!join) this.#hush();
    return this.#place.want({ join });
  }

  #sendTyping() {
    this.#link.send({ type: 'presence:typing', channel: this.id, typing: true });
    this.#typingTimer();
    // Keys pressed since the last frame prolong it halfway. Silence ends it one time to live after the last key:
    // by itself it would last that long after the last frame.
    const ttl = this.#link.typingTtl;
    this.#typingTimer = this.#link.after(ttl / 2, () => {
      if (this.#typing.refresh(Date.now())) this.#sendTyping();
      else this.#typingTimer = this.#link.after(this.#typing.rest(Date.now(), ttl), () => this.typing(false));
    });
  }

  #sendCursor() {
    this.#cursorTimer();
    const wait = this.#cursor.wait(Date.now());
    if (wait > 0) {
      this.#cursorTimer = this.#link.after(wait, () => this.#sendCursor());
      return;
    }
    const latest = this.#cursor.take(Date.now());
    if (latest) this.#link.send(latest);
  }

  #stopTyping() {
    this.#typingTimer();
    return this.#typing.stop();
  }

  /** Forgets what is fleeting of ourselves: the gateway does the same when we leave or vanish. */
  #hush() {
    this.#stopTyping();
    this.#cursorTimer();
    this.#cursor.clear();
    this.#lastCursor = null;
  }
}
