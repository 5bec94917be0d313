/* A gateway made of paper: what is said on the wire, and when. The clock is the test's. */

import { mock } from 'node:test';

/** One socket, and the gateway behind it: `says` sends a frame, `heard` is what came. */
export class PaperSocket {
  static all = [];
  heard = [];
  closed = null;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
    PaperSocket.all.push(this);
  }

  send(text) {
    const command = JSON.parse(text);
    this.heard.push(command);
    if (command.ref !== undefined && this.answers !== false) this.says({ type: 'presence:ok', ref: command.ref });
  }

  close(code) {
    this.closed = code;
  }

  says(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  breaks(code = 1006) {
    this.onclose?.({ code, reason: '' });
  }

  hello({ restored = false, ...more } = {}) {
    this.says({
      type: restored ? 'presence:restored' : 'presence:hello', session: 's1', resume: `resume-${PaperSocket.all.length}`, user_id: 'ann',
      device_id: 'web:t', workspaces: [], now: Date.now(), heartbeat_interval: 15_000, presence_ttl: 60_000, typing_ttl: 5_000, grace: 10_000,
      limits: { frame_bytes_max: 1_000, meta_bytes_max: 4_096, channels_max: 100, watches_max: 2_000, listed_max: 500 }, ...more,
    });
  }

  /** What came since the last time, in short. */
  take() {
    return this.heard.splice(0).map(({ type, channel, users, mode, have, typing, activity }) =>
      [type.replace('presence:', ''), channel, users?.join('+'), mode, have && `have ${have.version}`, typing, activity].filter((part) => part !== undefined).join(' '));
  }
}

export const latest = () => PaperSocket.all.at(-1);
export const person = (id) => ({ id, status: 'online', name: id, joined_at: 1, metas: [] });
export const everyone = (version, ...ids) => ({ type: 'presence:currentUsers', channel: 'room:1', epoch: 'e', version, mode: 'full', count: ids.length, users: ids.map(person), typing: [], cursors: [] });
export const joined = (version, id) => ({ type: 'presence:userJoined', channel: 'room:1', epoch: 'e', version, user: person(id) });

/** Lets what is waiting for promises happen. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

export async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

/** Before each test: no sockets, and a clock that stands still. */
export function begin() {
  PaperSocket.all = [];
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 0.5);
}

/** After each test. */
export function finish() {
  mock.timers.reset();
  mock.restoreAll();
}
