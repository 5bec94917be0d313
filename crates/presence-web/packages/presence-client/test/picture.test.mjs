// What a client believes of a channel, frame by frame.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Picture } from 'presence-client';

const person = (id, more = {}) => ({ id, status: 'online', name: id, color: '#0e7490', joined_at: 1, metas: [], ...more });
const at = (version, more) => ({ channel: 'room:1', epoch: 'e', version, ...more });
const everyone = (version, ids, more = {}) =>
  at(version, { type: 'presence:currentUsers', mode: 'full', count: ids.length, users: ids.map((id) => person(id)), typing: [], cursors: [], ...more });
const summary = (version, count, ids) =>
  at(version, { type: 'presence:summary', mode: 'summary', count, users: ids.map((id) => person(id)) });
const joined = (version, id) => at(version, { type: 'presence:userJoined', user: person(id) });
const left = (version, id, reason = 'left') => at(version, { type: 'presence:userLeft', user_id: id, reason });
const cursor = (session, userId, x) => ({ session, user_id: userId, x, y: 0.5, visible: true });

function picture(...frames) {
  const it = new Picture();
  it.me = { userId: 'me', session: 's-me' };
  for (const frame of frames) it.fold(frame);
  return it;
}

const names = (it) => it.users.map(({ id }) => id).join(' ');
const heard = (events) => events.map(([event, what, more]) => `${event} ${what.id ?? ''}${typeof more === 'string' ? ` ${more}` : ''}`.trim());

test('the first whole picture is no news about anybody', () => {
  const it = picture();
  const { outcome, events, synced } = it.fold(everyone(3, ['ann', 'bob']));
  assert.deepEqual([outcome, events, synced], ['folded', [], true]);
  assert.equal(names(it), 'ann bob');
  assert.equal(it.count, 2);
});

test('people come at the end, change in place and go', () => {
  const it = picture(everyone(3, ['ann', 'bob']));
  assert.deepEqual(heard(it.fold(joined(4, 'eve')).events), ['join eve']);
  assert.deepEqual(heard(it.fold(at(5, { type: 'presence:userUpdated', user: person('ann', { status: 'busy' }) })).events), ['update ann']);
  assert.equal(names(it), 'ann bob eve');
  assert.deepEqual(heard(it.fold(left(6, 'bob', 'lost')).events), ['leave bob lost']);
  assert.equal(names(it), 'ann eve');
  assert.equal(it.count, 2);
});

test('several changes of a tick are one version', () => {
  const it = picture(everyone(3, ['ann']));
  const { events } = it.fold(at(4, { type: 'presence:changes', changes: [
    { type: 'presence:userLeft', user_id: 'ann', reason: 'left' },
    { type: 'presence:userJoined', user: person('bob') },
    { type: 'presence:userJoined', user: person('ann') },
  ] }));
  assert.deepEqual(heard(events), ['leave ann left', 'join bob', 'join ann']);
  assert.equal(names(it), 'bob ann');
  assert.equal(it.version, 4);
});

test('what is known already is ignored', () => {
  const it = picture(everyone(3, ['ann']), joined(4, 'bob'));
  const { users } = it;
  assert.equal(it.fold(joined(4, 'bob')).outcome, 'ignored');
  assert.equal(it.fold(left(2, 'ann')).outcome, 'ignored');
  assert.equal(it.fold(everyone(3, [])).outcome, 'ignored');
  assert.equal(it.users, users);
});

test('a missing version is a gap, and nothing is guessed', () => {
  const it = picture(everyone(3, ['ann']));
  assert.equal(it.fold(joined(5, 'eve')).outcome, 'gap');
  assert.equal(names(it), 'ann');
  assert.ok(it.behind);
  it.fold(joined(4, 'bob'));
  it.fold(joined(5, 'eve'));
  assert.equal(names(it), 'ann bob eve');
  assert.ok(!it.behind);
});

test('another epoch is a gap, unless it brings the whole picture', () => {
  const it = picture(everyone(3, ['ann', 'bob']));
  assert.equal(it.fold({ ...joined(4, 'eve'), epoch: 'f' }).outcome, 'gap');
  const { events } = it.fold({ ...everyone(1, ['bob', 'eve']), epoch: 'f' });
  assert.deepEqual(heard(events), ['leave ann', 'join eve']);
  assert.equal(it.version, 1);
  assert.ok(!it.behind);
});

test('a change before the first whole picture waits for it', () => {
  assert.equal(picture().fold(joined(4, 'eve')).outcome, 'ignored');
});

test('after a reconnect only what really changed is news', () => {
  const it = picture(everyone(3, ['ann', 'bob']));
  const before = it.users;
  assert.deepEqual(it.fold(everyone(9, ['ann', 'bob'])).events, []);
  assert.equal(it.users, before, 'the same people are the same array');

  const [ann] = it.users;
  const again = everyone(12, ['ann', 'bob', 'eve']);
  again.users[1].status = 'away';
  assert.deepEqual(heard(it.fold(again).events), ['update bob', 'join eve']);
  assert.equal(it.users[0], ann, 'who has not changed is the same object');
});

test('unchanged confirms the picture and tells who types and points', () => {
  const it = picture(everyone(3, ['ann', 'bob'], { typing: ['ann'], cursors: [cursor('s-ann', 'ann', 0.1)] }));
  const { events, synced } = it.fold(at(3, { type: 'presence:unchanged', typing: ['bob'], cursors: [] }));
  assert.ok(synced);
  assert.deepEqual(heard(events), ['typing', 'cursorGone']);
  assert.deepEqual(it.typing, ['bob']);
  assert.equal(it.cursors.size, 0);
  assert.ok(!it.behind);
});

test('unchanged with a later version leaves a doubt until the rest has come', () => {
  const it = picture(everyone(3, ['ann']));
  it.fold(at(4, { type: 'presence:unchanged', typing: [], cursors: [] }));
  assert.ok(it.behind);
  it.fold(joined(4, 'bob'));
  assert.ok(!it.behind);
});

test('nobody joins or leaves when a channel grows too big or shrinks again', () => {
  const it = picture(everyone(3, ['ann', 'bob', 'eve']));
  assert.deepEqual(it.fold(summary(900, 501, ['ann', 'bob'])).events, []);
  assert.deepEqual([it.mode, it.count, names(it)], ['summary', 501, 'ann bob']);
  assert.deepEqual(it.fold(summary(901, 500, ['bob'])).events, []);
  assert.equal(it.fold(joined(902, 'eve')).outcome, 'gap', 'a list cannot go on from a count');
  assert.deepEqual(it.fold(everyone(902, ['bob', 'eve'])).events, []);
  assert.deepEqual(heard(it.fold(left(903, 'eve')).events), ['leave eve left']);
});

test('the same version in another mode is welcome', () => {
  const it = picture(summary(7, 2, ['ann']));
  assert.equal(it.fold(everyone(7, ['ann', 'bob'])).outcome, 'folded');
  assert.equal(it.mode, 'full');
});

test('your own typing and your own cursor are not news to you', () => {
  const it = picture(everyone(3, ['me', 'bob']));
  assert.deepEqual(it.fold(at(0, { type: 'presence:typing', users: ['me'], started: ['me'], stopped: [] })).events, []);
  assert.deepEqual(it.fold({ type: 'presence:cursors', channel: 'room:1', cursors: [cursor('s-me', 'me', 0.2)], gone: [] }).events, []);
  assert.deepEqual(heard(it.fold({ type: 'presence:cursors', channel: 'room:1', cursors: [cursor('s-me-2', 'me', 0.2)], gone: [] }).events), ['cursor']);
});

test('typing tells each start and stop once', () => {
  const it = picture(everyone(3, ['ann', 'bob']));
  const say = (...users) => it.fold({ type: 'presence:typing', channel: 'room:1', users, started: [], stopped: [] }).events;
  assert.deepEqual(say('ann'), [['typing', { users: ['ann'], started: ['ann'], stopped: [] }]]);
  assert.deepEqual(say('ann'), []);
  assert.deepEqual(say('bob'), [['typing', { users: ['bob'], started: ['bob'], stopped: ['ann'] }]]);
});

test('cursors are replaced as a map, so an old state stays as it was', () => {
  const it = picture(everyone(3, ['ann']));
  const before = it.cursors;
  it.fold({ type: 'presence:cursors', channel: 'room:1', cursors: [cursor('s1', 'ann', 0.1)], gone: [] });
  assert.equal(before.size, 0);
  assert.deepEqual(it.cursors.get('s1'), { session: 's1', userId: 'ann', x: 0.1, y: 0.5, visible: true });
  it.fold({ type: 'presence:cursors', channel: 'room:1', cursors: [], gone: ['s1', 'never seen'] });
  assert.equal(it.cursors.size, 0);
});

test('who leaves stops typing and pointing', () => {
  const it = picture(everyone(3, ['ann', 'bob'], { typing: ['bob'], cursors: [cursor('s1', 'bob', 0.1)] }));
  assert.deepEqual(heard(it.fold(left(4, 'bob')).events), ['leave bob left', 'typing', 'cursorGone']);
  assert.deepEqual(it.typing, []);
});

test('ids may be called anything', () => {
  const it = picture(everyone(3, ['__proto__', 'constructor']));
  assert.deepEqual(heard(it.fold(left(4, '__proto__')).events), ['leave __proto__ left']);
  assert.equal(names(it), 'constructor');
});

test('a person without a name goes by their id', () => {
  const it = picture(everyone(3, []));
  it.fold(at(4, { type: 'presence:userJoined', user: person('anon_1', { name: '' }) }));
  assert.equal(it.users[0].name, 'anon_1');
});
