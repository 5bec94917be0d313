/**
 * The browser client of Presence: who is here, right now, and what are they doing?
 *
 * One file, no dependencies, no build step. `docs/protocol.md` is what it speaks; `presence.d.ts` has its types.
 *
 *     import { connect } from './presence.js';
 *
 *     const presence = connect({ token: () => fetch('/presence-token').then((r) => r.text()) });
 *     const room = presence.channel('room:42');
 *     room.on('join', (user) => console.log(`${user.name} is here`));
 *     room.subscribe(() => render(room.getState()));     // { count, users, typing, cursors, ... }
 *     await room.join({ meta: { role: 'editor' } });
 *     input.oninput = () => room.typing();               // at every key: it paces itself
 *     board.onpointermove = (e) => room.cursor(e.offsetX / board.clientWidth, e.offsetY / board.clientHeight);
 *     await presence.setStatus({ status: 'busy', customMessage: 'Deep work', emoji: '🎯', clearAfter: 3600 });
 *
 * React:
 *
 *     const presence = connect({ token });
 *
 *     function useChannel(id) {
 *       const channel = presence.channel(id);
 *       useEffect(() => { channel.join(); return () => void channel.leave(); }, [channel]);
 *       return useSyncExternalStore(channel.subscribe, channel.getState);
 *     }
 *
 *     const Faces = ({ room }) => useChannel(room).users.map((u) => <b key={u.id} style={{ color: u.color }}>{u.name}</b>);
 *
 * A part that does not change keeps its reference: `() => channel.getState().users` renders again when
 * somebody comes or goes, and not when a cursor moves.
 *
 * Stimulus:
 *
 *     export default class extends Controller {
 *       static values = { channel: String };
 *       static targets = ['count'];
 *       connect() {
 *         this.channel = presence.channel(this.channelValue);
 *         this.stop = this.channel.subscribe((state) => { this.countTarget.textContent = state.count; });
 *         this.channel.join();
 *       }
 *       disconnect() { this.stop(); this.channel.leave(); }
 *     }
 */

const PROTOCOL = 'presence.v1.json';

/** Close codes after which coming back would not help. 4401 has its own rule: come back with a new token. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4410]);

/** Errors that say "later", not "no". */
const PASSING_ERRORS = new Set(['rate_limited', 'overloaded', 'unavailable', 'timeout']);

const ANSWER_MS_MAX = 8_000; // of a heartbeat: after that the connection is dead
const OPENING_MS_MAX = 15_000;
const COMMAND_MS_MAX = 30_000; // a command waits that long for a connection and its answer
const STEADY_MS = 2_000; // a connection that lasted that long starts the back-off afresh
const UNSTEADY_ATTEMPT = 2; // and one that was lost sooner goes on here: it was let in, so the gateway is there
const HEAL_MS = 1_000; // between two attempts to mend a gap
const CURSOR_MS = 40; // 25 a second: the gateway's tick is 50 ms
const IDLE_MS = 5 * 60_000;
const QUEUE_MAX = 100;
const USERS_PER_WATCH_MAX = 1_000;

/**
 * Connect, and stay connected until `close()`.
 * @param {import('./presence.js').Options} [options]
 * @returns {Presence}
 */
export function connect(options = {}) {
  return new Presence(options);
}

/** Why a command was refused. `code` is one of the protocol's, or `timeout`, `disconnected` or `closed`. */
export class PresenceError extends Error {
  constructor({ code, message, field, retryAfter }) {
    super(message);
    this.name = 'PresenceError';
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
  }
}

/** One person's connection: the way to channels, workspaces and people. */
export class Presence {
  #link;
  #source;
  #channels = new Map();
  #workspaces = new Map();
  #people;

  constructor(options) {
    this.#link = new Link(options, {
      changed: (part) => this.#changed(part),
      emit: (event, ...args) => this.#source.emit(event, ...args),
    });
    this.#source = new Source(
      Object.freeze({ connection: this.#link.connection, self: null, userId: options.userId ?? null, session: null, workspaces: [] }),
    );
    this.getState = this.#source.getState;
    this.subscribe = this.#source.subscribe;
    this.#people = new People(this.#link);
    this.#link.start();
  }

  /** Where the connection stands: `{ status, attempt, retryAt, code, reason }`. */
  get connection() {
    return this.getState().connection;
  }

  /** The truth about yourself, `null` until the first hello. */
  get self() {
    return this.getState().self;
  }

  get userId() {
    return this.getState().userId;
  }

  get session() {
    return this.getState().session;
  }

  get deviceId() {
    return this.#link.deviceId;
  }

  /** What the gateway grants one connection, `null` until the first hello. */
  get limits() {
    return this.#link.limits;
  }

  /** The gateway's clock, as well as we know it: what `expiresAt` and `joinedAt` are measured by. */
  now() {
    return this.#link.now();
  }

  /** Calls `listener` at each `event`; returns what stops it. */
  on(event, listener) {
    return this.#source.on(event, listener);
  }

  /** The channel called `id`: always the same object. */
  channel(id) {
    return remember(this.#channels, id, () => new Channel(this.#link, id));
  }

  /** Everyone who is online in a workspace: always the same object. */
  workspace(id) {
    return remember(this.#workspaces, id, () => new Workspace(this.#link, id));
  }

  /** One person, wherever they are: always the same object. */
  user(id) {
    return this.#people.user(id);
  }

  /** Changes your chosen status: what is absent stays, `null` clears. */
  setStatus({ status, customMessage, emoji, clearAfter, expiresAt }) {
    return done(this.#link.request({
      type: 'presence:status', status, custom_message: customMessage, emoji, clear_after: clearAfter, expires_at: expiresAt,
    }));
  }

  /** The status of up to 1,000 users, now. */
  getStatuses(userIds) {
    return quiet(this.#link.request({ type: 'presence:get', users: [...userIds] }).then((result) => result.statuses.map(camel)));
  }

  /** The name you go by from now on, in every channel whose meta has none of its own. */
  setName(name) {
    this.#link.name = name;
    for (const channel of this.#channels.values()) channel.renamed();
  }

  /** A fresh token for the same user. Not needed when `token` is a function. */
  authenticate(token) {
    this.#link.keepToken(token);
    return done(this.#link.request({ type: 'presence:authenticate', token }));
  }

  /** Milliseconds to the gateway and back. */
  ping() {
    const sent = Date.now();
    return quiet(this.#link.request({ type: 'presence:ping' }, { again: false }).then(() => Date.now() - sent));
  }

  /** Tries now instead of waiting; also brings back a connection which the gateway ended for good. */
  reconnect() {
    this.#link.reconnect();
  }

  /** Leaves at once: others are told now, not after the grace. Nothing of this object runs afterwards. */
  close() {
    this.#link.close();
  }

  #changed(part) {
    this.#source.set(Object.freeze({ ...this.getState(), ...part }));
    if (part.connection) this.#source.emit('connection', part.connection);
    if (part.self) this.#source.emit('self', part.self);
  }
}

/** A place people are in, and who is in it. */
class Channel {
  #place;
  #link;
  #id;
  #typing = new TypingPace();
  #typingTimer = nothing;
  #cursor = new Pace(CURSOR_MS);
  #cursorTimer = nothing;
  #lastCursor = null;

  constructor(link, id) {
    this.#link = link;
    this.#id = id;
    this.#place = new Place(link, 'channel', id, () => this.#hush());
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

  /**
   * Be in the channel, and watch it unless `watch` is false. Again with other options: they replace the old ones.
   * It holds over reconnects until `leave()`; the promise waits as long as it takes.
   */
  join({ meta = {}, mode = 'full', watch = true } = {}) {
    return this.#place.want({ join: { meta, mode, watch } });
  }

  /** Replaces your meta in this channel. */
  update(meta) {
    return this.#place.update(meta);
  }

  /** Leaves at once. A `watch()` of your own stays. */
  leave() {
    this.#hush();
    return this.#place.want({ join: null });
  }

  /** See who is here without being here. */
  watch({ mode = 'full' } = {}) {
    return this.#place.want({ watch: { mode } });
  }

  unwatch() {
    return this.#place.want({ watch: null });
  }

  /** You are typing: call it at every key press, it sends what is needed. `typing(false)` stops at once. */
  typing(active = true) {
    if (!this.#place.joined) return;
    if (!active) {
      if (this.#stopTyping()) this.#link.send({ type: 'presence:typing', channel: this.#id, typing: false });
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
    this.#lastCursor = { type: 'presence:cursor', channel: this.#id, x, y };
    this.#cursor.put(this.#lastCursor);
    this.#sendCursor();
  }

  /** You selected `start` to `end`; `select(null)` nothing. */
  select(start, end) {
    if (!this.#place.joined) return;
    this.#link.send({ type: 'presence:selection', channel: this.#id, ...(start === null ? {} : { start, end }) });
  }

  /** Tells everyone who watches the channel, yourself too. It also ends your typing. */
  broadcast(event, payload = null) {
    this.#stopTyping();
    // Not repeated after a lost connection: whether it was heard is not known, and twice may be worse than never.
    return done(this.#link.request({ type: 'presence:broadcast', channel: this.#id, event, payload }, { again: false }));
  }

  /** A page of the people here, in the order they came. */
  list(page) {
    return this.#place.list(page);
  }

  /** @internal */
  renamed() {
    this.#place.reconsider();
  }

  #sendTyping() {
    this.#link.send({ type: 'presence:typing', channel: this.#id, typing: true });
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

/** Everyone who is online in one workspace. */
class Workspace {
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

/** One person, wherever they are. */
class User {
  #id;
  #people;

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
    return this.#people.want(this.#id, true);
  }

  unwatch() {
    return this.#people.want(this.#id, false);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Topics: what we want of the gateway, what it has been told on this connection, and what it told us.

/** A channel or a workspace as the gateway knows it. Wishes are compared with what was told, so that a reconnect is only telling again. */
class Place {
  source;
  #link;
  #kind;
  #id;
  #offline;
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

  constructor(link, kind, id, offline = nothing) {
    this.#link = link;
    this.#kind = kind;
    this.#id = id;
    this.#offline = offline;
    this.source = new Source(placeState(this.#picture, { joined: false, live: false }));
    link.register(`${kind} ${id}`, {
      frame: (frame) => this.#frame(frame),
      online: () => this.#online(),
      lost: () => this.#lost(),
      closed: (error) => this.#closed(error),
    });
  }

  get joined() {
    return this.#told.joined;
  }

  /** Wishes made in one turn are one wish: a component that mounts twice joins once. */
  want(wish) {
    if (this.#link.ended) return refused('closed', 'the connection was closed');
    Object.assign(this.#wanted, wish);
    return quiet(new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.reconsider();
    }));
  }

  update(meta) {
    const { join } = this.#wanted;
    if (!join) return refused('not_joined', 'join the channel first');
    return this.want({ join: { ...join, meta } });
  }

  list({ limit, offset } = {}) {
    const answer = this.#link.request({ type: 'presence:list', [this.#kind]: this.#id, limit, offset });
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
    const place = { [this.#kind]: this.#id };
    const mode = (join?.watch ? join.mode : watch?.mode) ?? null;
    const meta = join && (this.#link.name === undefined ? join.meta : { name: this.#link.name, ...join.meta });
    const untold = [];

    if (join && !told.joined) {
      untold.push({
        command: { type: 'presence:join', ...place, meta, watch: mode !== null, mode: mode ?? undefined, have: this.#have(mode) },
        refused: (passing) => {
          Object.assign(this.#told, { joined: false, mode: null });
          if (!passing) {
            this.#wanted.join = null;
            this.#inside = false;
          }
          return true;
        },
      });
      Object.assign(told, { joined: true, meta, mode });
      this.#inside = true;
    } else if (join && !same(meta, told.meta)) {
      const before = told.meta;
      untold.push({
        command: { type: 'presence:update', ...place, meta },
        refused: (passing) => {
          this.#told.meta = before;
          if (!passing && this.#wanted.join) this.#wanted.join = { ...this.#wanted.join, meta: before };
          return true;
        },
      });
      told.meta = meta;
    } else if (!join && told.joined) {
      untold.push({
        command: { type: 'presence:leave', ...place },
        refused: (passing) => {
          this.#told.joined = passing;
          return false;
        },
      });
      // Whether the watch went with it or not, what follows puts it right.
      Object.assign(told, { joined: false, mode: mode === null ? told.mode : null });
    }

    if (mode !== null && told.mode !== mode) {
      untold.push({
        command: { type: 'presence:watch', ...place, mode, have: this.#have(mode) },
        refused: (passing) => {
          this.#told.mode = null;
          if (!passing) this.#wanted.watch = null;
          return true;
        },
      });
      told.mode = mode;
    } else if (mode === null && told.mode !== null) {
      const before = told.mode;
      untold.push({
        command: { type: 'presence:unwatch', ...place },
        refused: (passing) => {
          if (passing) this.#told.mode = before;
          return false;
        },
      });
      told.mode = null;
    }
    return untold;
  }

  /** What we have, if it is what we ask for: a count is no substitute for a list. */
  #have(mode) {
    const { epoch, version, mode: made } = this.#picture;
    return epoch !== null && made === mode ? { epoch, version } : undefined;
  }

  #frame(frame) {
    if (frame.type === 'presence:removed') {
      // What we wished for is not for us any more: asking again on every reconnect would be refused every time.
      this.#wanted = { join: null, watch: null };
      this.#told = { joined: false, meta: null, mode: null };
      this.#inside = false;
      this.#offline();
      this.#reset();
      this.#publish();
      this.source.emit('removed');
      return;
    }
    if (frame.type === 'presence:broadcast') {
      const { event, payload, user_id: userId, session } = frame;
      this.source.emit('broadcast', { event, payload, userId, session });
      this.source.emit(`broadcast:${event}`, { event, payload, userId, session });
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
    for (const [event, ...args] of events) this.source.emit(event, ...args);
    if (synced) this.source.emit('sync', this.source.getState());
  }

  /** Watches again, at most once a second; the second time without `have`, since it did not help. */
  #heal(have) {
    if (this.#healing !== nothing) return;
    this.#checkLater();
    this.#link.request({ type: 'presence:watch', [this.#kind]: this.#id, mode: this.#told.mode, have }, { again: false }).catch(nothing);
  }

  #checkLater() {
    if (this.#healing !== nothing) return;
    this.#healing = this.#link.after(HEAL_MS, () => {
      this.#healing = nothing;
      if (this.#picture.behind) this.#heal(undefined);
    });
  }

  #online() {
    this.#picture.me = { userId: this.#link.userId, session: this.#link.session };
    this.#inside &&= this.#link.restored;
    // Left while the connection was away: the gateway is yet to be told.
    this.#told.joined = this.#inside && !this.#wanted.join;
    if (this.#wanted.join || this.#wanted.watch || this.#told.joined || this.#waiting.length) this.#tell();
  }

  #lost() {
    this.#told = { joined: false, meta: null, mode: null };
    this.#later();
    this.#healing();
    this.#healing = nothing;
    this.#offline();
    if (!this.#live) return;
    this.#live = false;
    this.#publish();
    // People stay in the picture, marked as not live; a keystroke or a cursor would be a lie after a while.
    this.#forget = this.#link.after(this.#link.typingTtl, () => {
      const events = this.#picture.forgetFleeting();
      this.#publish();
      for (const [event, ...args] of events) this.source.emit(event, ...args);
    });
  }

  #closed(error) {
    this.#lost();
    this.#forget();
    this.#picture.forgetFleeting();
    this.#publish();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #reset() {
    this.#picture = new Picture();
    this.#picture.me = { userId: this.#link.userId, session: this.#link.session };
    this.#live = false;
    this.#healing();
    this.#healing = nothing;
  }

  #publish() {
    this.source.set(placeState(this.#picture, { joined: this.#told.joined, live: this.#live }, this.source.getState()));
  }
}

/** A new state, or the old one when nothing in it changed. */
function placeState(picture, flags, before) {
  const { mode, count, users, typing, cursors } = picture;
  const state = { mode, count, users, typing, cursors, ...flags };
  if (before && Object.keys(state).every((key) => state[key] === before[key])) return before;
  return Object.freeze(state);
}

/** The people whose status is watched one by one. */
class People {
  #link;
  #people = new Map();
  #watched = new Set();
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
      lost: nothing,
      closed: (error) => this.#waiting.splice(0).forEach(({ reject }) => reject(error)),
    });
  }

  user(id) {
    return this.#person(id).user;
  }

  want(id, watched) {
    if (this.#link.ended) return refused('closed', 'the connection was closed');
    const [into, outOf] = watched ? [this.#added, this.#removed] : [this.#removed, this.#added];
    into.add(id);
    outOf.delete(id);
    if (watched) {
      this.#watched.add(id);
    } else {
      this.#watched.delete(id);
      Object.assign(this.#person(id), { epoch: null, version: -1 }).source.set(unknown(id));
    }
    return quiet(new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        if (this.#link.online) this.#tell();
      });
    }));
  }

  #tell() {
    const waiting = this.#waiting.splice(0);
    const asks = [
      ...chunks([...this.#removed], USERS_PER_WATCH_MAX).map((users) => ({ type: 'presence:unwatch', users })),
      ...chunks([...this.#added], USERS_PER_WATCH_MAX).map((users) => ({ type: 'presence:watch', users })),
    ];
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
        if (!isPassing(error)) throw error;
        await new Promise((resolve) => this.#link.after(error.retryAfter ?? 1_000, resolve));
      }
    }
  }

  #frame(frame) {
    if (frame.type === 'presence:removed') {
      for (const id of frame.users) {
        this.#watched.delete(id);
        this.#added.delete(id);
        Object.assign(this.#person(id), { epoch: null, version: -1 }).source.set(unknown(id));
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

  #person(id) {
    return remember(this.#people, id, () => {
      const source = new Source(unknown(id));
      return { source, user: new User(id, this, source), epoch: null, version: -1 };
    });
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Pure parts. Time is an argument; nothing here waits, sends or listens.

/**
 * What we know of one channel or workspace: folds frames, finds gaps, and says what really changed.
 * Its parts are replaced, never changed, so that they can be handed out.
 */
export class Picture {
  epoch = null;
  version = -1;
  mode = 'full';
  count = 0;
  users = [];
  typing = [];
  cursors = new Map();
  /** A version was announced that we do not have. */
  behind = false;
  /** Whose picture it is: our own typing and cursor are not news to us. */
  me = { userId: null, session: null };

  /**
   * @returns `outcome`: `folded`, `ignored` (old news) or `gap` (watch again);
   * `events`: what an app would want to hear; `synced`: the gateway confirmed that this is the whole picture.
   */
  fold(frame) {
    switch (frame.type) {
      case 'presence:currentUsers':
      case 'presence:summary':
        return this.#whole(frame);
      case 'presence:unchanged':
        return this.#unchanged(frame);
      case 'presence:changes':
        return this.#patch(frame, frame.changes);
      case 'presence:userJoined':
      case 'presence:userUpdated':
      case 'presence:userLeft':
        return this.#patch(frame, [frame]);
      case 'presence:typing':
        return folded(this.#setTyping(frame.users));
      case 'presence:cursors':
        return folded(this.#moveCursors(frame.cursors, frame.gone));
      default:
        return IGNORED;
    }
  }

  /** Drops who is typing and pointing. */
  forgetFleeting() {
    return [...this.#setTyping([]), ...this.#setCursors([])];
  }

  #whole(frame) {
    // The same version is welcome: after a change of mode it carries something else.
    if (frame.epoch === this.epoch && frame.version < this.version) return IGNORED;
    const first = this.epoch === null;
    const bothListed = this.mode === 'full' && frame.mode === 'full';
    const before = new Map(this.users.map((user) => [user.id, user]));
    const users = frame.users.map((wire) => {
      const user = readUser(wire);
      const old = before.get(user.id);
      return old && same(old, user) ? old : user;
    });
    const unmoved = users.length === this.users.length && users.every((user, at) => user === this.users[at]);
    if (!unmoved) this.users = users;
    this.epoch = frame.epoch;
    this.version = frame.version;
    this.mode = frame.mode;
    this.count = frame.count;
    this.behind = false;

    // A face that enters or leaves the window of a summary has neither come nor gone.
    const events = first || !bothListed ? [] : difference(before, users);
    if (frame.typing) events.push(...this.#setTyping(frame.typing));
    if (frame.cursors) events.push(...this.#setCursors(frame.cursors));
    return { ...folded(events), synced: true };
  }

  #unchanged(frame) {
    if (frame.epoch !== this.epoch) return this.#gap();
    const events = [...this.#setTyping(frame.typing), ...this.#setCursors(frame.cursors)];
    // What we miss may follow; if it does not, `behind` makes us ask again.
    if (frame.version > this.version) this.behind = true;
    return { ...folded(events), synced: true };
  }

  #patch(frame, changes) {
    if (this.epoch === null) return IGNORED; // the whole state is on its way
    if (frame.epoch !== this.epoch) return this.#gap();
    if (frame.version <= this.version) return IGNORED;
    if (frame.version !== this.version + 1 || this.mode !== 'full') return this.#gap();

    const users = new Map(this.users.map((user) => [user.id, user]));
    const events = changes.flatMap((change) => this.#change(users, change));
    this.users = [...users.values()];
    this.count = users.size;
    this.version = frame.version;
    this.behind = false;
    return folded(events);
  }

  #change(users, change) {
    if (change.type === 'presence:userLeft') {
      const user = users.get(change.user_id);
      if (!user) return [];
      users.delete(user.id);
      return [
        ['leave', user, change.reason],
        ...this.#setTyping(this.typing.filter((id) => id !== user.id)),
        ...this.#moveCursors([], [...this.cursors.values()].filter(({ userId }) => userId === user.id).map(({ session }) => session)),
      ];
    }
    const user = readUser(change.user);
    const before = users.get(user.id);
    users.set(user.id, user);
    if (!before) return [['join', user]];
    return same(before, user) ? [] : [['update', user, before]];
  }

  #setTyping(ids) {
    const users = ids.filter((id) => id !== this.me.userId);
    const started = users.filter((id) => !this.typing.includes(id));
    const stopped = this.typing.filter((id) => !users.includes(id));
    if (!started.length && !stopped.length) return [];
    this.typing = users;
    return [['typing', { users, started, stopped }]];
  }

  #setCursors(wires) {
    const kept = new Set(wires.map(({ session }) => session));
    return this.#moveCursors(wires, [...this.cursors.keys()].filter((session) => !kept.has(session)));
  }

  #moveCursors(wires, gone) {
    const cursors = new Map(this.cursors);
    const events = [];
    for (const wire of wires) {
      const cursor = readCursor(wire);
      const before = cursors.get(cursor.session);
      if (cursor.session === this.me.session || (before && same(before, cursor))) continue;
      cursors.set(cursor.session, cursor);
      events.push(['cursor', cursor]);
    }
    for (const session of gone) {
      const cursor = cursors.get(session);
      if (cursors.delete(session)) events.push(['cursorGone', cursor]);
    }
    if (events.length) this.cursors = cursors;
    return events;
  }

  #gap() {
    this.behind = true;
    return { outcome: 'gap', events: [], synced: false };
  }
}

const IGNORED = { outcome: 'ignored', events: [], synced: false };

function folded(events) {
  return { outcome: 'folded', events, synced: false };
}

/** Who went, came and changed between two lists. Why somebody went is not known: it was not said to us. */
function difference(before, users) {
  const here = new Set(users.map(({ id }) => id));
  const left = [...before.values()].filter(({ id }) => !here.has(id)).map((user) => ['leave', user, null]);
  const others = users.flatMap((user) => {
    const old = before.get(user.id);
    if (!old) return [['join', user]];
    return old === user ? [] : [['update', user, old]];
  });
  return [...left, ...others];
}

/**
 * How long to wait before attempt `attempt` (from 0): 250 to 500 ms first, twice as long after each failure, up to 30 s. One half is
 * chance, so that a crowd does not come back as one.
 */
export function backoff(attempt, random = Math.random()) {
  return (0.5 + random / 2) * Math.min(30_000, 500 * 2 ** Math.min(attempt, 10));
}

/** What to do after a connection ended: `{ again: false }`, or `again` after `wait` ms, perhaps with a new token. */
export function afterClose({ code, closing, attempt, canRenewToken, random }) {
  const said = closing?.code ?? code;
  if (said === 4401) return canRenewToken ? { again: true, newToken: true, wait: backoff(attempt, random) } : { again: false };
  if (closing ? !closing.reconnect : FINAL_CODES.has(said)) return { again: false };
  // The gateway spreads its clients over time itself, so its word is taken as it is.
  return { again: true, newToken: false, wait: closing?.retry_after ?? backoff(attempt, random) };
}

/** Lets the latest value through at most once per `gap` ms. */
export class Pace {
  #gap;
  #latest = null;
  #last = -Infinity;

  constructor(gap) {
    this.#gap = gap;
  }

  put(value) {
    this.#latest = value;
  }

  clear() {
    this.#latest = null;
  }

  /** How long until `take` gives something. */
  wait(now) {
    return Math.max(0, this.#last + this.#gap - now);
  }

  take(now) {
    if (this.#latest === null || this.wait(now) > 0) return null;
    const value = this.#latest;
    this.#latest = null;
    this.#last = now;
    return value;
  }
}

/** Key presses in, typing frames out: the first press, then at most one frame per half a time to live. */
export class TypingPace {
  #sent = -Infinity;
  #pressed = -Infinity;

  /** A key was pressed. True: say so. */
  press(now, ttl) {
    this.#pressed = now;
    if (now - this.#sent < ttl / 2) return false;
    this.#sent = now;
    return true;
  }

  /** Half a time to live has passed since the last frame. True: keys were pressed since, say so. */
  refresh(now) {
    if (this.#pressed <= this.#sent) return false;
    this.#sent = now;
    return true;
  }

  /** How long until a whole time to live has passed since the last key. */
  rest(now, ttl) {
    return Math.max(0, this.#pressed + ttl - now);
  }

  /** True: the others think we are typing. */
  stop() {
    const was = this.#sent !== -Infinity;
    this.#sent = -Infinity;
    this.#pressed = -Infinity;
    return was;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The connection.

/** One session over as many sockets as it takes. */
class Link {
  connection = Object.freeze({ status: 'connecting', attempt: 0, retryAt: null, code: null, reason: null });
  online = false;
  /** `close()` was called. */
  ended = false;
  name;
  deviceId;
  userId;
  session = null;
  restored = false;
  limits = null;
  typingTtl = 5_000;

  #options;
  #app;
  #topics = new Map();
  #resume;
  #socket = null;
  #token = null;
  #tokenExpiresAt;
  #closing = null;
  #hello = null;
  #attempt = 0;
  #generation = 0;
  #clockOffset = 0;
  #heard = 0;
  #ref = 0;
  #asked = new Map();
  #queue = [];
  #timers = new Set();
  #retry = nothing;
  #nextBeat = nothing;
  #probe = nothing;
  #connectionTimers = [];
  #waitAsTold = false;
  #listeners = new AbortController();
  #attention;

  constructor(options, app) {
    this.#options = options;
    this.#app = app;
    this.name = options.name;
    this.userId = options.userId ?? null;
    this.deviceId = options.deviceId ?? browserId();
    this.#resume = new ResumeToken(`presence:resume:${options.url ?? '/ws'}:${options.userId ?? ''}`);
    this.#attention = new Attention(options.idleAfter ?? IDLE_MS, {
      signal: this.#listeners.signal,
      after: (ms, then) => this.after(ms, then),
      changed: () => {
        this.#sendActivity();
        if (this.#attention.now() !== 'hidden') this.#wake();
      },
    });
  }

  register(key, topic) {
    this.#topics.set(key, topic);
  }

  start() {
    listen(globalThis.window, 'online', () => this.#wake(), this.#listeners.signal);
    listen(globalThis.window, 'offline', () => this.#ask(), this.#listeners.signal);
    listen(globalThis.window, 'pagehide', () => this.#resume.putAway(), this.#listeners.signal);
    listen(globalThis.window, 'pageshow', (event) => {
      if (!event.persisted || this.connection.status === 'closed') return;
      // Back from the back/forward cache. Another page of this tab may have carried the session on:
      // the token to go on with is in the drawer, not in our hand.
      this.#resume.takeOut();
      this.#abandon();
      this.#open();
    }, this.#listeners.signal);
    this.#resume.takeOut();
    this.#open();
  }

  now() {
    return Date.now() + this.#clockOffset;
  }

  /** Runs `then` later, unless the connection is closed before; returns what cancels it. */
  after(ms, then) {
    if (this.ended) return nothing;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, ms);
    this.#timers.add(timer);
    return () => {
      clearTimeout(timer);
      this.#timers.delete(timer);
    };
  }

  /** Says something that is worthless later: without a connection it is dropped. */
  send(command) {
    if (this.online) this.#transmit(command);
  }

  /** Says something that is answered. Without a connection it waits; `again` also repeats it when its answer was lost. */
  request(command, { again = true } = {}) {
    if (this.ended || this.connection.status === 'closed') return refused('closed', 'the connection was closed');
    return quiet(new Promise((resolve, reject) => {
      const request = { command, again, resolve, reject, ref: null };
      request.cancel = this.after(COMMAND_MS_MAX, () => {
        this.#asked.delete(request.ref);
        this.#queue = this.#queue.filter((other) => other !== request);
        reject(new PresenceError({ code: 'timeout', message: 'the gateway did not answer in time' }));
      });
      if (this.online) return this.#sendRequest(request);
      if (this.#queue.length < QUEUE_MAX) return this.#queue.push(request);
      request.cancel();
      return reject(new PresenceError({ code: 'too_many', message: `more than ${QUEUE_MAX} commands wait for a connection` }));
    }));
  }

  keepToken(token) {
    if (typeof this.#options.token === 'function') this.#token = token;
    else this.#options = { ...this.#options, token };
  }

  reconnect() {
    if (this.ended || this.online) return;
    this.#open();
  }

  close() {
    if (this.ended) return;
    if (this.online) this.#transmit({ type: 'presence:leave' });
    this.ended = true;
    this.#generation += 1;
    this.#drop(1000);
    this.#resume.destroy();
    this.#end(1000, 'left');
    this.#listeners.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  // --- from the first attempt to the hello

  async #open() {
    const generation = (this.#generation += 1);
    this.#drop();
    this.#retry();
    this.#closing = null;
    this.#say({ status: this.#hello ? 'reconnecting' : 'connecting', attempt: this.#attempt, retryAt: null });
    let token;
    try {
      token = await this.#currentToken();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#app.emit('error', new PresenceError({ code: 'unauthorized', message: `the token function failed: ${error?.message ?? error}` }));
      this.#comeBack(backoff(this.#attempt), {});
      return;
    }
    if (generation !== this.#generation) return;

    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    const socket = new Socket(this.#url(this.#resume.token), token ? [PROTOCOL, `presence.bearer.${token}`] : [PROTOCOL]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#connectionTimers.push(this.after(this.#options.openingTimeout ?? OPENING_MS_MAX, () => this.#abandon('no hello')));
  }

  #url(resume) {
    const { url = '/ws', userId, workspace, token } = this.#options;
    const full = new URL(url, globalThis.location?.href);
    full.protocol = full.protocol.replace('http', 'ws');
    const params = {
      ...(token ? {} : { user_id: userId, name: this.name, workspace_id: workspace }),
      device_id: this.deviceId,
      resume,
    };
    for (const [key, value] of Object.entries(params)) {
      if (value) full.searchParams.set(key, value);
    }
    return full.href;
  }

  async #currentToken() {
    const { token } = this.#options;
    if (typeof token !== 'function') return token ?? null;
    if (this.#tokenExpiresAt - this.now() < 5_000) this.#token = null;
    if (this.#token === null) {
      this.#token = await token();
      this.#tokenExpiresAt = undefined; // the next hello says it
    }
    return this.#token;
  }

  #welcome(frame) {
    this.#clearConnectionTimers();
    this.#hello = frame;
    this.#clockOffset = frame.now - Date.now();
    this.#resume.token = frame.resume;
    this.userId = frame.user_id;
    this.session = frame.session;
    this.restored = frame.type === 'presence:restored';
    this.#tokenExpiresAt = frame.token_expires_at;
    this.limits = Object.freeze(camel(frame.limits));
    this.typingTtl = frame.typing_ttl;
    this.online = true;
    this.#waitAsTold = false;
    this.#attempt = Math.min(this.#attempt, UNSTEADY_ATTEMPT);
    this.#connectionTimers.push(this.after(STEADY_MS, () => { this.#attempt = 0; }));
    this.#beat();

    if (this.restored || this.#attention.now() !== 'active') this.#sendActivity();
    for (const topic of [...this.#topics.values()]) topic.online();
    for (const request of this.#queue.splice(0)) this.#sendRequest(request);
    this.#app.changed({ userId: frame.user_id, session: frame.session, workspaces: frame.workspaces });
    this.#say({ status: 'online', attempt: 0, retryAt: null, code: null, reason: null });
    this.#app.emit('hello', { restored: this.restored, session: frame.session, userId: frame.user_id });
  }

  // --- while it lasts

  #receive(data) {
    this.#heard = Date.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return; // a gateway that speaks another language is not worth a crash
    }
    switch (frame.type) {
      case 'presence:hello':
      case 'presence:restored':
        return this.#welcome(frame);
      case 'presence:ok':
      case 'presence:error':
      case 'presence:pong':
        return this.#answer(frame);
      case 'presence:self':
        return this.#app.changed({ self: Object.freeze({ ...camel(frame), devices: frame.devices.map(camel) }) });
      case 'presence:closing':
        this.#closing = frame;
        return undefined;
      case 'presence:expiring':
        return this.#renewToken(frame);
      case 'presence:health':
        return this.#app.emit('health', { degraded: frame.degraded });
      case 'presence:status':
        return this.#topics.get('users')?.frame(frame);
      default: {
        if (frame.users && frame.type === 'presence:removed') return this.#topics.get('users')?.frame(frame);
        const [kind, id] = frame.workspace === undefined ? ['channel', frame.channel] : ['workspace', frame.workspace];
        return this.#topics.get(`${kind} ${id}`)?.frame(frame);
      }
    }
  }

  #answer(frame) {
    const request = this.#asked.get(frame.ref);
    this.#asked.delete(frame.ref);
    request?.cancel();
    if (frame.type !== 'presence:error') {
      request?.resolve(frame.result);
      return;
    }
    const error = readError(frame);
    if (request) request.reject(error);
    else this.#app.emit('error', error);
  }

  async #renewToken(frame) {
    this.#app.emit('expiring', { tokenExpiresAt: frame.token_expires_at });
    if (typeof this.#options.token !== 'function') return;
    this.#token = null;
    try {
      const token = await this.#currentToken();
      await this.request({ type: 'presence:authenticate', token }, { again: false });
    } catch (error) {
      // The gateway will close with 4401 when the time has come, and then a new token is asked for.
      if (!this.ended) this.#app.emit('error', error);
    }
  }

  #beat() {
    this.#nextBeat = this.after(this.#hello.heartbeat_interval, () => {
      this.#ask();
      this.#beat();
    });
  }

  /** Is somebody there? A dead connection looks like a quiet one, so it is asked. */
  #ask() {
    if (!this.online || this.#probe !== nothing) return;
    const sent = Date.now();
    this.#ref += 1;
    this.#transmit({ type: 'presence:heartbeat', ref: this.#ref });
    this.#probe = this.after(ANSWER_MS_MAX, () => {
      this.#probe = nothing;
      if (this.#heard >= sent) return;
      // A timer that is far too late means that we slept, and the answer may lie unread in the queue behind us.
      if (Date.now() - sent > ANSWER_MS_MAX + 2_000) this.#ask();
      else this.#abandon('no answer to a heartbeat');
    });
  }

  #sendActivity() {
    this.send({ type: 'presence:activity', activity: this.#attention.now() });
  }

  #sendRequest(request) {
    const ref = (this.#ref += 1);
    request.ref = ref;
    this.#asked.set(ref, request);
    const tooLarge = this.#transmit({ ...request.command, ref });
    if (tooLarge) {
      this.#asked.delete(ref);
      request.cancel();
      request.reject(tooLarge);
    }
  }

  #transmit(command) {
    const text = JSON.stringify(command);
    const bytesMax = this.limits.frameBytesMax;
    // The gateway would close for good.
    if (text.length * 3 > bytesMax && new TextEncoder().encode(text).length > bytesMax) {
      return new PresenceError({ code: 'too_large', message: `the command is over ${bytesMax} bytes` });
    }
    this.#socket.send(text);
    return null;
  }

  // --- when it ends

  /** Gives a connection up without waiting for the other side, which may never answer. */
  #abandon(reason = 'given up') {
    if (!this.#socket) return;
    this.#lost(1006, reason);
  }

  #lost(code, reason) {
    const plan = afterClose({
      code,
      closing: this.#closing,
      attempt: this.#attempt,
      canRenewToken: typeof this.#options.token === 'function',
    });
    // A connection that never said hello may have been refused for its token: browsers do not tell.
    if (plan.newToken || !this.online) this.#token = null;
    const said = { code: this.#closing?.code ?? code, reason: this.#closing?.reason ?? (reason || null) };
    this.#waitAsTold = this.#closing?.retry_after !== undefined;
    this.#generation += 1;
    this.#drop();
    if (plan.again) this.#comeBack(plan.wait, said);
    else this.#end(said.code, said.reason);
  }

  #comeBack(wait, said) {
    this.#attempt += 1;
    this.#say({ status: this.#hello ? 'reconnecting' : 'connecting', attempt: this.#attempt, retryAt: Date.now() + wait, ...said });
    this.#retry = this.after(wait, () => this.#open());
  }

  #end(code, reason) {
    const error = new PresenceError({ code: 'closed', message: `the connection was closed (${code}${reason ? `, ${reason}` : ''})` });
    this.#resume.token = null;
    this.#retry();
    this.#say({ status: 'closed', attempt: 0, retryAt: null, code, reason });
    for (const request of this.#queue.splice(0)) {
      request.cancel();
      request.reject(error);
    }
    for (const topic of this.#topics.values()) topic.closed(error);
  }

  /** Lets go of the socket, and of everything that was about it. */
  #drop(code = 4000) {
    const socket = this.#socket;
    const wasOnline = this.online;
    this.#socket = null;
    this.online = false;
    this.#clearConnectionTimers();
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(code);
    }
    const error = new PresenceError({ code: this.ended ? 'closed' : 'disconnected', message: 'the connection was lost before the answer came' });
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const request of asked) {
      if (request.again && !this.ended) {
        this.#queue.push(request);
      } else {
        request.cancel();
        request.reject(error);
      }
    }
    if (wasOnline) for (const topic of this.#topics.values()) topic.lost();
  }

  /** The network or the person is back: find out at once whether the connection is. */
  #wake() {
    if (this.online) this.#ask();
    else if (this.connection.retryAt !== null && !this.#waitAsTold) this.#open();
  }

  #clearConnectionTimers() {
    this.#connectionTimers.splice(0).forEach((cancel) => cancel());
    this.#nextBeat();
    this.#probe();
    this.#probe = nothing;
  }

  #say(part) {
    const next = { ...this.connection, ...part };
    if (same(next, this.connection)) return;
    this.connection = Object.freeze(next);
    this.#app.changed({ connection: this.connection });
  }
}

/**
 * What lets a reloaded page go on as the same session. It is in memory while the page lives and in
 * sessionStorage only between two pages: a duplicated tab gets a copy of the storage, and must not find it there.
 */
class ResumeToken {
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

  destroy() {
    this.token = null;
    stored('sessionStorage', (storage) => storage.removeItem(this.#key));
  }
}

/** Whether the person looks at the page and touches it: `active`, `idle` or `hidden`. */
class Attention {
  #idleAfter;
  #env;
  #touched = Date.now();
  #said = 'active';

  constructor(idleAfter, env) {
    this.#idleAfter = idleAfter;
    this.#env = env;
    this.#said = this.now();
    listen(globalThis.document, 'visibilitychange', () => {
      this.#touched = Date.now();
      this.#check();
    }, env.signal);
    if (!globalThis.window || !Number.isFinite(idleAfter)) return;
    for (const event of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'focus']) {
      listen(globalThis.window, event, () => this.#touch(), env.signal);
    }
    this.#watch();
  }

  now() {
    if (globalThis.document?.visibilityState === 'hidden') return 'hidden';
    return Date.now() - this.#touched >= this.#idleAfter ? 'idle' : 'active';
  }

  #touch() {
    this.#touched = Date.now();
    if (this.#said === 'idle') this.#check();
  }

  #check() {
    const now = this.now();
    if (now === this.#said) return;
    this.#said = now;
    this.#env.changed();
  }

  /** One timer, armed for the earliest moment at which we could be idle. */
  #watch() {
    const rest = this.#touched + this.#idleAfter - Date.now();
    this.#env.after(rest > 0 ? rest : this.#idleAfter, () => {
      this.#check();
      this.#watch();
    });
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Small things.

/** A state to render from, and events. `getState` and `subscribe` can be passed around on their own. */
class Source {
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

function readUser(wire) {
  return { ...camel(wire), name: wire.name?.trim() || wire.id, metas: wire.metas.map(camel) };
}

function readCursor(wire) {
  return camel(wire);
}

/** Nobody told us about them yet. */
function unknown(userId) {
  return Object.freeze({ userId, status: null, devices: [] });
}

function readStatus({ type, epoch, version, ...status }) {
  return camel(status);
}

function readError({ code, message, field, retry_after: retryAfter }) {
  return new PresenceError({ code, message, field, retryAfter });
}

/** `joined_at` is `joinedAt` in JavaScript. Values are left as they are: a meta belongs to the app. */
function camel(object) {
  return Object.fromEntries(
    Object.entries(object).filter(([key]) => key !== 'type').map(([key, value]) => [key.replace(/_(.)/g, (_, letter) => letter.toUpperCase()), value]),
  );
}

function isPassing(error) {
  return PASSING_ERRORS.has(error.code);
}

/** Whether two JSON values are equal. */
export function same(a, b) {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

function browserId() {
  return stored('localStorage', (storage) => {
    const known = storage.getItem('presence:device');
    if (known) return known;
    const id = `web:browser_${randomId()}`;
    storage.setItem('presence:device', id);
    return id;
  }) ?? `web:browser_${randomId()}`;
}

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, '0')).join('');
}

/** Storage may be forbidden, full or absent; nothing here depends on it. */
function stored(name, use) {
  try {
    return use(globalThis[name]) ?? null;
  } catch {
    return null;
  }
}

function listen(target, event, listener, signal) {
  target?.addEventListener?.(event, listener, { signal, passive: true, capture: true });
}

function remember(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

function chunks(list, size) {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
}

/** A promise of nothing but that it was done. */
function done(promise) {
  return quiet(promise.then(nothing));
}

/** An ignored refusal is not an unhandled one: apps that care await, or listen to `error`. */
function quiet(promise) {
  promise.catch(nothing);
  return promise;
}

function refused(code, message) {
  return quiet(Promise.reject(new PresenceError({ code, message })));
}

function nothing() {}
