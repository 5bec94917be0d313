// Several parts of one page in one channel, and several that look at one person.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { connect } from 'presence-client';

import { PaperSocket, begin, everyone, finish, latest, pass, settle } from './paper.mjs';

let presence;

/** A client that is online, and the channel. */
async function online() {
  presence = connect({ url: 'ws://gateway/ws', userId: 'ann', deviceId: 'web:t', WebSocket: PaperSocket });
  await settle();
  latest().hello();
  await settle();
  return presence.channel('room:1');
}

/** What the gateway was told since the last time, with metas. */
async function told() {
  await settle();
  return latest().heard.splice(0).map(({ type, meta, mode }) => [type.replace('presence:', ''), meta && JSON.stringify(meta), mode].filter(Boolean).join(' '));
}

/** Answers the next command of `type` with an error. */
function refuse(type, error) {
  const socket = latest();
  const { send } = socket;
  socket.send = (text) => {
    const command = JSON.parse(text);
    if (command.type !== type) return send.call(socket, text);
    socket.heard.push(command);
    socket.send = send;
    return socket.says({ type: 'presence:error', ref: command.ref, ...error });
  };
}

beforeEach(begin);

afterEach(() => {
  presence?.close();
  finish();
});

test('two users of a channel join once, and leave when both have left', async () => {
  const room = await online();
  const first = room.enter({ meta: { role: 'editor' } });
  const second = room.enter();
  assert.deepEqual(await told(), ['join {"role":"editor"} full']);
  first();
  first();
  assert.deepEqual(await told(), ['update {}'], 'the meta of who has left is not shown any longer');
  second();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
  second();
  first();
  assert.deepEqual(await told(), []);
});

test('the latest meta wins, and who has none keeps that of the others', async () => {
  const room = await online();
  const first = room.enter({ meta: { at: 1 } });
  assert.deepEqual(await told(), ['join {"at":1} full']);
  const second = room.enter({ meta: { at: 2 } });
  assert.deepEqual(await told(), ['update {"at":2}']);
  const third = room.enter();
  assert.deepEqual(await told(), []);
  second();
  assert.deepEqual(await told(), ['update {"at":1}']);
  first();
  assert.deepEqual(await told(), ['update {}']);
  third();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
});

test('a part that is mounted twice at once joins once, and one that goes at once was never there', async () => {
  const room = await online();
  room.enter()();
  assert.deepEqual(await told(), []);
  room.enter()();
  const leave = room.enter();
  assert.deepEqual(await told(), ['join {} full']);
  leave();
  const again = room.enter();
  assert.deepEqual(await told(), [], 'a part that is moved within the page neither leaves nor joins');
  again();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
});

test('a join is one more user, and leave() leaves at once, whoever has entered', async () => {
  const room = await online();
  const leave = room.enter();
  await room.join({ meta: { at: 1 } });
  await told();
  leave();
  assert.deepEqual(await told(), []);
  assert.ok(room.state.joined);
  const other = room.enter();
  await room.leave();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
  other();
  assert.deepEqual(await told(), []);
});

test('somebody who only wants the count sees the list while somebody else wants it', async () => {
  const room = await online();
  const count = room.enter({ mode: 'summary' });
  assert.deepEqual(await told(), ['join {} summary']);
  const list = room.enter();
  assert.deepEqual(await told(), ['watch full']);
  list();
  assert.deepEqual(await told(), ['watch summary']);
  count();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
});

test('who entered is in again after a reconnect, and who left meanwhile is not', async () => {
  const room = await online();
  const [first, second] = [room.enter({ meta: { at: 1 } }), room.enter({ meta: { at: 2 } })];
  await told();
  latest().says(everyone(1, 'ann'));
  latest().breaks();
  second();
  await pass(500);
  latest().hello();
  assert.deepEqual(await told(), ['join {"at":1} full']);
  first();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
});

test('who may not enter is told so in the state of the channel, and may try again', async () => {
  const room = await online();
  const errors = [];
  room.on('error', ({ code }) => errors.push(code));
  refuse('presence:join', { code: 'forbidden', message: 'the token does not allow room:1', field: 'channel' });
  const [first, second] = [room.enter(), room.enter()];
  await told();
  assert.equal(room.state.error?.code, 'forbidden');
  assert.ok(!room.state.joined);
  assert.deepEqual(errors, ['forbidden']);
  first();
  second();
  assert.deepEqual(await told(), [], 'there is nothing to leave');
  const leave = room.enter();
  assert.deepEqual(await told(), ['join {} full']);
  assert.equal(room.state.error, null);
  leave();
});

test('a meta that is refused is taken back alone', async () => {
  const room = await online();
  const good = room.enter({ meta: { at: 1 } });
  await told();
  refuse('presence:update', { code: 'too_large', message: 'meta has over 4096 bytes', field: 'meta' });
  const bad = room.enter({ meta: { text: 'too long' } });
  assert.deepEqual(await told(), ['update {"text":"too long"}']);
  assert.equal(room.state.error?.field, 'meta');
  assert.ok(room.state.joined);
  bad();
  assert.deepEqual(await told(), [], 'the other meta is still shown');
  good();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
});

test('update() replaces the meta of whoever came last, and needs somebody who is in', async () => {
  const room = await online();
  await assert.rejects(room.update({ at: 0 }), { code: 'not_joined' });
  const leave = room.enter({ meta: { at: 1 } });
  await told();
  await room.update({ at: 2 });
  assert.deepEqual(await told(), ['update {"at":2}']);
  leave();
  assert.deepEqual(await told(), ['leave', 'unwatch']);
  await assert.rejects(room.update({ at: 3 }), { code: 'not_joined' });
});

test('a person is watched while anybody follows them', async () => {
  await online();
  const bob = presence.user('bob');
  const [first, second] = [bob.follow(), bob.follow()];
  assert.deepEqual(await told(), ['watch']);
  latest().says({ type: 'presence:status', epoch: 'e', version: 1, user_id: 'bob', status: 'busy', devices: [] });
  first();
  first();
  assert.deepEqual(await told(), []);
  assert.equal(bob.state.status, 'busy');
  second();
  const third = bob.follow();
  assert.equal(bob.state.status, 'busy', 'who is shown elsewhere at once is not forgotten in between');
  assert.deepEqual(await told(), []);
  assert.equal(bob.state.status, 'busy');
  third();
  assert.deepEqual(await told(), ['unwatch']);
  assert.equal(bob.state.status, null);
});
