/* What we know of one channel or workspace. Pure: nothing here waits, sends or listens. */

import { colorsOf } from './colors.js';
import { camel, readUser, same } from './wire.js';

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
  /** The people as the gateway told of them: it gives two of them the same colour. */
  #told = [];

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
    const before = new Map(this.#told.map((user) => [user.id, user]));
    const users = frame.users.map((wire) => {
      const user = readUser(wire);
      const old = before.get(user.id);
      return old && same(old, user) ? old : user;
    });
    this.#people(users);
    this.epoch = frame.epoch;
    this.version = frame.version;
    this.mode = frame.mode;
    this.count = frame.count;
    this.behind = false;

    // A face that enters or leaves the window of a summary has neither come nor gone.
    const events = first || !bothListed ? [] : colored(difference(before, users));
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

    const users = new Map(this.#told.map((user) => [user.id, user]));
    const events = changes.flatMap((change) => this.#change(users, change));
    this.#people([...users.values()]);
    this.count = users.size;
    this.version = frame.version;
    this.behind = false;
    return folded(colored(events));
  }

  #people(told) {
    this.#told = told;
    const colors = colorsOf(told);
    const users = told.map((user) => inColor(user, colors.get(user.id)));
    const unmoved = users.length === this.users.length && users.every((user, at) => user === this.users[at]);
    if (!unmoved) this.users = users;
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
      const cursor = camel(wire);
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

/** Whom we show for whom the gateway told of: the same person in their colour here. */
const shown = new WeakMap();

function inColor(user, color) {
  if (shown.get(user)?.color !== color) shown.set(user, user.color === color ? user : { ...user, color });
  return shown.get(user);
}

/** The same events about people in their colours. */
function colored(events) {
  return events.map(([event, ...args]) => [event, ...args.map((it) => shown.get(it) ?? it)]);
}
