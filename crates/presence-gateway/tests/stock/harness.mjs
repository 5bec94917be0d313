/*
 * What every stock test needs: a gateway, tokens for it, a network that can break, and waiting for what must come true.
 *
 *     const gateway = await startGateway(t, { PRESENCE_GRACE: '500ms' });     // open: everybody is who they say
 *     const gateway = await startGateway(t, CLOSED);                          // everybody needs a token
 *     await gateway.end('SIGTERM'); await gateway.start();                    // a restart, on the same port
 *     const gateways = await startCluster(t, 3);                              // on one Redis
 *     const network = await openNetwork(t, gateway);                          // connect to `network.address`
 *     await network.cut(); await network.heal();
 *     await eventually('ann is there', () => users(), ['ann']);
 */

import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import WebSocket from 'ws';

import { connect as connectNatively } from '../../../presence-web/packages/presence-client/src/index.js';
import { Gateway } from '../browser/gateway.mjs';
import { eventually } from '../browser/waiting.mjs';

export { eventually };

const SECRET = 'a secret of tests, which everybody knows';

/** A WebSocket for clients that are made for browsers: an error that nobody listens to is no exception there. */
export class BrowserSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on('error', () => {});
  }
}

/** The setting of a gateway where everybody needs a token. */
export const CLOSED = { PRESENCE_JWT_SECRET: SECRET };

/** Starts a gateway for the length of a test. `settings` are environment variables. */
export async function startGateway(t, settings = {}) {
  const gateway = await Gateway.start(process.env.PRESENCE_GATEWAY, settings);
  t.after(() => gateway.destroy());
  return gateway;
}

/** Starts `count` gateways on one Redis, for the length of a test. `settings` are environment variables of each. */
export async function startCluster(t, count, settings = {}) {
  const redis = await startRedis(t);
  const named = Array.from({ length: count }, (_, n) => ({ ...settings, REDIS_URL: redis, NODE_NAME: `gateway-${n + 1}` }));
  return Object.assign(await Promise.all(named.map((it) => startGateway(t, it))), { redis });
}

const KEPT = `
  local found = {}
  for _, key in ipairs(redis.call('KEYS', '*:kept:*')) do found[#found + 1] = { key, redis.call('GET', key) } end
  return cjson.encode(found)`;

/** What the gateways on `redis` keep of connections, for whoever goes on with their sessions: `{ epoch, subscriptions }` each. */
export async function kept(redis) {
  const { stdout } = await promisify(execFile)('redis-cli', ['-u', redis, 'EVAL', KEPT, '0']);
  // Lua has one word for a list and an object that are empty.
  const found = Object.values(JSON.parse(stdout));
  return found.map(([key, text]) => ({ epoch: Number(key.split(':').at(-1)), subscriptions: JSON.parse(text) }));
}

/** Starts a Redis of our own, and says where it is. */
async function startRedis(t) {
  // The system says which port is free; until Redis has it, somebody else may take it.
  for (let tries = 1; ; tries += 1) {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'presence-redis-'));
    const child = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const end = () => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    };
    t.after(end);
    process.on('exit', end);
    const said = [];
    const isReady = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        said.push(line);
        if (line.includes('Ready to accept connections')) resolve(true);
      });
      child.once('error', reject);
      child.once('exit', () => resolve(false));
    });
    if (isReady) return `redis://127.0.0.1:${port}`;
    if (tries === 5) throw new Error(`Redis did not start:\n${said.join('\n')}`);
  }
}

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return String(port);
}

/** A token for `user`; `claims` are added, or replace what is there. */
export function token(user, claims = {}) {
  const now = Math.floor(Date.now() / 1_000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, iat: now, exp: now + 3_600, ...claims })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** A way to the gateway that can break: while it is cut, connections are lost without a goodbye, and none can be made. */
export async function openNetwork(t, gateway) {
  const network = new Network(gateway);
  await network.open();
  t.after(() => network.close());
  return network;
}

class Network {
  #gateway;
  #server = createServer((near) => this.#relay(near));
  #sockets = new Set();
  #isCut = false;
  address = null;

  constructor(gateway) {
    this.#gateway = gateway;
  }

  async open() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.address = `127.0.0.1:${this.#server.address().port}`;
  }

  /** Breaks every connection, and lets none be made. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets connections be made again, from now on to `gateway`. */
  heal(gateway = this.#gateway) {
    this.#gateway = gateway;
    this.#isCut = false;
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #relay(near) {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const [host, port] = this.#gateway.address.split(':');
    const far = connect(Number(port), host);
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    near.pipe(far).pipe(near);
  }
}

/** Connects with the native browser client, for the length of a test. `address` is a gateway or a network. */
export function native(t, { address }, options = {}) {
  const presence = connectNatively({ url: `ws://${address}/ws`, WebSocket: BrowserSocket, ...options });
  t.after(() => presence.close());
  return presence;
}

/** A WebSocket of which the test says every frame: `says` sends one, `hears` waits for one. */
export async function raw(t, url, protocols = []) {
  const socket = new WebSocket(url, protocols);
  t.after(() => socket.terminate());
  const heard = [];
  const it = {
    socket,
    /** Everything that came and was not waited for. */
    heard,
    /** The close code, once it is closed. */
    code: null,
    /** What the gateway answered instead of an upgrade. */
    status: null,
    says: (frame) => socket.send(typeof frame === 'string' || frame instanceof Uint8Array ? frame : JSON.stringify(frame)),
    /** Waits for a frame that `wanted` accepts, and takes it and all before it out of `heard`. */
    async hears(what, wanted) {
      let found;
      await eventually(what, () => {
        const at = heard.findIndex(wanted);
        if (at >= 0) found = heard.splice(0, at + 1).at(-1);
        return found ?? heard;
      }, () => found !== undefined);
      return found;
    },
    closes: (code) => eventually('the socket is closed', () => it.code, code),
  };
  socket.on('message', (data, isBinary) => heard.push(isBinary ? data : JSON.parse(data)));
  socket.on('close', (code) => { it.code = code; });
  socket.on('error', () => {});
  socket.on('unexpected-response', (_, response) => {
    it.status = response.statusCode;
    socket.terminate();
  });
  await eventually('the WebSocket opens, or is refused', () => socket.readyState !== WebSocket.CONNECTING || it.status, (done) => Boolean(done));
  return it;
}
