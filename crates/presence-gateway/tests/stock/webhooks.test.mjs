// Webhooks of real gateways on a real Redis, to an endpoint that fails, read and verified as `docs/webhooks.md` says.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Server from 'pusher';

import { eventually, native, startCluster } from './harness.mjs';

const SECRET = 'wJ8Xb0v1mQeT5r7yKp3sZc6uHn9dLfAg';
const OLD_SECRET = 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW';
const APP = { id: '3', key: 'key-of-3', secret: '7ad3773142a6692b25b8' };
/** A gateway that was killed is missed after its lease of 15 s, and its people are told as gone some seconds later. */
const TAKEN_OVER_MS = 90_000;

const page = readFileSync(join(import.meta.dirname, '../../../../docs/webhooks.md'), 'utf8');
const snippet = (language) => page.split(`\`\`\`${language}\n`)[1].split('```')[0];
const { verified } = await import(`data:text/javascript,${encodeURIComponent(snippet('js'))}`);

/** What the Python of the page says of each `[secret, headers, body]`. All in one process: it takes its time to start. */
function verifiedInPython(requests) {
  const program = `${snippet('python')}
import json, sys
print(json.dumps([verified(secret, headers, body.encode()) for secret, headers, body in json.load(sys.stdin)]))
`;
  const input = JSON.stringify(requests.map(([secret, headers, body]) => [secret, headers, body.toString()]));
  return JSON.parse(execFileSync('python3', ['-c', program], { input, encoding: 'utf8' }));
}

/**
 * An endpoint, for the length of a test. `mood(n)` says what becomes of its request number n: `fine`, `500`, `cut` before an
 * answer, `deaf` (cut, and nothing was heard) or `slow` (no answer at all).
 */
async function openEndpoint(t, mood = () => 'fine', identity = null) {
  const it = { requests: [], events: [], repeated: 0, online: new Map(), rooms: new Map(), mood };
  const last = new Map();
  const answers = { fine: 204, moved: 302, 500: 500 };
  const answer = async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const how = it.mood(it.requests.length);
    it.requests.push({ headers: request.headers, body, method: request.method, url: request.url, how, at: Date.now() });
    if (how !== 'deaf' && !request.headers['x-pusher-key']) {
      for (const event of JSON.parse(body).events) hear(event);
    }
    if (how === 'slow') return;
    if (!(how in answers)) {
      request.socket.destroy();
      return;
    }
    response.writeHead(answers[how], { location: '/elsewhere' });
    response.end('x'.repeat(100_000)); // which nobody reads to the end
  };
  const server = identity ? createSecureServer(identity, answer) : createServer(answer);

  /** What the page tells a receiver to do; and what it promises is checked. */
  function hear(event) {
    const about = event.channel_id ?? event.user_id;
    if (event.seq <= (last.get(about) ?? 0)) {
      it.repeated += 1;
      const same = it.events.find(({ id }) => id === event.id);
      assert.deepEqual(event, same, 'a repetition is the same');
      return;
    }
    last.set(about, event.seq);
    it.events.push(event);
    const room = it.rooms.get(event.channel_id);
    const isFine = {
      'user.online': () => !it.online.has(event.user_id) && it.online.set(event.user_id, event.status),
      'user.changed': () => it.online.has(event.user_id) && it.online.set(event.user_id, event.status),
      'user.offline': () => it.online.delete(event.user_id),
      'channel.occupied': () => !room && it.rooms.set(event.channel_id, new Set()),
      'channel.joined': () => room && !room.has(event.user_id) && room.add(event.user_id),
      'channel.left': () => room?.delete(event.user_id),
      'channel.vacated': () => room?.size === 0 && it.rooms.delete(event.channel_id),
    }[event.type]();
    if (!isFine) it.nonsense ??= { event, before: it.events.filter((other) => (other.channel_id ?? other.user_id) === about) };
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  it.url = `${identity ? 'https' : 'http'}://localhost:${server.address().port}/in?token=x`;
  it.types = (about) => it.events.filter((event) => (event.channel_id ?? event.user_id) === about).map(({ type }) => type);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return it;
}

const settings = (endpoint, more = {}) => ({
  PRESENCE_GRACE: '500ms',
  PRESENCE_WEBHOOK_URL: endpoint.url,
  PRESENCE_WEBHOOK_SECRET: SECRET,
  PRESENCE_WEBHOOK_EVENTS: 'user.*,channel.*',
  ...more,
});

/** `user` comes, and joins the room. */
async function enter(t, gateway, user) {
  const presence = native(t, gateway, { userId: user, name: user });
  await presence.channel('room:1').join();
  return presence;
}

const health = async ({ origin }) => (await fetch(`${origin}/health`)).json();

test('what happens is told once, in order and signed, and nobody who hides', async (t) => {
  const endpoint = await openEndpoint(t);
  const [gateway] = await startCluster(t, 1, settings(endpoint, { PRESENCE_WEBHOOK_SECRET: `${SECRET},${OLD_SECRET}` }));
  const eve = native(t, gateway, { userId: 'eve' });
  await eventually('eve is online', () => endpoint.online.get('eve'), 'online');
  await eve.setStatus({ status: 'invisible' });
  await eventually('eve is gone', () => endpoint.online.has('eve'), false);
  await eve.channel('room:1').join();
  const ann = await enter(t, gateway, 'ann');
  // Users and channels are told apart, in any order: a change before both are told is no event.
  await eventually('ann is online', () => endpoint.online.get('ann'), 'online');
  await eventually('ann is in the room', () => endpoint.rooms.get('room:1')?.has('ann'), true);
  await ann.setStatus({ status: 'busy', customMessage: 'Tiefes Nachdenken – 会議中', emoji: '🎯' });
  await eventually('ann is busy', () => endpoint.online.get('ann'), 'busy');
  await eve.setStatus({ status: 'invisible', customMessage: 'secret' });
  ann.close();
  await eventually('ann is gone', () => [endpoint.online.has('ann'), endpoint.rooms.has('room:1')], [false, false]);
  // What is told of eve comes in order: nothing of what she did in secret is on its way any more.
  await eve.setStatus({ status: 'online', customMessage: null });
  await eventually('eve is back', () => [endpoint.online.has('eve'), endpoint.rooms.has('room:1')], [true, true]);
  assert.deepEqual(endpoint.types('ann'), ['user.online', 'user.changed', 'user.offline']);
  assert.deepEqual(endpoint.types('eve'), ['user.online', 'user.offline', 'user.online'], 'eve hides');
  assert.deepEqual(endpoint.types('room:1').slice(0, 5), ['channel.occupied', 'channel.joined', 'channel.left', 'channel.vacated', 'channel.occupied']);
  const changed = endpoint.events.find(({ type, user_id: user }) => type === 'user.changed' && user === 'ann');
  assert.equal(changed.custom_message, 'Tiefes Nachdenken – 会議中');
  assert.equal(changed.emoji, '🎯');
  const gone = endpoint.events.find(({ type, user_id: user }) => type === 'user.offline' && user === 'ann');
  assert.ok(Math.abs(gone.last_seen - Date.now()) < 60_000, JSON.stringify(gone));
  assert.ok(!endpoint.requests.some(({ body }) => body.includes('secret')));
  assert.equal(endpoint.nonsense, undefined);
  assert.equal(endpoint.repeated, 0);
  const [good, bad] = [[], []];
  for (const { headers, body, method, url, at } of endpoint.requests) {
    assert.deepEqual([method, url, headers['content-type']], ['POST', '/in?token=x', 'application/json']);
    assert.ok(Math.abs(JSON.parse(body).created_at - at) < 120_000);
    const tampered = Buffer.concat([body, Buffer.from(' ')]);
    const old = { ...headers, 'presence-timestamp': String(Number(headers['presence-timestamp']) - 600_000) };
    good.push([SECRET, headers, body], [OLD_SECRET, headers, body]);
    bad.push(['another', headers, body], [SECRET, headers, tampered], [SECRET, old, body]);
  }
  for (const [requests, wanted] of [[good, true], [bad, false]]) {
    assert.ok(requests.every((it) => verified(...it) === wanted));
    assert.deepEqual(verifiedInPython(requests), requests.map(() => wanted));
  }
});

test('an endpoint that fails half of the time hears everything, also when a gateway is killed', { timeout: 240_000 }, async (t) => {
  const moods = ['500', 'fine', 'deaf', 'fine', 'cut', 'fine', 'moved', 'fine'];
  const endpoint = await openEndpoint(t, (n) => (n === 5 ? 'slow' : moods[n % moods.length]));
  const gateways = await startCluster(t, 3, settings(endpoint));
  const here = new Map();
  for (let round = 0; round < 12; round += 1) {
    for (let n = 0; n < 9; n += 1) {
      const user = `user-${n}`;
      const shallBeHere = (round * 7 + n * 5 + round * n) % 3 !== 0;
      if (shallBeHere && !here.has(user)) {
        // Those of gateway 0 are not to be on it when it is killed for good.
        here.set(user, await enter(t, gateways[1 + (n % 2)], user));
      } else if (!shallBeHere && here.has(user)) {
        here.get(user).close();
        here.delete(user);
      } else if (here.has(user)) {
        await here.get(user).setStatus({ status: ['busy', 'online'][round % 2] });
      }
    }
    if (round === 3) await enter(t, gateways[0], 'of-the-dead');
    if (round === 6) {
      await eventually('the last one of gateway 0 is told', () => endpoint.online.has('of-the-dead'), true, 60_000);
      await gateways[0].end('SIGKILL');
    }
    await new Promise((resolve) => { setTimeout(resolve, 700); });
  }
  const truth = [...here.keys()].sort();
  const picture = () => [[...endpoint.online.keys()].sort(), [...(endpoint.rooms.get('room:1') ?? [])].sort()];
  await eventually('the endpoint knows the truth', picture, [truth, truth], TAKEN_OVER_MS);
  assert.equal(endpoint.nonsense, undefined, JSON.stringify(endpoint.nonsense));
  assert.deepEqual(endpoint.types('of-the-dead'), ['user.online', 'user.offline']);
  assert.ok(endpoint.repeated > 0, 'something was repeated');
  for (const mood of moods) assert.ok(endpoint.requests.some(({ how }) => how === mood), `it was ${mood}`);
  assert.ok(!endpoint.requests.some(({ url }) => url === '/elsewhere'), 'no redirect is followed');
});

test('while the endpoint is away events wait, health says so, and then it is caught up', { timeout: 120_000 }, async (t) => {
  const endpoint = await openEndpoint(t, () => '500');
  const [gateway] = await startCluster(t, 1, settings(endpoint));
  const ann = await enter(t, gateway, 'ann');
  await enter(t, gateway, 'bob');
  const webhooks = async () => (await health(gateway)).webhooks;
  await eventually('what waits is counted', webhooks, (it) => it.waiting >= 5);
  ann.close();
  const waits = await eventually('and more of it', webhooks, (it) => it.waiting >= 7 && !it.connected && it.oldest_seconds >= 2);
  const metrics = await (await fetch(`${gateway.origin}/metrics`)).text();
  assert.match(metrics, new RegExp(`^presence_webhook_events_waiting [${waits.waiting}-9]$`, 'm'));
  assert.match(metrics, /^presence_webhook_away 1$/m);
  assert.match(metrics, /^presence_webhook_failures_total [1-9]/m);
  endpoint.mood = () => 'fine';
  await eventually('bob alone is here', () => [...endpoint.online.keys()], ['bob'], 60_000);
  await eventually('nothing waits', webhooks, { connected: true, waiting: 0, oldest_seconds: 0 }, 30_000);
  assert.equal(endpoint.nonsense, undefined);
});

test('webhooks in the form of Pusher are read and verified by its server library', async (t) => {
  const endpoint = await openEndpoint(t);
  const [gateway] = await startCluster(t, 1, {
    PRESENCE_GRACE: '500ms',
    PRESENCE_WEBHOOK_URL: endpoint.url,
    PRESENCE_WEBHOOK_FORMAT: 'pusher',
    PRESENCE_PUSHER_APP_ID: APP.id,
    PRESENCE_PUSHER_KEY: APP.key,
    PRESENCE_PUSHER_SECRET: APP.secret,
  });
  const ann = await enter(t, gateway, 'ann');
  const server = new Server({ appId: APP.id, key: APP.key, secret: APP.secret, host: 'localhost', useTLS: false });
  const webhook = ({ headers, body }) => server.webhook({ headers, rawBody: body.toString() });
  const told = () => endpoint.requests.flatMap((it) => webhook(it).getEvents());
  await eventually('ann is there', told, [
    { name: 'channel_occupied', channel: 'presence-room;1' },
    { name: 'member_added', channel: 'presence-room;1', user_id: 'ann' },
  ]);
  ann.close();
  await eventually('nobody is there', () => told().slice(2), [
    { name: 'member_removed', channel: 'presence-room;1', user_id: 'ann' },
    { name: 'channel_vacated', channel: 'presence-room;1' },
  ]);
  for (const request of endpoint.requests) {
    assert.ok(webhook(request).isValid());
    assert.ok(Math.abs(webhook(request).getTime() - Date.now()) < 60_000);
    const tampered = { ...request, body: Buffer.from(request.body.toString().replace('ann', 'bob')) };
    assert.equal(webhook(tampered).isValid(), tampered.body.equals(request.body));
  }
});

test('over TLS an endpoint has to be vouched for', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'presence-webhooks-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...names], { stdio: 'ignore' });
  const endpoint = await openEndpoint(t, () => 'fine', { key: readFileSync(key), cert: readFileSync(cert) });
  const [stranger] = await startCluster(t, 1, settings(endpoint));
  await enter(t, stranger, 'bob');
  await eventually('nobody is told', async () => (await health(stranger)).webhooks.connected, false);
  await eventually('the log says why', () => stranger.log, (log) => /certificate/i.test(log));
  assert.equal(endpoint.requests.length, 0);
  const [friend] = await startCluster(t, 1, settings(endpoint, { SSL_CERT_FILE: cert }));
  await enter(t, friend, 'ann');
  await eventually('ann is told', () => endpoint.online.get('ann'), 'online');
  assert.ok(verified(SECRET, endpoint.requests[0].headers, endpoint.requests[0].body));
});
