// Two people on presence.js: what one does, the other sees. Arguments: the module, the server, and a proxy to it that is cut.

import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const [module, url, viaProxy] = process.argv.slice(2);
const { connect } = await import(pathToFileURL(module));

const ann = connect({ url: viaProxy, userId: 'ann', name: 'Ann', deviceId: 'web:ann' });
const bob = connect({ url, userId: 'bob', deviceId: 'web:bob' });
const [ofAnn, ofBob] = [ann, bob].map((it) => it.channel('room:1'));

/** The state of `place`, once it is as it should be. */
function until(place, is) {
  return new Promise((resolve) => {
    let stop = null;
    const look = (state) => {
      if (!is(state)) return;
      queueMicrotask(() => stop());
      resolve(state);
    };
    stop = place.subscribe(look);
    look(place.getState());
  });
}

/** The next event of that name. */
const next = (source, event) => new Promise((resolve) => {
  const stop = source.on(event, (...it) => {
    stop();
    resolve(it);
  });
});

const ids = ({ users }) => users.map(({ id }) => id).join(' ');
const userIn = ({ users }, id) => users.find((it) => it.id === id);

await ofAnn.join({ meta: { role: 'editor', color: '#ABC' } });
await ofBob.join();
let state = await until(ofBob, (it) => it.live && ids(it) === 'ann bob');
assert.equal(userIn(state, 'ann').name, 'Ann');
assert.equal(userIn(state, 'ann').color, '#aabbcc');
assert.deepEqual(userIn(state, 'ann').metas[0].meta.role, 'editor');

await ofAnn.update({ role: 'reader' });
await until(ofBob, (it) => userIn(it, 'ann').metas[0].meta.role === 'reader');

await ann.setStatus({ status: 'busy', customMessage: 'Deep work', emoji: '🎯' });
state = await until(ofBob, (it) => userIn(it, 'ann').status === 'busy');
assert.equal(userIn(state, 'ann').customMessage, 'Deep work');
const [status] = await bob.getStatuses(['ann']);
assert.equal(status.status, 'busy');

ofAnn.typing();
await until(ofBob, ({ typing }) => typing.includes('ann'));
ofAnn.typing(false);
await until(ofBob, ({ typing }) => typing.length === 0);
ofAnn.cursor(0.25, 0.5);
state = await until(ofBob, ({ cursors }) => cursors.size === 1);
assert.equal([...state.cursors.values()][0].x, 0.25);

assert.ok(await ann.ping() >= 0);

const reaction = next(ofAnn, 'broadcast:reaction');
await ofBob.broadcast('reaction', { emoji: '🎉' });
assert.deepEqual((await reaction)[0].payload, { emoji: '🎉' });

await assert.rejects(ann.channel('pusher/1/x').join(), { code: 'forbidden', field: 'channel' });

// A lost connection is no event for anybody.
const { session } = ann;
const seen = [];
ofBob.on('leave', ({ id }) => seen.push(`leave ${id}`));
ofBob.on('join', ({ id }) => seen.push(`join ${id}`));
const hello = next(ann, 'hello');
console.log('cut me');
assert.equal((await hello)[0].restored, true);
assert.equal(ann.session, session);
await until(ofAnn, (it) => it.live && it.joined && ids(it) === 'ann bob');
const later = next(ofBob, 'broadcast:later');
await ofAnn.broadcast('later', 1);
await later;
assert.deepEqual(seen, []);

await ofAnn.leave();
await until(ofBob, (it) => ids(it) === 'bob');
assert.deepEqual(seen, ['leave ann']);

await ofAnn.watch({ mode: 'summary' });
state = await until(ofAnn, (it) => it.live && it.mode === 'summary');
assert.equal(state.count, 1);
await ofAnn.unwatch();

ann.close();
bob.close();
console.log('done');
