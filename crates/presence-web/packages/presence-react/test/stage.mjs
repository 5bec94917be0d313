/* A page, and a gateway that has people in its rooms. */

import { setMaxListeners } from 'node:events';

import { Window } from 'happy-dom';

// Its events are made with Node's signals, which warn of more than ten listeners.
setMaxListeners(0);

const page = new Window({ url: 'http://localhost/' });
Object.assign(globalThis, {
  window: page, document: page.document, HTMLElement: page.HTMLElement, HTMLIFrameElement: page.HTMLIFrameElement, Node: page.Node,
  IS_REACT_ACT_ENVIRONMENT: true,
});

Object.defineProperty(globalThis, 'navigator', { value: page.navigator, configurable: true });

const frames = new Map();
globalThis.requestAnimationFrame = (then) => {
  const id = frames.size ? Math.max(...frames.keys()) + 1 : 1;
  frames.set(id, then);
  return id;
};
globalThis.cancelAnimationFrame = (id) => frames.delete(id);

/** The screen is drawn once. */
export function frame() {
  const due = [...frames.values()];
  frames.clear();
  for (const then of due) then(performance.now());
}

export const member = (id, more = {}) => ({ id, name: id, status: 'online', color: '#0e7490', joined_at: 1, metas: [], ...more });

/** One socket of a gateway that answers at once, unless `silent` says which commands it leaves unanswered. */
export class Socket {
  static all = [];
  static silent = new Set();
  /** Who is in every room, besides whoever asks. */
  static others = [];
  heard = [];
  closed = null;
  version = 1;

  constructor(url) {
    this.url = new URL(url);
    this.user = this.url.searchParams.get('user_id') ?? 'ann';
    Socket.all.push(this);
    if (!Socket.silent.has('hello')) queueMicrotask(() => this.hello());
  }

  static reset() {
    Socket.all = [];
    Socket.silent = new Set();
    Socket.others = [member('bob'), member('eve')];
  }

  static get latest() {
    return Socket.all.at(-1);
  }

  /** What all connections said, in short. */
  static get told() {
    return Socket.all.flatMap(({ heard }) => heard).filter(({ type }) => !/activity|heartbeat|unwatch/.test(type))
      .map(({ type, channel, users, meta }) => [type.replace('presence:', ''), channel ?? users?.join('+'), meta && JSON.stringify(meta)].filter(Boolean).join(' '));
  }

  hello() {
    this.says({
      type: 'presence:hello', session: `s${Socket.all.length}`, resume: 'r', user_id: this.user, device_id: 'web:t', workspaces: [], now: Date.now(),
      heartbeat_interval: 15_000, presence_ttl: 60_000, typing_ttl: 5_000, grace: 10_000,
      limits: { frame_bytes_max: 65_536, meta_bytes_max: 4_096, channels_max: 100, watches_max: 2_000, listed_max: 500 },
    });
  }

  send(text) {
    const command = JSON.parse(text);
    const name = command.type.replace('presence:', '');
    this.heard.push(command);
    if (command.ref === undefined || Socket.silent.has(name)) return;
    if (name === 'join') this.room(command.channel, [...Socket.others, member(this.user, command.meta)]);
    this.says({ type: 'presence:ok', ref: command.ref });
  }

  /** The whole of a room. */
  room(channel, users) {
    this.says({ type: 'presence:currentUsers', channel, epoch: 'e', version: this.version, mode: 'full', count: users.length, users, typing: [], cursors: [] });
  }

  updated(channel, user) {
    this.version += 1;
    this.says({ type: 'presence:userUpdated', channel, epoch: 'e', version: this.version, user });
  }

  says(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  close(code) {
    this.closed = code;
  }
}

/** Lets everything happen that waits for promises and for timers of no time. */
export async function settle() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => { setTimeout(resolve); });
}
