// Where there is no browser: pages that are rendered on a server, and programs that bring a WebSocket of their own.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { connect } from 'presence-client';

/** Runs `script` in a Node of its own, which has to end by itself. Returns what it said. */
async function alone(script) {
  const options = { cwd: import.meta.dirname, timeout: 20_000 };
  const prelude = "import { connect } from 'presence-client'; delete globalThis.WebSocket;";
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', prelude + script], options);
  assert.equal(stderr, '');
  return stdout.trim();
}

test('on a server a client stays offline, throws nothing and lets the process end', async () => {
  const said = await alone(`
    let asked = 0;
    const clients = [{}, { url: 'ws://gateway.invalid/ws' }, { token: () => { asked += 1; return 'a.b.c'; } }].map((options) => connect(options));
    for (const presence of clients) {
      const room = presence.channel('room:1');
      room.join();
      room.watch();
      room.typing();
      room.cursor(1, 1);
      room.broadcast('hi');
      presence.workspace('acme').watch();
      presence.user('bob').watch();
      presence.setStatus({ status: 'busy' });
      presence.ping();
      presence.reconnect();
    }
    const answers = await Promise.allSettled([clients[0].channel('room:1').join(), clients[0].setStatus({ status: 'busy' })]);
    console.log(asked, ...clients.map(({ connection }) => connection.status), ...answers.map(({ reason }) => reason.code));
  `);
  assert.equal(said, '0 connecting connecting connecting disconnected disconnected');
});

test('what a server renders of a client is what a page shows before it is connected', async () => {
  const said = await alone(`
    const presence = connect();
    console.log(JSON.stringify([presence.getState(), presence.channel('room:1').getState(), presence.user('bob').getState()]));
  `);
  const presence = connect({ autoConnect: false, WebSocket: class {} });
  const here = [presence.getState(), presence.channel('room:1').getState(), presence.user('bob').getState()];
  assert.deepEqual(JSON.parse(said), JSON.parse(JSON.stringify(here)));
  presence.close();
});

test('with a class of its own a client connects from anywhere, and errors of sockets are heard', async () => {
  const sockets = [];
  class Socket {
    constructor(url) {
      this.url = url;
      sockets.push(this);
    }

    close() {}
  }
  const presence = connect({ url: 'https://gateway.example/ws', WebSocket: Socket });
  await new Promise(setImmediate);
  assert.match(sockets[0].url, /^wss:\/\/gateway\.example\/ws\?device_id=web/);
  assert.equal(typeof sockets[0].onerror, 'function', 'an EventEmitter throws errors that nobody listens to');
  presence.close();
});

test('nothing begins before the first reconnect() where autoConnect is off', async () => {
  let sockets = 0;
  class Socket {
    constructor() {
      sockets += 1;
    }

    close() {}
  }
  const presence = connect({ url: 'ws://gateway/ws', autoConnect: false, WebSocket: Socket });
  await new Promise(setImmediate);
  assert.equal(sockets, 0);
  presence.reconnect();
  await new Promise(setImmediate);
  assert.equal(sockets, 1);
  presence.close();
});

test('an address that cannot be connected to is said, and ends it', async () => {
  for (const [options, message] of [
    [{ url: 'ht tp://', WebSocket: class {} }, /^cannot connect: .*URL/],
    [{ url: '/ws', WebSocket: class {} }, /^cannot connect: .*URL/],
    [{ url: 'ws://gateway/ws', WebSocket: class { constructor() { throw new Error('not from this page'); } } }, /^cannot connect: not from this page$/],
  ]) {
    const presence = connect(options);
    const errors = [];
    presence.on('error', (error) => errors.push(error));
    await new Promise(setImmediate);
    assert.equal(errors.length, 1);
    assert.equal(errors[0].code, 'invalid');
    assert.match(errors[0].message, message);
    assert.equal(presence.connection.status, 'closed');
    assert.match(presence.connection.reason, message);
    presence.close();
  }
});
