// npm `phoenix`: its Socket, Channel and Presence, as pages use them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Presence, Socket } from 'phoenix';

import { BrowserSocket, CLOSED, eventually, openNetwork, raw, startGateway, token } from './harness.mjs';

const QUICK = { PRESENCE_GRACE: '500ms' };

/** A socket of the stock client, for the length of a test. */
function connect(t, { address }, options = {}) {
  const socket = new Socket(`ws://${address}/socket`, { transport: BrowserSocket, rejoinAfterMs: () => 100, ...options });
  t.after(() => socket.disconnect());
  socket.connect();
  return socket;
}

const as = (user, more = {}) => ({ params: { user_id: user, name: user.toUpperCase(), ...more } });

/** Waits for the answer to a push: `['ok', response]`. */
function answered(push) {
  return new Promise((resolve) => {
    for (const status of ['ok', 'error', 'timeout']) push.receive(status, (response) => resolve([status, response]));
  });
}

/** Joins a topic with a roster: the channel, its Presence, and what that was told, in words. */
async function enter(socket, topic, params = {}) {
  const channel = socket.channel(topic, params);
  const presence = new Presence(channel);
  const story = [];
  presence.onJoin((id, current) => story.push(current ? `${id} again` : `${id} came`));
  presence.onLeave((id, current) => story.push(current.metas.length ? `${id} less` : `${id} went`));
  const users = () => presence.list((id) => id).sort();
  const metas = (id) => presence.state[id]?.metas ?? [];
  assert.deepEqual(await answered(channel.join()), ['ok', {}]);
  return { channel, presence, story, users, metas, joined: users };
}

const sees = (room, ...users) => eventually(`they see ${users}`, room.users, users);

test('people come, change and go, each once', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1', { meta: { role: 'pen' } });
  await sees(ann, 'ann');
  const bobs = connect(t, gateway, as('bob'));
  const bob = await enter(bobs, 'room:1');
  await sees(ann, 'ann', 'bob');
  await sees(bob, 'ann', 'bob');
  assert.equal(bob.metas('ann')[0].role, 'pen');
  assert.equal(bob.presence.state.ann.user.name, 'ANN');

  const before = bob.metas('ann')[0];
  assert.deepEqual(await answered(ann.channel.push('update_meta', { role: 'brush' })), ['ok', {}]);
  await eventually('bob sees the brush', () => bob.metas('ann').map((it) => it.role), ['brush']);
  const after = bob.metas('ann')[0];
  assert.notEqual(after.phx_ref, before.phx_ref);
  assert.equal(after.phx_ref_prev, before.phx_ref);
  assert.equal(after.session, before.session);

  assert.deepEqual(await answered(bob.channel.leave()), ['ok', {}]);
  await sees(ann, 'ann');
  assert.deepEqual(ann.story.filter((it) => it.startsWith('bob')), ['bob came', 'bob went']);
  assert.deepEqual(bob.story.filter((it) => it.startsWith('ann')), ['ann came', 'ann again', 'ann less']);
});

test('two tabs of one user are one user with two metas', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const tabs = [];
  for (const tab of [1, 2]) {
    tabs.push(await enter(connect(t, gateway, as('bob')), 'room:1', { meta: { tab } }));
    await eventually('a meta more', () => ann.metas('bob').map((it) => it.tab), [1, 2].slice(0, tab));
  }
  await tabs[0].channel.leave();
  await eventually('one meta', () => ann.metas('bob').map((it) => it.tab), [2]);
  await tabs[1].channel.leave();
  await sees(ann, 'ann');
  assert.deepEqual(ann.story.filter((it) => it.startsWith('bob')), ['bob came', 'bob again', 'bob less', 'bob went']);
});

test('typing, cursors, selections and broadcasts reach the others', async (t) => {
  const gateway = await startGateway(t, { ...QUICK, TYPING_TTL: '1s' });
  const ann = await enter(connect(t, gateway, as('ann')), 'document:7');
  const bob = await enter(connect(t, gateway, as('bob')), 'document:7');
  await sees(ann, 'ann', 'bob');
  const told = { typing: [], cursors: [], wave: [], own: [], bytes: [] };
  ann.channel.on('typing', (it) => told.typing.push(it.users));
  ann.channel.on('cursors', (it) => told.cursors.push(...it.cursors));
  ann.channel.on('wave', (it) => told.wave.push(it));
  ann.channel.on('bytes', (it) => told.bytes.push(it));
  bob.channel.on('wave', (it) => told.own.push(it));

  assert.deepEqual(await answered(bob.channel.push('typing_start', {})), ['ok', {}]);
  await eventually('bob types, and stops by himself', () => told.typing, [['bob'], []]);
  assert.deepEqual(await answered(bob.channel.push('cursor', { x: 0.25, y: 0.5 })), ['ok', {}]);
  await eventually('bob points', () => told.cursors.map(({ user_id, x, y }) => [user_id, x, y]), [['bob', 0.25, 0.5]]);
  assert.deepEqual(await answered(bob.channel.push('selection', { start: 3, end: 9 })), ['ok', {}]);
  await eventually('bob selects', () => told.cursors.at(-1).selection, { start: 3, end: 9 });
  assert.equal(told.cursors[0].session, ann.metas('bob')[0].session);

  assert.deepEqual(await answered(bob.channel.push('wave', { hand: 'left' })), ['ok', {}]);
  await eventually('ann sees him wave', () => told.wave, [{ hand: 'left' }]);
  bob.channel.push('bytes', new Uint8Array([1, 2, 255]).buffer);
  await eventually('ann gets bytes', () => told.bytes.map((it) => [...new Uint8Array(it)]), [[1, 2, 255]]);

  for (const event of ['presence_diff', 'phx_close', 'chan_reply_1', 'typing']) {
    const [status, { reason }] = await answered(bob.channel.push(event, {}));
    assert.deepEqual([status, reason], ['error', 'invalid'], event);
  }
  // The answers came after everything that was told before.
  assert.deepEqual(told.own, [], 'not to oneself');
});

test('a late comer is told who types and points', async (t) => {
  const gateway = await startGateway(t, { ...QUICK, TYPING_TTL: '60s' });
  const ann = await enter(connect(t, gateway, as('ann')), 'document:7');
  const bob = await enter(connect(t, gateway, as('bob')), 'document:7');
  const told = [];
  ann.channel.on('typing', (it) => told.push(it.users));
  ann.channel.on('cursors', (it) => told.push(it.cursors.map((it) => it.user_id)));
  assert.deepEqual(await answered(bob.channel.push('typing_start', {})), ['ok', {}]);
  await eventually('ann sees bob type', () => told, [['bob']]);
  assert.deepEqual(await answered(bob.channel.push('cursor', { x: 0.25, y: 0.5 })), ['ok', {}]);
  await eventually('ann sees bob point', () => told, [['bob'], ['bob']]);
  const eve = connect(t, gateway, as('eve')).channel('document:7');
  const late = [];
  eve.on('typing', (it) => late.push(it.users));
  eve.on('cursors', (it) => late.push(it.cursors.map((it) => it.user_id)));
  eve.join();
  await eventually('eve sees bob type and point', () => late.slice(0, 2), [['bob'], ['bob']]);
});

test('who only watches is not there', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const eve = await enter(connect(t, gateway, as('eve')), 'room:1', { watch: true });
  await sees(eve, 'ann');
  const bob = await enter(connect(t, gateway, as('bob')), 'room:1');
  for (const room of [ann, bob, eve]) await sees(room, 'ann', 'bob');
  const [status, { reason }] = await answered(eve.channel.push('typing_start', {}));
  assert.deepEqual([status, reason], ['error', 'not_joined']);
});

test('a socket that is lost and comes back within the grace time is no event', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '30s' });
  const network = await openNetwork(t, gateway);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const bob = await enter(connect(t, network, as('bob')), 'room:1');
  await sees(ann, 'ann', 'bob');
  const session = ann.metas('bob')[0].session;
  network.cut();
  network.heal();
  await eventually('bob is back, with another session', () => ann.metas('bob').some((it) => it.session !== session), true);
  await enter(connect(t, gateway, as('eve')), 'room:1');
  for (const room of [ann, bob]) await sees(room, 'ann', 'bob', 'eve');
  assert.deepEqual(ann.story.filter((it) => it.startsWith('bob')), ['bob came', 'bob again'], 'he never went');
});

test('a socket that is lost for longer is a leave, and a join when it is back', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '200ms' });
  const network = await openNetwork(t, gateway);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const bob = await enter(connect(t, network, as('bob')), 'room:1');
  await sees(ann, 'ann', 'bob');
  network.cut();
  await sees(ann, 'ann');
  // What happened meanwhile he learns from the snapshot.
  await enter(connect(t, gateway, as('eve')), 'room:1');
  network.heal();
  await sees(ann, 'ann', 'bob', 'eve');
  await sees(bob, 'ann', 'bob', 'eve');
  assert.deepEqual(ann.story.filter((it) => it.startsWith('bob')), ['bob came', 'bob went', 'bob came']);
});

test('a socket that says goodbye is gone at once, and one that only disconnects is not', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '30s' });
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const sockets = ['bob', 'eve'].map((user) => connect(t, gateway, as(user)));
  for (const socket of sockets) await enter(socket, 'room:1');
  await sees(ann, 'ann', 'bob', 'eve');
  const open = async () => {
    const metrics = await (await fetch(`${gateway.origin}/metrics`)).text();
    return Number(/^presence_connections_open (\d+)$/m.exec(metrics)[1]);
  };
  const before = await open();
  // A page that is left or reloaded does this.
  sockets[1].disconnect();
  await eventually('the gateway has noticed', open, before - 1);
  sockets[0].disconnect(null, 1000);
  await sees(ann, 'ann', 'eve');
});

test('everybody is back after the gateway restarts, told or killed, and nobody was gone', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const codes = [];
  const sockets = ['ann', 'bob'].map((user) => connect(t, gateway, as(user)));
  const rooms = [];
  for (const socket of sockets) rooms.push(await enter(socket, 'room:1'));
  for (const room of rooms) await sees(room, 'ann', 'bob');
  const known = rooms.map((room) => room.story.length);
  const references = rooms.map((room) => [room.metas('ann'), room.metas('bob')].flat().map((it) => it.phx_ref));
  sockets[0].onClose((event) => codes.push(event.code));
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await gateway.end(signal);
    if (signal === 'SIGTERM') await eventually('it said why', () => codes[0], 1012);
    for (const room of rooms) await eventually('it is lost', () => room.channel.state, 'errored');
    await gateway.start();
    for (const room of rooms) {
      await eventually('everybody is back', () => [room.channel.state, room.metas('ann').length, room.metas('bob').length], ['joined', 1, 1]);
    }
  }
  await enter(connect(t, gateway, as('eve')), 'room:1');
  for (const [n, room] of rooms.entries()) {
    await sees(room, 'ann', 'bob', 'eve');
    assert.deepEqual(room.story.slice(known[n]), ['eve came'], 'they never went, and nothing about them is new');
    assert.deepEqual([room.metas('ann'), room.metas('bob')].flat().map((it) => it.phx_ref), references[n]);
  }
});

test('who goes invisible has left, and is in nothing that comes after', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const ann = await enter(connect(t, gateway, as('ann')), 'room:1');
  const bobs = connect(t, gateway, as('bob'));
  const bob = await enter(bobs, 'room:1');
  const me = bobs.channel('presence:bob');
  const own = [];
  me.on('presence_state', (it) => own.push(it.status));
  me.on('status_update', (it) => own.push(it.status));
  assert.deepEqual(await answered(me.join()), ['ok', {}]);
  await sees(ann, 'ann', 'bob');

  assert.deepEqual(await answered(me.push('set_status', { status: 'invisible' })), ['ok', {}]);
  await sees(ann, 'ann');
  await eventually('bob knows that he hides', () => own, ['online', 'invisible']);
  const eve = await enter(connect(t, gateway, as('eve')), 'room:1');
  await sees(eve, 'ann', 'eve');
  assert.deepEqual(eve.story.filter((it) => it.startsWith('bob')), []);
  const [, { reason }] = await answered(bob.channel.push('typing_start', {}));
  assert.equal(reason, 'not_joined');
  const [, online] = await answered(me.push('get_online_users', {}));
  assert.deepEqual(online.users.map((it) => it.id), ['ann', 'eve']);

  assert.deepEqual(await answered(me.push('set_status', { status: 'busy', custom_message: 'Deep work', emoji: '🎯' })), ['ok', {}]);
  await sees(ann, 'ann', 'bob', 'eve');
  const { status, custom_message, emoji } = ann.presence.state.bob.user;
  assert.deepEqual([status, custom_message, emoji], ['busy', 'Deep work', '🎯']);
  assert.deepEqual(ann.story.filter((it) => it.startsWith('bob')), ['bob came', 'bob went', 'bob came']);
});

test('the service topic of a user', async (t) => {
  const gateway = await startGateway(t, { ...QUICK, TYPING_TTL: '60s' });
  const socket = connect(t, gateway);
  const me = socket.channel('presence:ann', { device_id: 'web:browser_abc', workspace_id: 'acme' });
  const told = [];
  for (const event of ['presence_state', 'presence_update', 'status_update', 'typing_update', 'channel_state']) {
    me.on(event, (it) => told.push({ event, ...it }));
  }
  const of = (event) => told.filter((it) => it.event === event);
  assert.deepEqual(await answered(me.join()), ['ok', {}]);
  await eventually('the state', () => of('presence_state').length, 1);
  const [{ devices, last_seen, session, ...state }] = of('presence_state');
  assert.match(session, /^[0-9a-f]{32}$/);
  assert.deepEqual(state, { event: 'presence_state', user_id: 'ann', status: 'online', custom_message: null, emoji: null, expires_at: null });
  assert.deepEqual(devices.map((it) => it.id), ['web:browser_abc']);
  assert.ok(Math.abs(devices[0].timestamp - Date.now() / 1_000) < 60 && Math.abs(last_seen - Date.now() / 1_000) < 60);

  assert.deepEqual(await answered(me.push('join_channel', { channel_id: 'room:1' })), ['ok', {}]);
  const bobs = connect(t, gateway, as('bob', { workspace_id: 'acme' }));
  const bob = await enter(bobs, 'room:1');
  await sees(bob, 'ann', 'bob');
  await eventually('bob came to the workspace and to the room', () => of('presence_update').filter((it) => it.user_id === 'bob').map((it) => [it.action, it.workspace_id ?? it.channel_id]).sort(), [['join', 'acme'], ['join', 'room:1']]);
  const typing = () => of('typing_update').map(({ user_id, channel_id, action }) => `${user_id} ${channel_id} ${action}`);
  await answered(bob.channel.push('typing_start', {}));
  await eventually('bob types', typing, ['bob room:1 start']);
  await answered(bob.channel.push('typing_stop', {}));
  await eventually('bob typed', typing, ['bob room:1 start', 'bob room:1 stop']);
  assert.deepEqual(await answered(me.push('typing_start', { channel_id: 'room:1' })), ['ok', {}]);
  assert.deepEqual(await answered(me.push('typing_stop', { channel_id: 'room:1' })), ['ok', {}]);

  // Statuses: own, and of whoever is watched.
  assert.deepEqual(await answered(me.push('set_status', { status: 'busy', custom_message: 'Deep work', emoji: '🎯', clear_after: 3_600 })), ['ok', {}]);
  await eventually('my own', () => of('status_update').map((it) => [it.user_id, it.status, it.custom_message]), [['ann', 'busy', 'Deep work']]);
  await eventually('bob sees it', () => bob.presence.state.ann.user.status, 'busy');
  const friend = socket.channel('user:bob');
  const looks = [];
  friend.on('status_update', (it) => looks.push(it.status));
  assert.deepEqual(await answered(friend.join()), ['ok', {}]);
  await eventually('how bob looks', () => looks, ['online']);
  const himself = bobs.channel('presence:bob');
  await answered(himself.join());
  await answered(himself.push('set_status', { status: 'away' }));
  await eventually('how bob looks now', () => looks, ['online', 'away']);

  const [, online] = await answered(me.push('get_online_users', { limit: 1, offset: 1 }));
  assert.deepEqual({ ...online, users: online.users.map((it) => it.id) }, { users: ['bob'], total: 2, limit: 1, offset: 1 });
  assert.deepEqual(await answered(me.push('leave_channel', { channel_id: 'room:1' })), ['ok', {}]);
  await sees(bob, 'bob');
  for (const [event, payload] of [['set_status', { status: 'asleep' }], ['typing_start', {}], ['join_channel', { channel_id: 'a b' }], ['dance', {}], ['get_online_users', { limit: 0 }]]) {
    const [status, { reason }] = await answered(me.push(event, payload));
    assert.deepEqual([status, reason], ['error', 'invalid'], event);
  }
});

test('a workspace is a roster of whoever is online', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const acme = await enter(connect(t, gateway, as('ann', { workspace_id: 'acme' })), 'workspace:acme');
  await sees(acme, 'ann');
  await enter(connect(t, gateway, as('bob', { workspace_id: 'acme' })), 'room:1');
  await sees(acme, 'ann', 'bob');
  const [, { users }] = await answered(acme.channel.push('get_online_users', {}));
  assert.deepEqual(users.map((it) => it.id), ['ann', 'bob']);
});

test('tokens say who one is, and topics that they do not cover are refused', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const mine = token('ann', { name: 'Ann', channels: ['room:*'], workspaces: ['acme'] });
  const byProtocol = connect(t, gateway, { authToken: mine, params: { user_id: 'mallory' } });
  const ann = await enter(byProtocol, 'room:1', { user_id: 'mallory', name: 'Mallory', meta: { name: 'Mallory' } });
  await sees(ann, 'ann');
  assert.equal(ann.presence.state.ann.user.name, 'Ann', 'nobody with a token shows a name that is not theirs');
  const byParameter = await enter(connect(t, gateway, { params: { token: token('bob') } }), 'room:1');
  for (const room of [ann, byParameter]) await sees(room, 'ann', 'bob');

  const refusals = {
    'board:1': 'unauthorized',
    'workspace:umbrella': 'unauthorized',
    'presence:bob': 'unauthorized',
    'a b': 'unmatched topic',
    'user:': 'unmatched topic',
  };
  for (const [topic, wanted] of Object.entries(refusals)) {
    const channel = byProtocol.channel(topic);
    const [status, { reason }] = await answered(channel.join());
    assert.deepEqual([status, reason], ['error', wanted], topic);
    channel.leave();
  }
  await answered(byProtocol.channel('workspace:acme').join());

  for (const params of [{}, { token: 'nonsense' }, { token: token('ann', { exp: 1 }) }]) {
    const refused = await raw(t, `ws://${gateway.address}/socket/websocket?${new URLSearchParams({ vsn: '2.0.0', ...params })}`);
    assert.equal(refused.status, 403);
  }
});

test('a token that runs out ends the connection, and a fresh one goes on', async (t) => {
  const gateway = await startGateway(t, { ...CLOSED, PRESENCE_JWT_LEEWAY: '0s' });
  const soon = () => ({ exp: Math.floor(Date.now() / 1_000) + 6 });
  const lasting = connect(t, gateway, { params: { token: token('ann', soon()) } });
  const ann = await enter(lasting, 'room:1');
  assert.deepEqual(await answered(ann.channel.push('access_token', { access_token: token('ann') })), ['ok', {}]);
  const [status] = await answered(ann.channel.push('access_token', { access_token: token('bob') }));
  assert.equal(status, 'error');
  const annCodes = [];
  lasting.onClose(({ code }) => annCodes.push(code));

  const codes = [];
  let handed = 0;
  const bobs = connect(t, gateway, { params: () => ({ token: token('bob', handed++ ? {} : soon()) }) });
  bobs.onClose(({ code }) => codes.push(code));
  const bob = await enter(bobs, 'room:1');
  await eventually('the connection ends', () => codes, [4401]);
  await eventually('the next token goes on', () => [bob.channel.state, ...bob.users()], ['joined', 'ann', 'bob']);
  assert.deepEqual(await answered(ann.channel.push('typing_stop', {})), ['ok', {}]);
  assert.deepEqual(annCodes, []);
});

test('a kick ends it, and its topics are not joined again', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const ann = await enter(connect(t, gateway, { params: { token: token('ann') } }), 'room:1');
  const bobs = connect(t, gateway, { params: { token: token('bob') } });
  const bob = await enter(bobs, 'room:1');
  await sees(ann, 'ann', 'bob');
  const codes = [];
  bobs.onClose(({ code }) => codes.push(code));
  const answer = await fetch(`${gateway.origin}/api/presence/users/bob/kick`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token('root', { scopes: ['admin'] })}` },
  });
  assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
  await eventually('he is out', () => [codes[0], bob.channel.state], [1001, 'closed']);
  await sees(ann, 'ann');
  await eventually('his token is refused from now on', () => codes.slice(1, 3), [1006, 1006]);
  assert.deepEqual([ann.users(), bobs.isConnected()], [['ann'], false]);
});

test('heartbeats are answered, and old joins of a topic are closed', async (t) => {
  const gateway = await startGateway(t, QUICK);
  // A heartbeat that is not answered before the next one ends the connection.
  const socket = connect(t, gateway, { ...as('ann'), heartbeatIntervalMs: 2_000 });
  const beats = [];
  socket.onMessage(({ topic, payload }) => topic === 'phoenix' && beats.push(payload.status));
  const first = await enter(socket, 'room:1');
  await eventually('heartbeats are answered', () => beats, (it) => it.length > 0 && it.every((status) => status === 'ok'));
  const took = await new Promise((resolve) => eventually('it is connected', () => socket.ping(resolve), true));
  assert.ok(took >= 0);
  const second = await enter(socket, 'room:1', { meta: { again: true } });
  await eventually('there is one meta', () => second.metas('ann').map((it) => it.again), [true]);
  assert.equal(first.channel.state, 'closed');
});

test('what is no message is answered, and in the end cut', async (t) => {
  const gateway = await startGateway(t, QUICK);
  const old = await raw(t, `ws://${gateway.address}/socket/websocket`);
  assert.equal(old.status, 400, 'V1');
  const ann = await raw(t, `ws://${gateway.address}/socket/websocket?vsn=2.0.0&user_id=ann`);
  const is = (ref) => (frame) => frame[1] === ref;
  ann.says(['1', '1', 'room:1', 'phx_join', {}]);
  await ann.hears('an answer', is('1'));
  for (const wrong of ['', '{}', '[]', 'null', '["1","2","room:1","x"]', '[1.5,2,"room:1","x",{}]', new Uint8Array([9]), new Uint8Array([0, 255])]) {
    ann.says(wrong);
    const [join_ref, ref, , event, { status, response }] = await ann.hears(`an answer to ${wrong}`, (it) => it[2] === 'phoenix');
    assert.deepEqual([join_ref, ref, event, status, response.reason], [null, null, 'phx_reply', 'error', 'malformed']);
  }
  ann.says([null, '7', 'phoenix', 'heartbeat', {}]);
  assert.deepEqual(await ann.hears('a heartbeat', is('7')), [null, '7', 'phoenix', 'phx_reply', { status: 'ok', response: {} }]);
  for (let n = 0; n < 50; n += 1) ann.says('nonsense');
  await ann.closes(4400);
});
