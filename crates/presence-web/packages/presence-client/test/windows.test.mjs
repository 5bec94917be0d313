// Windows: a few rows of a long list, and what changes in them.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { connect } from 'presence-client';

import { PaperSocket, begin, finish, latest, pass, person, settle } from './paper.mjs';

let presence;

async function online() {
  presence = connect({ url: 'ws://gateway/ws', userId: 'ann', deviceId: 'web:t', WebSocket: PaperSocket });
  await settle();
  latest().hello();
  await settle();
  latest().heard.splice(0);
  return presence.channel('room:1');
}

/** The commands about windows since the last time, without their refs. */
async function told() {
  await settle();
  return latest().heard.splice(0).filter(({ type }) => type.includes('Window')).map(({ ref, type, ...rest }) => [type.replace('presence:', ''), rest]);
}

const rows = (window, count, ...ids) => latest().says({ type: 'presence:window', channel: 'room:1', window, count, users: ids.map(person) });
const changes = (window, more) => latest().says({ type: 'presence:windowChanges', channel: 'room:1', window, gone: [], rows: [], ...more });
const ids = ({ state }) => state.users.map(({ id }) => id).join(' ');

beforeEach(begin);

afterEach(() => {
  presence?.close();
  finish();
});

test('a window has its rows, and what changes in them', async () => {
  const window = (await online()).window({ limit: 3 });
  assert.deepEqual(await told(), [['openWindow', { channel: 'room:1', window: 1, limit: 3 }]]);
  assert.deepEqual(window.state, { users: [], count: 0, live: false, error: null });
  let states = 0;
  window.subscribe(() => { states += 1; });
  changes(1, { gone: ['zoe'] });
  assert.equal(states, 0, 'changes of what was not told yet');
  rows(1, 70_000, 'a', 'b', 'c');
  assert.deepEqual([ids(window), window.state.count, window.state.live], ['a b c', 70_000, true]);
  changes(1, { gone: ['b'], rows: [{ at: 0, user: person('x') }, { at: 2, user: { ...person('c'), status: 'busy' } }] });
  assert.deepEqual([ids(window), window.state.users[2].status], ['x a c', 'busy']);
  const { users } = window.state;
  changes(1, { count: 70_001 });
  assert.equal(window.state.count, 70_001);
  assert.equal(window.state.users, users, 'a count alone draws no rows again');
  assert.equal(states, 3);
});

test('a row that moves is put where it belongs', async () => {
  const window = (await online()).window({ order: 'name' });
  rows(1, 4, 'a', 'b', 'c', 'd');
  changes(1, { rows: [{ at: 3, user: person('a') }] });
  assert.equal(ids(window), 'b c d a');
  changes(1, { gone: ['c'], rows: [{ at: 0, user: person('a') }, { at: 1, user: person('A') }] });
  assert.equal(ids(window), 'a A b d');
});

test('a window goes on after a reconnect, and its rows are told again', async () => {
  const room = await online();
  const window = room.window({ order: 'name', prefix: 'an' });
  await told();
  rows(1, 2, 'ann', 'anna');
  latest().breaks();
  assert.deepEqual([window.state.live, ids(window)], [false, 'ann anna']);
  await pass(1_000);
  latest().hello({ restored: true });
  assert.deepEqual(await told(), [['openWindow', { channel: 'room:1', window: 1, order: 'name', prefix: 'an' }]]);
  changes(1, { gone: ['ann'] });
  assert.equal(ids(window), 'ann anna', 'changes of rows that were told before');
  const [, anna] = window.state.users;
  rows(1, 2, 'anna', 'anne');
  assert.deepEqual([window.state.live, ids(window)], [true, 'anna anne']);
  assert.equal(window.state.users[0], anna, 'who is the same is the same object');
});

test('a window moves by a row of its own, and keeps its old rows until the new ones are there', async () => {
  const window = (await online()).window({ limit: 2 });
  await told();
  rows(1, 9, 'a', 'b');
  window.move({ after: window.state.users.at(-1) });
  assert.deepEqual(await told(), [['openWindow', { channel: 'room:1', window: 1, after: { joined_at: 1, user_id: 'b' }, limit: 2 }]]);
  changes(1, { gone: ['a'] });
  assert.equal(ids(window), 'b');
  rows(1, 9, 'c', 'd');
  assert.equal(ids(window), 'c d');
  window.move({ order: 'name', after: { name: 'M' } });
  assert.deepEqual(await told(), [['openWindow', { channel: 'room:1', window: 1, order: 'name', after: { name: 'M' }, limit: 2 }]]);
  window.move({ after: null });
  assert.deepEqual(await told(), [['openWindow', { channel: 'room:1', window: 1, order: 'name', limit: 2 }]]);
});

test('a number is used again when nothing more can come of the window that had it', async () => {
  const room = await online();
  const first = room.window();
  const second = room.window({ prefix: 'a' });
  rows(1, 5, 'a');
  rows(2, 5, 'ab');
  await told();
  latest().answers = false;
  first.close();
  first.close();
  const closing = latest().heard.find(({ type }) => type === 'presence:closeWindow');
  assert.deepEqual((await told()).map(([type, { window }]) => [type, window]), [['closeWindow', 1]]);
  const third = room.window({ limit: 1 });
  rows(1, 5, 'late');
  assert.deepEqual([first, second, third].map(ids), ['a', 'ab', '']);
  latest().says({ type: 'presence:ok', ref: closing.ref });
  await settle();
  assert.equal(third.number, 3);
  assert.equal(room.window().number, 1);
});

test('what is refused for now is asked for again, and what is refused for good says so', async () => {
  const room = await online();
  latest().answers = false;
  const window = room.window();
  const refuse = async (error) => {
    await settle();
    const { ref } = latest().heard.findLast(({ type }) => type === 'presence:openWindow');
    latest().heard.splice(0);
    latest().says({ type: 'presence:error', ref, message: 'no', ...error });
    await settle();
  };
  await refuse({ code: 'rate_limited', retry_after: 500 });
  assert.deepEqual(await told(), []);
  await pass(600);
  assert.deepEqual(latest().heard.map(({ type }) => type), ['presence:openWindow']);
  const errors = [];
  window.on('error', ({ code }) => errors.push(code));
  await refuse({ code: 'too_many' });
  assert.deepEqual(errors, ['too_many']);
  assert.deepEqual([window.state.live, window.state.error.code], [false, 'too_many']);
  latest().breaks();
  await pass(1_000);
  latest().hello();
  assert.deepEqual(await told(), [], 'it is not asked for again');
});

test('who may not watch any more, or has closed, has no windows', async () => {
  const room = await online();
  const window = room.window();
  rows(1, 1, 'a');
  latest().says({ type: 'presence:removed', channel: 'room:1' });
  assert.deepEqual([window.state.live, window.state.error.code], [false, 'forbidden']);
  const other = room.window();
  rows(1, 1, 'a');
  presence.close();
  assert.deepEqual([other.state.live, other.state.error.code], [false, 'closed']);
  assert.equal(room.window().state.error.code, 'closed');
});
