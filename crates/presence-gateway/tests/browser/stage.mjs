/* Where one scenario plays: its gateway, its room, its pages; and what went wrong in them that nobody looked at. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { Gateway } from './gateway.mjs';
import { Person } from './person.mjs';
import { Redis } from './redis.mjs';

const HOST = '127.0.0.1';

export class Stage {
  /** The folder in which the published clients of other servers are installed. */
  modules;
  /** The folder of the built app of docs/react.md. */
  app;
  room = `room-${Math.random().toString(36).slice(2, 8)}`;
  #browser;
  #binary;
  #gateway = null;
  #contexts = [];
  #endings = [];
  #complaints = [];
  #tolerated = [];

  constructor(browser, binary, modules, app) {
    this.#browser = browser;
    this.#binary = binary;
    this.modules = modules;
    this.app = app;
  }

  /** The gateway: started at the first call, which is the one for settings. */
  gateway(settings) {
    this.#gateway ??= Gateway.start(this.#binary, settings);
    return this.#gateway;
  }

  /** One more gateway, beside the first one. */
  async another(settings) {
    const gateway = await Gateway.start(this.#binary, settings);
    this.atEnd(async () => gateway.destroy());
    return gateway;
  }

  /** A Redis of this scenario. */
  async redis() {
    const redis = await Redis.start();
    this.atEnd(async () => redis.destroy());
    return redis;
  }

  /** A context: what one browser profile stores. */
  async profile(options) {
    const context = await this.#browser.newContext(options);
    this.#contexts.push(context);
    await this.#watch(context);
    return context;
  }

  /** The context in which tabs can be hidden by others. */
  async plainProfile() {
    const { context, close } = await this.#browser.plainContext();
    this.#endings.push(close);
    await this.#watch(context);
    return context;
  }

  /** A context in a browser that can sleep: `{ context, sleep(), wake() }`. */
  async laptop() {
    const laptop = await this.#browser.laptop();
    this.#endings.push(laptop.close);
    await this.#watch(laptop.context);
    return laptop;
  }

  /** Opens the page for `id`, in a profile of their own unless `context` is given, and waits until they are in the room. */
  async enter(id, options = {}) {
    const person = await this.opens(id, options);
    await person.arrived();
    return person;
  }

  /** The same without waiting: the page may have reasons not to connect. */
  async opens(id, { name = id[0].toUpperCase() + id.slice(1), context, room = this.room, ...profile } = {}) {
    const { origin } = await this.gateway();
    const page = await (context ?? (await this.profile(profile))).newPage();
    const person = new Person(page, id);
    await page.goto(`${origin}/?${new URLSearchParams({ user_id: id, name, room })}`);
    return person;
  }

  /** For scenarios in which the browser is right to complain about something. */
  tolerate(pattern) {
    this.#tolerated.push(pattern);
  }

  /** Runs when the scenario is over, however it ends. */
  atEnd(ending) {
    this.#endings.push(ending);
  }

  /** Serves what `answer(request, response)` answers from a site of its own, until the scenario is over. Returns its origin. */
  async serve(answer) {
    const server = createServer(answer);
    server.listen(0, HOST);
    await once(server, 'listening');
    this.atEnd(async () => {
      server.closeAllConnections();
      server.close();
    });
    return `http://${HOST}:${server.address().port}`;
  }

  /** Throws if the browser complained. */
  complain() {
    const complaints = this.#complaints.filter((line) => !this.#tolerated.some((pattern) => pattern.test(line)));
    assert.deepEqual(complaints, [], 'what the browser complained about');
  }

  /** For whoever reads of a failure. */
  story() {
    return this.#complaints.join('\n');
  }

  async clear() {
    for (const ending of this.#endings.splice(0)) await ending().catch(() => {});
    for (const context of this.#contexts.splice(0)) await context.close().catch(() => {});
    const gateway = await this.#gateway?.catch(() => null);
    gateway?.destroy();
  }

  async #watch(context) {
    const complain = (line) => this.#complaints.push(line);
    context.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complain(`console: ${message.text()}`);
    });
    context.on('weberror', (error) => complain(`uncaught: ${error.error().stack}`));
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (/^(https?|wss?):$/.test(url.protocol) && url.hostname !== HOST) complain(`request to ${url.href}`);
    });
    context.on('page', (page) => {
      page.on('websocket', (socket) => {
        if (new URL(socket.url()).hostname !== HOST) complain(`socket to ${socket.url()}`);
      });
    });
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy: ${event.violatedDirective} stopped ${event.blockedURI}`);
      });
    });
  }
}

/** What a browser says of a connection that it could not open or that broke. */
export const LOST_CONNECTION = /WebSocket connection to .* failed/;
