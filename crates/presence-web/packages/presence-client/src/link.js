/* One session over as many sockets as it takes. */

import { address, canConnect } from './address.js';
import { Attention } from './attention.js';
import { browserId, listen } from './browser.js';
import { afterClose, backoff, ending, refusalOf } from './ending.js';
import { problem } from './errors.js';
import { nothing, refused } from './promises.js';
import { Requests } from './requests.js';
import { ResumeToken } from './resume.js';
import { Timers } from './timers.js';
import { Tokens } from './tokens.js';
import { camel, same } from './wire.js';

const PROTOCOL = 'presence.v1.json';
const ANSWER_MS_MAX = 8_000; // of a heartbeat: after that the connection is dead
const OPENING_MS_MAX = 15_000;
const STEADY_MS = 2_000; // a connection that lasted that long starts the back-off afresh
const UNSTEADY_ATTEMPT = 2; // and one that was lost sooner goes on here: it was let in, so the gateway is there
const IDLE_MS = 5 * 60_000;

export class Link {
  connection = Object.freeze({ status: 'connecting', attempt: 0, retryAt: null, code: null, reason: null });
  online = false;
  /** `close()` was called. */
  ended = false;
  name;
  userId;
  session = null;
  restored = false;
  limits = null;
  typingTtl = 5_000;

  #options;
  #started = false;
  #deviceId;
  #app;
  #topics = new Map();
  #resume;
  #socket = null;
  #tokens;
  #closing = null;
  /** What the gateway said before a hello: why it does not let us in. */
  #complaint = null;
  #hello = null;
  #attempt = 0;
  #generation = 0;
  #clockOffset = 0;
  #heard = 0;
  #timers = new Timers();
  #requests = new Requests(this);
  #retry = nothing;
  /** What is waited for on the socket that is there. */
  #socketTimers = new Timers();
  /** When the gateway was last asked whether it is there. */
  #asked = 0;
  #waitAsTold = false;
  #listeners = new AbortController();
  #attention;

  constructor(options, app) {
    this.#options = options;
    this.#app = app;
    this.#tokens = new Tokens(options.token, () => this.now());
    this.name = options.name;
    this.userId = options.userId ?? null;
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

  /** Kept where the browser keeps things, so it is asked for no sooner than needed. */
  get deviceId() {
    return (this.#deviceId ??= this.#options.deviceId ?? browserId());
  }

  /** Why nothing can be wished for: no connection will come. `null` while one is there or may come. */
  get unreachable() {
    if (this.ended) return closedError();
    if (canConnect(this.#options)) return null;
    return problem('disconnected', 'no page and no WebSocket here: this client stays offline');
  }

  start() {
    if (this.#started || this.unreachable) return;
    this.#started = true;
    this.#attention.watch();
    const { signal } = this.#listeners;
    listen(signal, 'online', () => this.#wake());
    listen(signal, 'offline', () => this.#ask());
    listen(signal, 'pagehide', () => this.#resume.putAway());
    listen(signal, 'pageshow', ({ persisted }) => {
      if (!persisted || this.connection.status === 'closed') return;
      // Back from the back/forward cache. Another page of this tab may have carried the session on:
      // the token to go on with is in the drawer, not in our hand.
      this.#resume.takeOut();
      this.#abandon();
      this.#open();
    });
    this.#resume.takeOut();
    this.#open();
  }

  now() {
    return Date.now() + this.#clockOffset;
  }

  /** Runs `then` later, unless the connection is closed before; returns what cancels it. */
  after(ms, then) {
    return this.#timers.after(ms, then);
  }

  /** Says something that is worthless later: without a connection it is dropped. */
  send(command) {
    if (this.online) this.transmit(command);
  }

  /** Says something that is answered. Without a connection it waits; `again` also repeats it when its answer was lost. */
  request(command, { again = true } = {}) {
    const unreachable = this.connection.status === 'closed' ? closedError() : this.unreachable;
    if (unreachable) return refused(unreachable);
    return this.#requests.make(command, again);
  }

  keepToken(token) {
    this.#tokens.keep(token);
  }

  reconnect() {
    if (this.ended || this.online) return;
    if (this.#started) this.#open();
    else this.start();
  }

  close() {
    if (this.ended) return;
    if (this.online) this.transmit({ type: 'presence:leave' });
    this.ended = true;
    this.#generation += 1;
    this.#drop(1000);
    this.#resume.takeOut(); // nobody goes on with it
    this.#end(1000, 'left');
    this.#listeners.abort();
    this.#timers.stop();
  }

  // --- from the first attempt to the hello

  async #open() {
    const generation = (this.#generation += 1);
    this.#drop();
    this.#retry();
    this.#closing = null;
    this.#complaint = null;
    this.#sayTrying(null);
    let token;
    try {
      token = await this.#tokens.current();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#app.emit('error', problem('unauthorized', `the token function failed: ${error?.message ?? error}`));
      this.#comeBack(backoff(this.#attempt));
      return;
    }
    if (generation !== this.#generation) return;
    // No subprotocol can carry it, and the browser would name it in its error.
    if (/[^\w.-]/.test(token)) return this.#lost(4401, 'not a token');

    let socket;
    try {
      const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
      socket = new Socket(this.#address(token), token ? [PROTOCOL, `presence.bearer.${token}`] : [PROTOCOL]);
    } catch (error) {
      // An address that is none, a page that may not: the next attempt would fail likewise.
      const message = `cannot connect: ${error?.message ?? error}`;
      this.#app.emit('error', problem('invalid', message));
      this.#end(null, message);
      return;
    }
    this.#socket = socket;
    socket.onerror = nothing; // the close that follows says it; in Node an error without a listener ends the process
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#socketTimers.after(this.#options.openingTimeout ?? OPENING_MS_MAX, () => this.#abandon('no hello'));
  }

  #address(token) {
    const { url, userId, workspace } = this.#options;
    return address(url, {
      ...(token ? {} : { user_id: userId, name: this.name, workspace_id: workspace }),
      device_id: this.deviceId,
      resume: this.#resume.token,
    });
  }

  #welcome(frame) {
    this.#clearSocketTimers();
    this.#hello = frame;
    this.#clockOffset = frame.now - Date.now();
    this.#resume.token = frame.resume;
    this.userId = frame.user_id;
    this.session = frame.session;
    this.restored = frame.type === 'presence:restored';
    this.#tokens.expiresAt = frame.token_expires_at;
    this.limits = camel(frame.limits);
    this.typingTtl = frame.typing_ttl;
    this.online = true;
    this.#waitAsTold = false;
    this.#attempt = Math.min(this.#attempt, UNSTEADY_ATTEMPT);
    this.#socketTimers.after(STEADY_MS, () => { this.#attempt = 0; });
    this.#beat();

    if (this.restored || this.#attention.now() !== 'active') this.#sendActivity();
    for (const topic of [...this.#topics.values()]) topic.online();
    this.#requests.flush();
    this.#app.changed({ userId: frame.user_id, session: frame.session, workspaces: frame.workspaces });
    this.#say({ status: 'online', attempt: 0, retryAt: null, code: null, reason: null });
    this.#app.emit('hello', { restored: this.restored, session: frame.session, userId: frame.user_id });
  }

  // --- while it lasts

  /** Whoever comes out of hiding has another session in what everybody is shown. An older gateway says none. */
  #renamed(session) {
    if (session === undefined || session === this.session) return;
    this.session = session;
    this.#app.changed({ session });
    for (const topic of [...this.#topics.values()]) topic.renamed?.();
  }

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
        return this.#answered(frame);
      case 'presence:self':
        this.#renamed(frame.session);
        return this.#app.changed({ self: Object.freeze({ ...camel(frame), devices: frame.devices.map(camel) }) });
      case 'presence:closing':
        this.#closing = frame;
        return undefined;
      case 'presence:expiring':
        return this.#renewToken(frame);
      case 'presence:health':
        return this.#app.emit('health', { degraded: frame.degraded });
      default:
        return this.#topics.get(topic(frame))?.frame(frame);
    }
  }

  #answered(frame) {
    const error = this.#requests.answer(frame);
    if (!error) return;
    // It closes after what it says before the hello: then we know whether it is about who we are.
    if (this.online) this.#app.emit('error', error);
    else this.#complaint = error;
  }

  async #renewToken(frame) {
    this.#app.emit('expiring', { tokenExpiresAt: frame.token_expires_at });
    if (!this.#tokens.canRenew) return;
    this.#tokens.forget();
    try {
      const token = await this.#tokens.current();
      await this.request({ type: 'presence:authenticate', token }, { again: false });
    } catch (error) {
      // The gateway will close with 4401 when the time has come, and then a new token is asked for.
      if (!this.ended) this.#app.emit('error', error);
    }
  }

  #beat() {
    this.#socketTimers.after(this.#hello.heartbeat_interval, () => {
      this.#ask();
      this.#beat();
    });
  }

  /** Is somebody there? A dead connection looks like a quiet one, so it is asked. */
  #ask() {
    if (!this.online || this.#asked > this.#heard) return;
    const sent = Date.now();
    this.#asked = sent;
    this.transmit({ type: 'presence:heartbeat', ref: this.#requests.nextRef() });
    this.#socketTimers.after(ANSWER_MS_MAX, () => {
      if (this.#heard >= sent) return;
      // A timer that is far too late means that we slept, and the answer may lie unread in the queue behind us.
      this.#asked = 0;
      if (Date.now() - sent > ANSWER_MS_MAX + 2_000) this.#ask();
      else this.#abandon('no answer to a heartbeat');
    });
  }

  #sendActivity() {
    this.send({ type: 'presence:activity', activity: this.#attention.now() });
  }

  /** Sends a command on the connection that is there; returns the error of one that is too large. */
  transmit(command) {
    const text = JSON.stringify(command);
    const bytesMax = this.limits.frameBytesMax;
    // The gateway would close for good.
    if (new TextEncoder().encode(text).length > bytesMax) {
      return problem('too_large', `the command is over ${bytesMax} bytes`);
    }
    // One that is closing says so in a moment; until then a browser complains about each frame.
    if (!(this.#socket.readyState > 1)) this.#socket.send(text);
    return null;
  }

  // --- when it ends

  /** Gives a connection up without waiting for the other side, which may never answer. */
  #abandon(reason) {
    if (this.#socket) this.#lost(1006, reason);
  }

  #lost(code, reason) {
    const plan = afterClose({
      code,
      closing: this.#closing,
      attempt: this.#attempt,
      canRenewToken: this.#tokens.canRenew,
    });
    // A connection that never said hello may have been refused for its token: browsers do not tell.
    if (plan.newToken || !this.online) this.#tokens.forget();
    const said = ending({ code, reason, closing: this.#closing, wasOnline: this.online });
    const refusal = refusalOf(said);
    const complaint = this.online ? null : this.#complaint;
    this.#waitAsTold = this.#closing?.retry_after !== undefined;
    this.#generation += 1;
    this.#drop();
    if (plan.again) this.#comeBack(plan.wait, said);
    else this.#end(said.code, said.reason);
    if (refusal) this.#app.emit('refused', { reason: refusal, message: complaint?.message ?? said.reason, code: said.code, retrying: plan.again });
    else if (complaint) this.#app.emit('error', complaint);
  }

  #comeBack(wait, said) {
    this.#attempt += 1;
    this.#sayTrying(Date.now() + wait, said);
    this.#retry = this.after(wait, () => this.#open());
  }

  #sayTrying(retryAt, said) {
    this.#say({ status: this.#hello ? 'reconnecting' : 'connecting', attempt: this.#attempt, retryAt, ...said });
  }

  #end(code, reason) {
    const error = closedError(`: ${reason || code}`);
    this.#resume.token = null;
    this.#retry();
    this.#say({ status: 'closed', attempt: 0, retryAt: null, code, reason });
    this.#requests.refuse(error);
    for (const topic of this.#topics.values()) topic.closed(error);
  }

  /** Lets go of the socket, and of everything that was about it. */
  #drop(code = 4000) {
    const socket = this.#socket;
    const wasOnline = this.online;
    this.#socket = null;
    this.online = false;
    this.#clearSocketTimers();
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(code);
    }
    this.#requests.lost(this.ended);
    if (wasOnline) for (const topic of this.#topics.values()) topic.lost();
  }

  /** The network or the person is back: find out at once whether the connection is. */
  #wake() {
    if (this.online) this.#ask();
    else if (this.connection.retryAt !== null && !this.#waitAsTold) this.#open();
  }

  #clearSocketTimers() {
    this.#socketTimers.stop();
    this.#socketTimers = new Timers();
  }

  #say(part) {
    const next = { ...this.connection, ...part };
    if (same(next, this.connection)) return;
    this.connection = Object.freeze(next);
    this.#app.changed({ connection: this.connection });
  }
}

/** Of which topic `frame` tells: what is of no place is of people. */
function topic({ workspace, channel }) {
  return workspace ? `workspace ${workspace}` : channel ? `channel ${channel}` : 'users';
}

function closedError(why = '') {
  return problem('closed', `the connection was closed${why}`);
}
