/* One person's connection: the way to channels, workspaces and people. */

import { Channel } from './channel.js';
import { Link } from './link.js';
import { People } from './people.js';
import { done, quiet, remember } from './promises.js';
import { Source } from './source.js';
import { camel } from './wire.js';
import { Workspace } from './workspace.js';

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
    if (options.autoConnect !== false) this.#link.start();
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

  /** Tries now instead of waiting; also brings back a connection which the gateway ended for good, and begins where `autoConnect` is off. */
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
