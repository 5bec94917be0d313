// A client and a gateway made of paper: what is said on the wire, and when. The clock is the test's.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect } from 'presence-client';

import { PaperSocket, begin, everyone, finish, joined, latest, pass, person, settle } from './paper.mjs';

let presence;

async function online(options = {}) {
  presence = connect({ url: 'ws://gateway/ws', userId: 'ann', deviceId: 'web:t', WebSocket: PaperSocket, ...options });
  await settle();
  latest().hello();
  await settle();
  return latest();
}

beforeEach(begin);

afterEach(() => {
  presence?.close();
  finish();
});

test('who you are is in the address without a key, and in a subprotocol with a token', async () => {
  const open = await online({ name: 'Ann' });
  assert.equal(open.url.search, '?user_id=ann&name=Ann&device_id=web%3At');
  assert.deepEqual(open.protocols, ['presence.v1.json']);
  presence.close();
  const keyed = await online({ userId: undefined, token: 'a.b.c' });
  assert.equal(keyed.url.search, '?device_id=web%3At');
  assert.deepEqual(keyed.protocols, ['presence.v1.json', 'presence.bearer.a.b.c']);
});

test('a join waits for the connection, and holds over the next ones', async () => {
  presence = connect({ url: 'ws://gateway/ws', WebSocket: PaperSocket });
  const room = presence.channel('room:1');
  const done = room.join({ meta: { role: 'editor' } });
  await settle();
  assert.deepEqual(latest().take(), []);
  latest().hello();
  await done;
  assert.deepEqual(latest().take(), ['join room:1 full']);
  latest().says(everyone(3, 'ann', 'bob'));
  assert.deepEqual(room.state.users.map(({ id }) => id), ['ann', 'bob']);
  assert.ok(room.state.live);

  latest().breaks();
  assert.ok(!room.state.live);
  assert.equal(room.state.count, 2, 'people stay in the picture');
  await pass(500);
  assert.equal(latest().url.searchParams.get('resume'), 'resume-1');
  latest().hello({ restored: true });
  await settle();
  assert.deepEqual(latest().take(), ['activity active', 'join room:1 full have 3']);
  const heard = [];
  room.on('join', (user) => heard.push(user.id));
  room.on('sync', () => heard.push('sync'));
  latest().says({ type: 'presence:unchanged', channel: 'room:1', epoch: 'e', version: 3, typing: [], cursors: [] });
  assert.ok(room.state.live);
  assert.deepEqual(heard, ['sync']);
});

test('what is taken back in the same turn is never said', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  room.join();
  room.leave();
  await room.join();
  assert.deepEqual(gateway.take(), ['join room:1 full']);
});

test('a channel left while the connection was away is left when it is back', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.breaks();
  room.leave();
  await pass(500);
  latest().hello({ restored: true });
  await settle();
  assert.deepEqual(latest().take(), ['activity active', 'leave room:1']);
});

test('a new session has nothing to leave', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.breaks();
  room.leave();
  await pass(500);
  latest().hello();
  await settle();
  assert.deepEqual(latest().take(), []);
});

test('leaving a channel goes on watching it when that was asked for', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.watch({ mode: 'summary' });
  await room.join();
  gateway.says(everyone(3, 'ann'));
  assert.deepEqual(gateway.take(), ['watch room:1 summary', 'join room:1 full']);
  await room.leave();
  assert.deepEqual(gateway.take(), ['leave room:1', 'watch room:1 summary']);
  await room.unwatch();
  assert.deepEqual(gateway.take(), ['unwatch room:1']);
  assert.deepEqual([room.state.count, room.state.live], [0, false]);
});

test('a gap is mended once a second: first with what we have, then from nothing', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.says(everyone(3, 'ann'));
  gateway.take();
  gateway.says(joined(5, 'eve'));
  gateway.says(joined(6, 'bob'));
  assert.deepEqual(gateway.take(), ['watch room:1 full have 3']);
  await pass(1_000);
  assert.deepEqual(gateway.take(), ['watch room:1 full']);
  gateway.says(everyone(6, 'ann', 'eve', 'bob'));
  await pass(5_000);
  assert.deepEqual(gateway.take(), []);
  assert.equal(room.state.count, 3);
});

test('a refusal for now is tried again, a refusal for good is told', async () => {
  const gateway = await online();
  gateway.answers = false;
  const room = presence.channel('room:1');
  const done = room.join();
  await settle();
  const refuse = (more) => gateway.says({ type: 'presence:error', ref: gateway.heard.at(-1).ref, message: 'no', ...more });
  refuse({ code: 'overloaded', retry_after: 2_000 });
  await settle();
  assert.ok(!room.state.joined);
  gateway.take();
  await pass(2_200);
  assert.deepEqual(gateway.heard.map(({ type }) => type), ['presence:join']);
  const errors = [];
  room.on('error', (error) => errors.push(error.code));
  refuse({ code: 'forbidden', field: 'channel' });
  await assert.rejects(done, { name: 'PresenceError', code: 'forbidden', field: 'channel' });
  assert.deepEqual(errors, ['forbidden']);
  gateway.take();
  await pass(60_000);
  assert.ok(!gateway.take().some((said) => said.startsWith('join')));
});

test('a heartbeat is sent as announced; without an answer the connection is dead', async () => {
  const gateway = await online();
  await pass(15_000);
  assert.deepEqual(gateway.take(), ['heartbeat']);
  gateway.answers = false;
  await pass(15_000);
  assert.deepEqual(gateway.take(), ['heartbeat']);
  await pass(8_000);
  assert.equal(presence.connection.status, 'reconnecting');
  assert.equal(gateway.closed, 4000);
  await pass(500);
  assert.equal(PaperSocket.all.length, 2);
});

test('any frame is a sign of life', async () => {
  const gateway = await online();
  gateway.answers = false;
  await pass(15_000);
  gateway.says({ type: 'presence:typing', channel: 'nowhere', users: [], started: [], stopped: [] });
  await pass(8_000);
  assert.equal(presence.connection.status, 'online');
});

test('the gateway says when to come back', async () => {
  const gateway = await online();
  gateway.says({ type: 'presence:closing', code: 1012, reason: 'restarting', reconnect: true, retry_after: 1_800 });
  gateway.breaks(1012);
  assert.deepEqual(presence.connection, { status: 'reconnecting', attempt: 1, retryAt: Date.now() + 1_800, code: 1012, reason: 'restarting' });
  await pass(1_799);
  assert.equal(PaperSocket.all.length, 1);
  await pass(1);
  assert.equal(PaperSocket.all.length, 2);
});

test('a connection that keeps failing is tried less and less often', async () => {
  await online();
  const waits = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    latest().breaks();
    waits.push(presence.connection.retryAt - Date.now());
    await pass(waits.at(-1));
  }
  assert.deepEqual(waits, [375, 750, 1_500, 3_000, 6_000, 12_000, 22_500]);
  latest().hello();
  latest().breaks();
  assert.equal(presence.connection.retryAt - Date.now(), 1_500, 'a gateway that lets us in is there');
  await pass(1_500);
  latest().hello();
  await pass(2_000);
  latest().breaks();
  assert.equal(presence.connection.retryAt - Date.now(), 375, 'a steady connection starts afresh');
});

test('many restarts in a row do not add up', async () => {
  await online();
  for (let restart = 0; restart < 10; restart += 1) {
    latest().breaks();
    for (let refused = 0; refused < 3; refused += 1) {
      await pass(presence.connection.retryAt - Date.now());
      latest().breaks();
    }
    const wait = presence.connection.retryAt - Date.now();
    assert.ok(wait <= 4_000, `${wait} ms in restart ${restart}`);
    await pass(wait);
    latest().hello();
    await pass(2_000);
  }
});

test('replaced is the end, until the person wants to go on here', async () => {
  const gateway = await online();
  gateway.says({ type: 'presence:closing', code: 4409, reason: 'replaced', reconnect: false });
  gateway.breaks(4409);
  assert.equal(presence.connection.status, 'closed');
  await pass(60_000);
  assert.equal(PaperSocket.all.length, 1);
  await assert.rejects(presence.setStatus({ status: 'busy' }), { code: 'closed' });
  presence.reconnect();
  await settle();
  latest().hello();
  assert.equal(presence.connection.status, 'online');
  assert.equal(latest().url.searchParams.get('resume'), null);
});

test('a refused token is asked for again; others are kept', async () => {
  let asked = 0;
  const gateway = await online({ token: async () => `t${(asked += 1)}` });
  gateway.breaks(1006);
  await pass(500);
  assert.deepEqual(latest().protocols, ['presence.v1.json', 'presence.bearer.t1']);
  latest().hello();
  latest().breaks(4401);
  await pass(2_000);
  assert.deepEqual(latest().protocols, ['presence.v1.json', 'presence.bearer.t2']);
});

test('a token that runs out is renewed on the open connection', async () => {
  let asked = 0;
  const gateway = await online({ token: () => `t${(asked += 1)}` });
  gateway.says({ type: 'presence:expiring', token_expires_at: Date.now() + 30_000 });
  await settle();
  assert.equal(gateway.heard.at(-1).token, 't2');
});

test('a gateway that has lost the others says so, and when it has found them again', async () => {
  const gateway = await online();
  const heard = [];
  presence.on('health', ({ degraded }) => heard.push(degraded));
  gateway.says({ type: 'presence:health', degraded: true });
  gateway.says({ type: 'presence:health', degraded: false });
  await settle();
  assert.deepEqual(heard, [true, false]);
});

test('a place that a fresh token does not allow is left for good', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  const bob = presence.user('bob');
  await Promise.all([room.join(), bob.watch()]);
  gateway.says(everyone(1, 'ann', 'bob'));
  gateway.says({ type: 'presence:status', epoch: 'e', version: 1, user_id: 'bob', status: 'busy', devices: [] });
  const heard = [];
  room.on('removed', () => heard.push('removed'));
  gateway.says({ type: 'presence:removed', channel: 'room:1' });
  gateway.says({ type: 'presence:removed', users: ['bob'] });
  gateway.says(joined(2, 'eve'));
  await settle();
  assert.deepEqual(heard, ['removed']);
  assert.equal(room.state.joined, false);
  assert.deepEqual(room.state.users, []);
  assert.notEqual(bob.state.status, 'busy');
  // Nor does the next connection ask for it.
  gateway.take();
  gateway.breaks();
  await pass(5_000);
  latest().onopen?.();
  latest().hello();
  await settle();
  assert.deepEqual(latest().take().filter((it) => /room:1|bob/.test(it)), []);
});

test('a status waits for the connection, a broadcast is not said twice', async () => {
  const gateway = await online();
  gateway.answers = false;
  const status = presence.setStatus({ status: 'busy', emoji: null });
  const cheer = presence.channel('room:1').broadcast('cheer');
  assert.deepEqual(gateway.heard.map(({ ref, ...command }) => command), [
    { type: 'presence:status', status: 'busy', emoji: null },
    { type: 'presence:broadcast', channel: 'room:1', event: 'cheer', payload: null },
  ]);
  gateway.breaks();
  await assert.rejects(cheer, { code: 'disconnected' });
  await pass(500);
  latest().hello();
  await status;
  assert.deepEqual(latest().take(), ['status']);
});

test('a command that nobody answers is given up after half a minute', async () => {
  const gateway = await online();
  gateway.answers = false;
  const status = presence.setStatus({ status: 'busy' });
  const keepAlive = () => gateway.says({ type: 'presence:pong', now: 0 });
  for (let at = 0; at < 30; at += 1) {
    keepAlive();
    await pass(1_000);
  }
  await assert.rejects(status, { code: 'timeout' });
});

test('a frame that is too large stays here: the gateway would close for good', async () => {
  const gateway = await online();
  await assert.rejects(presence.channel('room:1').broadcast('x', 'é'.repeat(600)), { code: 'too_large' });
  assert.deepEqual(gateway.take(), []);
});

test('typing and cursors are paced, and dropped while there is no connection', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.take();
  for (let key = 0; key < 30; key += 1) {
    room.typing();
    await pass(100);
  }
  assert.deepEqual(gateway.take(), ['typing room:1 true', 'typing room:1 true']);
  room.typing(false);
  room.typing(false);
  assert.deepEqual(gateway.take(), ['typing room:1 false']);

  for (let x = 0; x < 10; x += 1) {
    room.cursor(x / 10, 0);
    await pass(10);
  }
  await pass(100);
  assert.deepEqual(gateway.heard.map(({ x }) => x), [0, 0.3, 0.7, 0.9]);
  gateway.take();
  room.cursor(null);
  assert.equal(gateway.heard.at(-1).visible, false);
  gateway.take();

  gateway.breaks();
  room.cursor(0.5, 0.5);
  room.typing();
  await pass(500);
  latest().hello({ restored: true });
  await pass(1_000);
  assert.deepEqual(latest().take(), ['activity active', 'join room:1 full']);
});

test('who was typing when the connection went is not typing for ever', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.says({ ...everyone(3, 'ann', 'bob'), typing: ['bob'] });
  gateway.breaks();
  assert.deepEqual(room.state.typing, ['bob']);
  await pass(5_000);
  assert.deepEqual(room.state.typing, []);
});

test('people are watched together and again after a reconnect', async () => {
  const gateway = await online();
  const bob = presence.user('bob');
  await Promise.all([bob.watch(), presence.user('eve').watch()]);
  assert.deepEqual(gateway.take(), ['watch bob+eve']);
  gateway.says({ type: 'presence:status', epoch: 'e', version: 4, user_id: 'bob', status: 'busy', devices: ['web'] });
  gateway.says({ type: 'presence:status', epoch: 'e', version: 3, user_id: 'bob', status: 'away', devices: [] });
  assert.deepEqual(bob.state, { userId: 'bob', status: 'busy', devices: ['web'] });
  await presence.user('eve').unwatch();
  assert.deepEqual(gateway.take(), ['unwatch eve']);
  gateway.breaks();
  await pass(500);
  latest().hello();
  assert.deepEqual(latest().take(), ['watch bob']);
});

test('a person whose watch was refused is asked for again, when somebody wants it and on the next connection', async () => {
  const gateway = await online();
  gateway.answers = false;
  const refuse = (to) => to.heard.filter(({ type }) => type === 'presence:watch').forEach(({ ref }) => to.says({ type: 'presence:error', ref, code: 'forbidden', message: 'no' }));
  const [bob, eve] = [presence.user('bob'), presence.user('eve')];
  const refused = assert.rejects(bob.watch(), { code: 'forbidden' });
  await settle();
  refuse(gateway);
  await refused;
  assert.deepEqual(gateway.take(), ['watch bob']);

  gateway.answers = true;
  await eve.watch();
  assert.deepEqual(gateway.take(), ['watch eve'], 'nobody asked for Bob again');
  await bob.watch();
  assert.deepEqual(gateway.take(), ['watch bob']);
  gateway.says({ type: 'presence:status', epoch: 'e', version: 1, user_id: 'bob', status: 'busy', devices: [] });
  await bob.watch();
  assert.deepEqual(gateway.take(), [], 'he is watched');
  gateway.breaks();
  await pass(500);
  latest().hello();
  assert.deepEqual(latest().take(), ['watch bob+eve']);
});

test('a frame of a kind that the client does not know changes nobody', async () => {
  const gateway = await online();
  const bob = presence.user('bob');
  await bob.watch();
  const before = bob.state;
  gateway.says({ type: 'presence:news', epoch: 'e', version: 9, user_id: 'bob', status: 'busy', devices: [] });
  gateway.says({ type: 'presence:news' });
  assert.equal(bob.state, before);
});

test('heartbeats come as often as the gateway wants them', async () => {
  const gateway = await online({ idleAfter: Infinity });
  gateway.breaks();
  await pass(500);
  const next = latest();
  next.hello({ heartbeat_interval: 1_000 });
  for (let second = 0; second < 12; second += 1) await pass(1_000);
  assert.equal(next.heard.filter(({ type }) => type === 'presence:heartbeat').length, 12);
  assert.equal(presence.connection.status, 'online');

  // Without an answer there is one question, and then an end.
  next.answers = false;
  next.heard.length = 0;
  for (let second = 0; second < 8; second += 1) await pass(1_000);
  assert.equal(next.heard.length, 1);
  await pass(1_000);
  assert.equal(next.closed, 4000);
});

test('nothing is sent on a socket that is closing, and what was asked is asked on the next one', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  gateway.readyState = 3; // as after a sleep, before the event that says so
  room.typing();
  const joined = room.join();
  await pass(15_000);
  assert.deepEqual(gateway.take(), []);
  gateway.breaks();
  await pass(500);
  latest().hello();
  await joined;
  assert.deepEqual(latest().take(), ['join room:1 full']);
});

test('no timer of a lost connection is left over', async () => {
  const gateway = await online();
  gateway.answers = false;
  await pass(15_000);
  assert.equal(gateway.heard.filter(({ type }) => type === 'presence:heartbeat').length, 1);
  gateway.breaks();
  await pass(500);
  const next = latest();
  assert.notEqual(next, gateway);
  next.hello();
  await pass(8_000); // when an answer to the heartbeat on the first connection would have been due
  assert.equal(latest(), next);
  assert.equal(presence.connection.status, 'online');
  await pass(7_000);
  assert.equal(next.heard.filter(({ type }) => type === 'presence:heartbeat').length, 1);
});

test('a state is the same object until something in it changes', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.says(everyone(3, 'ann'));
  const { getState, subscribe } = room;
  const before = getState();
  let calls = 0;
  const stop = subscribe(() => { calls += 1; });
  gateway.says(everyone(3, 'ann'));
  assert.equal(getState(), before);
  assert.equal(calls, 0);
  gateway.says(joined(4, 'bob'));
  assert.notEqual(getState(), before);
  assert.equal(calls, 1);
  stop();
  gateway.says(joined(5, 'eve'));
  assert.equal(calls, 1);
});

test("an exception in one listener is nobody else's", async () => {
  const gateway = await online();
  const reported = mock.method(console, 'error', () => {});
  const heard = [];
  presence.on('self', () => { throw new Error('mine'); });
  presence.on('self', (self) => heard.push(self.status));
  gateway.says({ type: 'presence:self', user_id: 'ann', status: 'busy', shown: 'busy', revision: 1, devices: [] });
  assert.deepEqual(heard, ['busy']);
  assert.equal(reported.mock.calls[0].arguments[0].message, 'mine');
});

test('whoever comes out of hiding learns by which session others know them', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  gateway.says(everyone(3, 'ann'));
  const cursors = [];
  room.on('cursor', ({ session }) => cursors.push(session));
  const point = (session) => gateway.says({ type: 'presence:cursors', channel: 'room:1', cursors: [{ session, user_id: 'ann', x: 1, y: 2, visible: true }], gone: [] });
  const self = { type: 'presence:self', user_id: 'ann', status: 'busy', shown: 'busy', revision: 1, devices: [] };
  const before = presence.session;
  gateway.says(self); // an older gateway
  assert.equal(presence.session, before);
  point(before);
  assert.deepEqual(cursors, [], 'our own');
  gateway.says({ ...self, session: 'another' });
  assert.equal(presence.session, 'another');
  assert.equal(presence.getState().self.session, 'another');
  point('another');
  assert.deepEqual(cursors, [], 'still our own');
  point(before);
  assert.deepEqual(cursors, [before]);
});

test('close leaves at once and leaves nothing behind', async () => {
  const gateway = await online();
  const room = presence.channel('room:1');
  await room.join();
  room.typing();
  room.cursor(0.1, 0.1);
  gateway.take();
  const pending = presence.channel('room:2').join();
  presence.close();
  assert.deepEqual(gateway.take(), ['leave']);
  assert.equal(gateway.closed, 1000);
  assert.deepEqual([presence.connection.status, room.state.live, room.state.joined], ['closed', false, false]);
  await assert.rejects(pending, { code: 'closed' });
  await assert.rejects(room.join(), { code: 'closed' });
  room.typing();
  room.cursor(0.2, 0.2);
  presence.reconnect();
  await pass(120_000);
  assert.equal(PaperSocket.all.length, 1);
  assert.deepEqual(gateway.take(), []);
});
