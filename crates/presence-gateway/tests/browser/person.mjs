/* Somebody in front of the page: what they see, what they do, what their gateway told them. */

import assert from 'node:assert/strict';

import { SOON_MS, eventually } from './waiting.mjs';

let fences = 0;

/**
 * A place on the page is a path of `data-testid`s, such as `person-bob status-dot`: the second within the first.
 */
export class Person {
  /** Frames from the gateway, in order, as text: over all connections of the page. */
  frames = [];

  constructor(page, id) {
    this.page = page;
    this.id = id;
    this.context = page.context();
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => this.frames.push(payload)));
  }

  // --- seeing

  /** Waits until the text at `path` is `text`, or one that `text` says is right; `null`: until there is no such place. */
  reads(path, text, within) {
    return eventually(`${this.id} reads ${path}`, () => this.look(path), text, within);
  }

  has(path, within) {
    return eventually(`${this.id} has ${path}`, () => this.look(path), (text) => text !== null, within);
  }

  lacks(path, within) {
    return this.reads(path, null, within);
  }

  /** Waits until the element at `path` has `data-<name>`, or the attribute `name`, of that value. */
  marks(path, name, value, within) {
    return eventually(`${this.id} sees ${name} of ${path}`, () => this.look(path, name), value, within);
  }

  /** The text at `path` or one of its attributes, now; `null` if there is no such place. */
  look(path, attribute) {
    return this.page.evaluate(([steps, name]) => {
      /** What custom elements show is in their shadow trees, and is called by its parts there. */
      const within = (root, step) => {
        const [, kind, id] = /^(face|cursor)-(.*)$/.exec(step) ?? [];
        if (kind === 'face') return document.getElementById('avatar-stack').shadowRoot?.querySelector(`[data-user="${CSS.escape(id)}"]`);
        if (kind === 'cursor') return document.getElementById('board').shadowRoot?.querySelector(`[data-session="${CSS.escape(id)}"]`);
        const found = root.querySelector(`[data-testid="${CSS.escape(step)}"]`) ?? (step === 'status-dot' ? root.querySelector('[data-status]') : null);
        return found?.shadowRoot?.querySelector('[part=line]') ?? found;
      };
      let here = document;
      for (const step of steps) here = here && within(here, step);
      if (!here) return null;
      if (name) return here.dataset[name] ?? here.getAttribute(name);
      return here.textContent.replace(/\s+/g, ' ').trim();
    }, [path.split(' '), attribute]);
  }

  /** Waits until `probe`, run on the page, gives `wanted`: a value, or a function that says whether it is one. */
  until(what, probe, wanted = true, within = SOON_MS) {
    return eventually(`${this.id}: ${what}`, () => this.page.evaluate(probe), wanted, within);
  }

  /** Waits until the field at `path` has `value`. */
  fills(path, value) {
    return eventually(`${this.id} has it in ${path}`, () => this.at(path).inputValue(), value);
  }

  /** Waits until the switch at `path` is on or off. */
  switched(path, isOn) {
    return eventually(`${this.id} sees ${path} switched`, () => this.at(path).isChecked(), isOn);
  }

  at(path) {
    return path.split(' ').reduce((place, step) => place.getByTestId(step), this.page).first();
  }

  /** Waits until they are in the room and see who is there: `count` people, if it is given. */
  async arrived(count) {
    await this.marks('connection', 'state', 'online');
    await this.until('they are in the room', () => window.room.state.joined && window.room.state.live);
    if (count !== undefined) await this.reads('count', String(count));
  }

  // --- doing

  async says(text) {
    await this.at('chat-input').fill(text);
    await this.at('chat-send').click();
  }

  async sets({ status, message, emoji, clear }) {
    if (status) await this.at(`status-${status}`).check({ force: true });
    if (message !== undefined) await this.at('status-message').fill(message);
    if (emoji !== undefined) await this.at('status-emoji').fill(emoji);
    if (clear) await this.at('status-clear').selectOption(clear);
    await this.at('status-save').click();
  }

  async points(x, y) {
    const board = await this.at('board').boundingBox();
    await this.page.mouse.move(board.x + x * board.width, board.y + y * board.height);
  }

  /** Waits until everything that the gateway has told this page before is there. */
  answered() {
    return this.page.evaluate(() => window.presence.ping());
  }

  /** How many cursors of others are shown. */
  cursors() {
    return this.page.evaluate(() => document.getElementById('board').shadowRoot.querySelectorAll('[part=cursor]').length);
  }

  session() {
    return this.page.evaluate(() => window.presence.session);
  }

  // --- listening

  /** From now on, `heard` gives every event of the room, one line each, and `states` where the connection stood. */
  async listens() {
    await this.caughtUp();
    await this.page.evaluate(() => {
      const { presence, room } = window;
      const lines = (window.heard = []);
      const states = (window.states = [presence.connection.status]);
      const say = (event, of) => room.on(event, (...args) => lines.push(`${event} ${of(...args)}`));
      say('join', (user) => user.id);
      say('leave', (user, reason) => `${user.id} ${reason}`);
      say('update', (user) => user.id);
      say('typing', ({ users }) => users.join(','));
      say('error', (error) => error.message);
      presence.on('connection', ({ status }) => states.at(-1) === status || states.push(status));
      const faces = new MutationObserver((changes) => {
        lines.push(...changes.map(() => 'faces changed'));
      });
      faces.observe(document.getElementById('avatar-stack').shadowRoot, { childList: true, subtree: true });
    });
  }

  /** From now on, `cheers` waits until somebody has cheered, however briefly that was to be seen. */
  async watchesForCheers() {
    await this.page.evaluate(() => {
      window.cheers = 0;
      const isCheer = (node) => node.dataset?.testid === 'cheer';
      const rising = new MutationObserver((changes) => {
        for (const { addedNodes } of changes) window.cheers += [...addedNodes].filter(isCheer).length;
      });
      rising.observe(document.getElementById('cheers'), { childList: true });
    });
  }

  cheers() {
    return this.until('somebody cheers', () => window.cheers > 0);
  }

  heard() {
    return this.page.evaluate(() => window.heard);
  }

  states() {
    return this.page.evaluate(() => window.states);
  }

  /**
   * Waits until everything that the gateway did before has been told to this page. What they broadcast comes back
   * to themselves by way of the channel's next tick; the second time, that tick has surely begun after the call.
   */
  async caughtUp() {
    for (let round = 0; round < 2; round += 1) {
      const fence = (fences += 1);
      await this.page.evaluate((it) => new Promise((resolve, reject) => {
        const stop = window.room.on('broadcast:fence', ({ payload }) => {
          if (payload !== it) return;
          stop();
          resolve();
        });
        window.room.broadcast('fence', it).catch(reject);
      }), fence);
    }
  }

  /** Nothing was heard, all told. */
  async heardNothing() {
    await this.caughtUp();
    assert.deepEqual(await this.heard(), [], `what ${this.id} heard`);
  }
}
