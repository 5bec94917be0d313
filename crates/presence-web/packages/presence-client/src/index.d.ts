/**
 * The types of `presence-client`, the browser client of Presence.
 *
 * Names are those of `docs/protocol.md` in camelCase. Times are milliseconds since 1970 on the gateway's clock:
 * compare them with `presence.now()`. States are replaced, never changed: a part that is the same has the same reference.
 */

/** Connect, and stay connected until `close()`. */
export function connect(options?: Options): Presence;

export interface Options {
  /** Where the gateway is: `/ws` of this site, if not given. `http` means `ws` and `https` means `wss`. */
  url?: string | URL;
  /**
   * Who you are, for a gateway that has a key. An async function is called when a token is needed for the first time,
   * when the old one runs out and when it was refused; what it throws is an `error`, and it is called again after a while.
   * With a plain string a refusal is final.
   */
  token?: string | (() => string | Promise<string>);
  /** Who you are, for a gateway that has no key. Without it you get a random `anon_…`. */
  userId?: string;
  /** Shown beside your user, in every channel whose meta has no name of its own. */
  name?: string;
  /** Whose online list you are in, for a gateway that has no key. */
  workspace?: string;
  /** `web:…`, `mobile:…` or `desktop:…`. If not given, one is made up and kept in localStorage. */
  deviceId?: string;
  /** Milliseconds without input after which you count as idle: five minutes. `Infinity` switches it off. */
  idleAfter?: number;
  /** Milliseconds from opening a socket to its hello: 15,000. */
  openingTimeout?: number;
  /**
   * The class to open sockets with, where there is no global one: that of `ws` in Node 20. `null`: never connect, whatever there is.
   * Without a class, or with a relative `url` outside of a page, the client stays offline: it can be made on a server that renders pages.
   */
  WebSocket?: (new (url: string, protocols: string[]) => unknown) | null;
  /** `false`: connect at the first `reconnect()`, and do nothing at all until then. */
  autoConnect?: boolean;
}

/** One person's connection: the way to channels, workspaces and people. */
export class Presence {
  private constructor();

  /** Where the connection stands. */
  readonly connection: Connection;
  /**
   * The truth about yourself, `null` until the first hello. While you are invisible you are in no list of users,
   * not even your own: show yourself from here.
   */
  readonly self: Self | null;
  /** Your user id: what you asked for, and from the hello on what the gateway says. */
  readonly userId: string | null;
  /** This connection's session, `null` until the first hello. */
  readonly session: string | null;
  readonly deviceId: string;
  /** What the gateway grants one connection, `null` until the first hello. */
  readonly limits: Limits | null;

  /** All of the above in one immutable object, for `useSyncExternalStore` and its like. Needs no `this`. */
  readonly getState: () => PresenceState;
  /** Calls `subscriber` whenever the state has changed; returns what stops it. Needs no `this`. */
  readonly subscribe: (subscriber: (state: PresenceState) => void) => Unsubscribe;
  /** Calls `listener` at each `event`; returns what stops it. */
  on<Event extends keyof PresenceEvents>(event: Event, listener: (...args: PresenceEvents[Event]) => void): Unsubscribe;

  /** The channel called `id`: always the same object, so its joins are not counted. */
  channel<Meta extends object = Record<string, unknown>>(id: string): Channel<Meta>;
  /** Everyone who is online in a workspace: always the same object. */
  workspace(id: string): Workspace;
  /** One person, wherever they are: always the same object. */
  user(id: string): User;

  /** Changes your chosen status: what is absent stays, `null` clears. */
  setStatus(status: StatusChange): Promise<void>;
  /** The status of up to 1,000 users, now. */
  getStatuses(userIds: Iterable<string>): Promise<UserStatus[]>;
  /** The name you go by from now on, in every channel whose meta has none of its own. */
  setName(name: string): void;
  /** A fresh token for the same user. Not needed when `token` is a function. */
  authenticate(token: string): Promise<void>;
  /** Milliseconds to the gateway and back. */
  ping(): Promise<number>;
  /** The gateway's clock, as well as we know it. */
  now(): number;

  /** Tries now instead of waiting; also brings back a connection which the gateway ended for good, and begins where `autoConnect` is off. */
  reconnect(): void;
  /** Leaves at once: others are told now, not after the grace. Nothing of this object runs afterwards. */
  close(): void;
}

export interface PresenceState {
  readonly connection: Connection;
  readonly self: Self | null;
  readonly userId: string | null;
  readonly session: string | null;
  readonly workspaces: readonly string[];
}

export interface PresenceEvents {
  connection: [connection: Connection];
  /** A connection is there. `restored`: it is the same session as before. */
  hello: [hello: { restored: boolean; session: string; userId: string }];
  self: [self: Self];
  /** Your token runs out. With a token function it is renewed by itself, else call `authenticate`. */
  expiring: [token: { tokenExpiresAt: number }];
  /** The gateway has lost the others, or has found them again: meanwhile people on them are shown as they last were. */
  health: [health: { degraded: boolean }];
  /** The gateway did not let you in, or not any longer, for what your token says or because there is none. No `error` tells it once more. */
  refused: [refusal: Refusal];
  /** What answers no promise and is not `refused`: a command that went wrong, a `token` function that failed, an address that cannot be connected to. */
  error: [error: PresenceError];
}

/** Why the gateway refused who you are. */
export interface Refusal {
  /**
   * `missing`: it wants a token and got none. `expired`: it has run out. `forbidden`: it does not allow this, or this cannot be.
   * `invalid`: anything else is wrong with it, or its user has been revoked.
   */
  readonly reason: 'missing' | 'expired' | 'invalid' | 'forbidden';
  /** What exactly is wrong, in the gateway's words. */
  readonly message: string;
  /** The close code: 4401, or 4403 for `forbidden`. */
  readonly code: number;
  /** Whether `token` is asked for another one now. If not, the connection is `closed` until you call `reconnect()`. */
  readonly retrying: boolean;
}

export interface Connection {
  /** `closed`: by `close()`, or by the gateway for good (see `code` and `reason`). */
  readonly status: 'connecting' | 'online' | 'reconnecting' | 'closed';
  /** How many attempts have failed in a row. */
  readonly attempt: number;
  /** When the next attempt is made, by `Date.now()`; `null` while none is waited for. */
  readonly retryAt: number | null;
  /** The close code of the last connection, `null` while online. */
  readonly code: number | null;
  /** Why it ended, in words. A browser does not tell a gateway that is not there from one that does not allow this page. */
  readonly reason: string | null;
}

export interface Limits {
  readonly frameBytesMax: number;
  readonly metaBytesMax: number;
  readonly channelsMax: number;
  readonly watchesMax: number;
  readonly listedMax: number;
}

/** What others are shown. */
export type VisibleStatus = 'online' | 'away' | 'busy' | 'offline';
/** What a person can choose. */
export type ChosenStatus = 'online' | 'away' | 'busy' | 'invisible' | 'offline';
export type DeviceKind = 'web' | 'mobile' | 'desktop' | 'other';
export type Activity = 'active' | 'idle' | 'hidden';

export interface StatusChange {
  status?: ChosenStatus | null;
  /** Up to 256 characters. */
  customMessage?: string | null;
  /** One emoji, or `:shortcode:`. */
  emoji?: string | null;
  /** Seconds until all three fall back to plain `online`. */
  clearAfter?: number | null;
  /** The moment at which they do. */
  expiresAt?: number | null;
}

/** You, as only you see it. */
export interface Self {
  readonly userId: string;
  /** What you chose. */
  readonly status: ChosenStatus;
  /** What others see. */
  readonly shown: VisibleStatus;
  readonly customMessage?: string;
  readonly emoji?: string;
  readonly expiresAt?: number;
  readonly revision: number;
  readonly devices: readonly SelfDevice[];
  /** Your session as others are shown it; absent if the gateway is too old to say. */
  readonly session?: string;
}

export interface SelfDevice {
  readonly id: string;
  readonly kind: DeviceKind;
  readonly activity: Activity;
  /** How many sessions it has: two tabs are two. */
  readonly sessions: number;
}

export type Mode = 'full' | 'summary';

/** A place people are in, and who is in it. */
export interface Channel<Meta extends object = Record<string, unknown>> {
  readonly id: string;
  readonly state: PlaceState<Meta>;
  /** The same as `state`. Needs no `this`. */
  readonly getState: () => PlaceState<Meta>;
  /** Calls `subscriber` whenever the state has changed; returns what stops it. Needs no `this`. */
  readonly subscribe: (subscriber: (state: PlaceState<Meta>) => void) => Unsubscribe;
  /** Calls `listener` at each `event`; returns what stops it. */
  on<Event extends keyof ChannelEvents<Meta>>(event: Event, listener: (...args: ChannelEvents<Meta>[Event]) => void): Unsubscribe;

  /**
   * Be in the channel, and watch it unless `watch` is false. Again with other options: they replace the old ones.
   * It holds over reconnects until `leave()`; the promise waits as long as it takes, and rejects when you may not.
   */
  join(options?: { meta?: Meta; mode?: Mode; watch?: boolean }): Promise<void>;
  /**
   * Be in the channel until what is returned is called. It is counted: parts of a page that know nothing of each other share the
   * channel, the latest meta that was given is shown, and you leave when the last of them has left. A refusal is in
   * `state.error`, and an `error` event of the channel.
   */
  enter(options?: { meta?: Meta; mode?: Mode; watch?: boolean }): () => void;
  /** Replaces your meta in this channel. */
  update(meta: Meta): Promise<void>;
  /** Leaves at once, whoever has entered. A `watch()` of your own stays. */
  leave(): Promise<void>;
  /** See who is here without being here. */
  watch(options?: { mode?: Mode }): Promise<void>;
  unwatch(): Promise<void>;

  /** You are typing: call it at every key press, it sends what is needed. `typing(false)` stops at once. */
  typing(active?: boolean): void;
  /**
   * You point at `(x, y)`; the latest wins. Use coordinates that mean the same on every screen, such as 0 to 1.
   * `cursor(null)` hides your cursor.
   */
  cursor(x: number, y: number): void;
  cursor(hidden: null): void;
  /** You selected `start` to `end`; `select(null)` nothing. */
  select(start: number, end: number): void;
  select(nothing: null): void;
  /**
   * Tells everyone who watches the channel, yourself too. It also ends your typing. Rejects with `disconnected` when
   * the connection was lost before the answer: it may have been heard or not.
   */
  broadcast(event: string, payload?: unknown): Promise<void>;
  /** A page of the people here, in the order they came. */
  list(page?: { limit?: number; offset?: number }): Promise<Page<Meta>>;
  /** A few rows of the list of people, however long it is, and what changes in them, until it is closed. You need not be in the channel. */
  window(options?: WindowOptions): RosterWindow<Meta>;
}

/** Which rows a window shows. */
export interface WindowOptions {
  /** By when they joined, or by name. Without it: `name` where there is a `prefix`, else `joined`. */
  order?: 'joined' | 'name';
  /** Only people whose name begins with it, in upper or lower case; who has no name has their id. */
  prefix?: string;
  /** The rows begin after this one: a user of a window or of a list. `{ name }` alone begins with that name. `null`: from the first. */
  after?: { readonly id?: string; readonly name?: string; readonly joinedAt?: number } | null;
  /** How many rows, 1 to 50 (50). */
  limit?: number;
}

/** A few rows of a list of people. It stays over reconnects until `close()`; on each connection the rows are told again. */
export interface RosterWindow<Meta extends object = Record<string, unknown>> {
  readonly state: WindowState<Meta>;
  /** Needs no `this`. */
  readonly getState: () => WindowState<Meta>;
  /** Calls `subscriber` when the state has changed; returns what stops it. Needs no `this`. */
  readonly subscribe: (subscriber: (state: WindowState<Meta>) => void) => Unsubscribe;
  /** `sync`: the rows were told in full, after it was opened or moved, and on each connection. `error`: it was refused for good. */
  on(event: 'sync', listener: (state: WindowState<Meta>) => void): Unsubscribe;
  on(event: 'error', listener: (error: PresenceError) => void): Unsubscribe;
  /** Shows other rows: what is not named stays as it is. The old rows stay until the new ones are there. */
  move(options: WindowOptions): void;
  close(): void;
}

export interface WindowState<Meta extends object = Record<string, unknown>> {
  /** The rows, in the order of the window; each with at most four of their sessions. */
  readonly users: readonly Member<Meta>[];
  /** How many people are there in all: exact, at most a second old. */
  readonly count: number;
  /** False until the first rows and while the connection is away: what you show may be out of date. */
  readonly live: boolean;
  /** Why it was refused. */
  readonly error: PresenceError | null;
}

/** Everyone who is online in one workspace. */
export interface Workspace {
  readonly id: string;
  readonly state: PlaceState;
  readonly getState: () => PlaceState;
  readonly subscribe: (subscriber: (state: PlaceState) => void) => Unsubscribe;
  on<Event extends keyof PlaceEvents>(event: Event, listener: (...args: PlaceEvents[Event]) => void): Unsubscribe;
  watch(options?: { mode?: Mode }): Promise<void>;
  unwatch(): Promise<void>;
  list(page?: { limit?: number; offset?: number }): Promise<Page>;
  window(options?: WindowOptions): RosterWindow;
}

/** One person, wherever they are. */
export interface User {
  readonly id: string;
  readonly state: UserStatus;
  readonly getState: () => UserStatus;
  readonly subscribe: (subscriber: (state: UserStatus) => void) => Unsubscribe;
  watch(): Promise<void>;
  /** Stops at once, whoever follows. */
  unwatch(): Promise<void>;
  /** Watch until what is returned is called. It is counted, like `enter()` of a channel. */
  follow(): () => void;
}

/** What is known of a channel or workspace. */
export interface PlaceState<Meta extends object = Record<string, unknown>> {
  /** `summary`: `count` is exact, `users` are only the first faces. */
  readonly mode: Mode;
  readonly count: number;
  /** In the order they came. */
  readonly users: readonly Member<Meta>[];
  /** Ids of those who are typing, without yourself. */
  readonly typing: readonly string[];
  /** By session, without this one. */
  readonly cursors: ReadonlyMap<string, Cursor>;
  /** This connection has joined, or is just about to. */
  readonly joined: boolean;
  /** False until the first picture and while the connection is away: what you show may be out of date. */
  readonly live: boolean;
  /** Why you may not join or watch, or why your meta was refused; `null` once something else is asked for. */
  readonly error: PresenceError | null;
}

/** A person in a channel or workspace: several sessions, one face. */
export interface Member<Meta extends object = Record<string, unknown>> {
  readonly id: string;
  readonly status: VisibleStatus;
  /** Never empty: the id, when they have no name. */
  readonly name: string;
  /**
   * The colour of their meta; without one that of `colorsOf`, so that the first twelve people differ. `shadesOf` has its shade for
   * dark pages.
   */
  readonly color?: string;
  readonly avatar?: string;
  readonly customMessage?: string;
  readonly emoji?: string;
  readonly joinedAt: number;
  /** One for each of their sessions here. */
  readonly metas: readonly SessionMeta<Meta>[];
}

export interface SessionMeta<Meta extends object = Record<string, unknown>> {
  readonly session: string;
  readonly device: DeviceKind;
  readonly joinedAt: number;
  readonly meta: Meta;
}

export interface Cursor {
  readonly session: string;
  readonly userId: string;
  /** Absent when there is only a selection. */
  readonly x?: number;
  readonly y?: number;
  readonly visible?: boolean;
  readonly selection?: { readonly start: number; readonly end: number };
}

/** `null`: it happened while we were not connected. */
export type LeaveReason = 'left' | 'lost' | 'timed_out' | 'replaced' | 'node_lost' | 'kicked' | null;

/** What happens in a workspace. After a reconnect only what really changed; in a summary nobody joins or leaves. */
export interface PlaceEvents<Meta extends object = Record<string, unknown>> {
  join: [user: Member<Meta>];
  leave: [user: Member<Meta>, reason: LeaveReason];
  update: [user: Member<Meta>, before: Member<Meta>];
  /** The picture is whole: at first, after each reconnect, and at each summary. */
  sync: [state: PlaceState<Meta>];
  /** A fresh token does not allow this place any more: we are out of it. */
  removed: [];
  /** A join, watch or update was refused for good. */
  error: [error: PresenceError];
}

/** What happens in a channel. */
export interface ChannelEvents<Meta extends object = Record<string, unknown>> extends PlaceEvents<Meta> {
  typing: [typing: { users: readonly string[]; started: readonly string[]; stopped: readonly string[] }];
  cursor: [cursor: Cursor];
  cursorGone: [cursor: Cursor];
  broadcast: [broadcast: Broadcast];
  /** `on('broadcast:reaction', …)` hears the broadcasts of one event. */
  [broadcast: `broadcast:${string}`]: [broadcast: Broadcast];
}

export interface Broadcast {
  readonly event: string;
  readonly payload: any;
  readonly userId: string;
  readonly session: string;
}

export interface Page<Meta extends object = Record<string, unknown>> {
  readonly users: readonly Member<Meta>[];
  readonly total: number;
  readonly limit: number;
  readonly offset: number;
}

/** What others may see of one person. */
export interface UserStatus {
  readonly userId: string;
  /** `null`: not watched, or not yet known. */
  readonly status: VisibleStatus | null;
  readonly customMessage?: string;
  readonly emoji?: string;
  readonly lastSeen?: number;
  readonly devices?: readonly DeviceKind[];
}

/** Why a command was refused. */
export class PresenceError extends Error {
  constructor(error: { code: ErrorCode; message: string; field?: string; retryAfter?: number });
  readonly code: ErrorCode;
  /** Which field of the command it was about. */
  readonly field?: string;
  /** Milliseconds after which it may work. */
  readonly retryAfter?: number;
}

/** The gateway's codes, and three of our own: no answer in 30 s, the connection was lost, the connection is closed. */
export type ErrorCode =
  | 'malformed' | 'unknown_command' | 'invalid' | 'forbidden' | 'unauthorized' | 'not_joined' | 'too_many' | 'too_large'
  | 'rate_limited' | 'overloaded' | 'unavailable'
  | 'timeout' | 'disconnected' | 'closed';

export type Unsubscribe = () => void;

// The pure parts, for tests and for other clients.

/** What we know of one channel or workspace: folds frames, finds gaps, and says what really changed. */
export class Picture {
  epoch: string | null;
  version: number;
  mode: Mode;
  count: number;
  users: readonly Member[];
  typing: readonly string[];
  cursors: ReadonlyMap<string, Cursor>;
  /** A version was announced that we do not have. */
  behind: boolean;
  /** Whose picture it is: our own typing and cursor are not news to us. */
  me: { userId: string | null; session: string | null };
  /** `gap`: watch again. `synced`: the gateway confirmed that this is the whole picture. */
  fold(frame: any): { outcome: 'folded' | 'ignored' | 'gap'; events: [event: string, ...args: any[]][]; synced: boolean };
  /** Drops who is typing and pointing. */
  forgetFleeting(): [event: string, ...args: any[]][];
}

/** Milliseconds before attempt `attempt` (from 0): 250 to 500 first, twice as long after each failure, up to 30 s. */
export function backoff(attempt: number, random?: number): number;

/** What to do after a connection ended. */
export function afterClose(ending: {
  code: number;
  /** The `presence:closing` that came before. */
  closing?: { code: number; reconnect: boolean; retry_after?: number } | null;
  attempt: number;
  canRenewToken: boolean;
  random?: number;
}): { again: false } | { again: true; newToken: boolean; wait: number };

/** Lets the latest value through at most once per `gap` ms. */
export class Pace<Value = unknown> {
  constructor(gap: number);
  put(value: Value): void;
  clear(): void;
  /** How long until `take` gives something. */
  wait(now: number): number;
  take(now: number): Value | null;
}

/** Key presses in, typing frames out: the first press, then at most one frame per half a time to live. */
export class TypingPace {
  press(now: number, ttl: number): boolean;
  refresh(now: number): boolean;
  rest(now: number, ttl: number): number;
  stop(): boolean;
}

/** Twelve colours, each as `[on a light page, on a dark page]`: at least 0.1 apart in OKLab, with a contrast of at least 4.5. */
export const palette: readonly (readonly [light: string, dark: string])[];

/**
 * The colour of each of `people`, by id, as it is on a light page. They are in the order they came; what has a `joinedAt` is brought into
 * it. A `color` that was chosen stands, everybody else has the one of their id or the next that nobody before them has. The users of a
 * state have it; call it for lists of other protocols.
 */
export function colorsOf(people: Iterable<{
  readonly id: string; readonly color?: string | null; readonly joinedAt?: number; readonly metas?: readonly { readonly meta?: object }[];
}>): Map<string, string>;

/** `color` on a light page and on a dark one: those of `palette` have two shades, all others are what they are. */
export function shadesOf(color: string): readonly [light: string, dark: string];

/** Whether two JSON values are equal. */
export function same(a: unknown, b: unknown): boolean;
