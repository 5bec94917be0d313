// npm `@anycable/core`: with the protocol of Rails, and with its own, which restores sessions and knows presence.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCable } from '@anycable/core';
import WebSocket from 'ws';

import { CLOSED, eventually, kept, native, openNetwork, raw, startCluster, startGateway, token } from './harness.mjs';

const PLAIN = 'actioncable-v1-json';
const EXTENDED = 'actioncable-v1-ext-json';

/** A page of `user`, for the length of a test. It looks for a way back soon. */
function page(t, { address }, user, options = {}) {
  const cable = createCable(`ws://${address}/cable${user ? `?user_id=${user}` : ''}`, {
    protocol: EXTENDED,
    websocketImplementation: WebSocket,
    reconnectStrategy: () => 100,
    logLevel: 'error',
    ...options,
  });
  cable.story = [];
  cable.on('connect', ({ restored }) => cable.story.push(restored ? 'restored' : 'connected'));
  cable.on('disconnect', () => cable.story.push('lost'));
  cable.on('close', (event) => cable.story.push(`closed: ${event?.reason ?? 'by the page'}`));
  t.after(() => cable.disconnect());
  return cable;
}

/** Subscribes, and waits until that is confirmed: the channel, and what it was told. */
async function enter(cable, params = { room_id: 1 }, name = 'PresenceChannel') {
  const channel = cable.subscribeTo(name, params);
  const it = { channel, messages: [], story: [], states: [] };
  channel.on('message', (message) => it.messages.push(message));
  channel.on('presence', ({ type, id }) => id && it.story.push(`${id} ${type}`));
  for (const state of ['connect', 'disconnect', 'close']) channel.on(state, () => it.states.push(state));
  it.users = () => {
    const last = it.messages.filter((message) => message.type === 'presence_update').at(-1);
    return (last?.users ?? []).map((user) => user.id).sort();
  };
  await channel.ensureSubscribed();
  return it;
}

const sees = (room, ...users) => eventually(`they see ${users}`, room.users, users);
/** Waits until those who hear of joins and leaves have heard these of the others. */
const hears = (room, user, ...story) => eventually(`${user} hears ${story}`, () => room.story.filter((it) => !it.startsWith(user)), story);
const present = async (room) => Object.keys(await room.channel.presence.info()).sort();

for (const protocol of [PLAIN, EXTENDED]) {
  test(`${protocol}: people come and go, and a native page sees them too`, async (t) => {
    const gateway = await startGateway(t);
    const eve = native(t, gateway, { userId: 'eve' }).channel('room:1');
    await eve.join();
    const ann = await enter(page(t, gateway, 'ann', { protocol }));
    const bob = await enter(page(t, gateway, 'bob', { protocol }));
    for (const room of [ann, bob]) await sees(room, 'ann', 'bob', 'eve');
    await eventually('eve sees them', () => eve.getState().users.map((user) => user.id).sort(), ['ann', 'bob', 'eve']);
    bob.channel.perform('update', { meta: { name: 'Bobby' } });
    await eventually('ann sees a change', () => ann.messages.at(-1).user?.name, 'Bobby');
    bob.channel.disconnect();
    await sees(ann, 'ann', 'eve');
    assert.equal(ann.messages.at(-1).action, 'user_left');
    if (protocol === PLAIN) assert.deepEqual(ann.story, []);
  });
}

test('presence: joins and leaves, once each, and who is there', async (t) => {
  const gateway = await startGateway(t);
  const ann = await enter(page(t, gateway, 'ann'));
  assert.deepEqual(await present(ann), ['ann']);
  const bob = await enter(page(t, gateway, 'bob'));
  await bob.channel.presence.join('bob', { name: 'Bob', role: 'pen' });
  await eventually('bob hears of it', () => bob.story.includes('bob join'), true);
  const tab = await enter(page(t, gateway, 'bob'));
  await eventually('ann has heard', () => ann.story.filter((it) => it.startsWith('bob')), ['bob join']);
  assert.deepEqual(await present(ann), ['ann', 'bob']);
  assert.deepEqual(await present(tab), ['ann', 'bob']);
  tab.channel.disconnect();
  await bob.channel.presence.leave();
  await eventually('ann hears of it', () => ann.story.at(-1), 'bob leave');
  assert.deepEqual(await present(ann), ['ann']);
  // Who is not present still looks on.
  const cat = await enter(page(t, gateway, 'cat'));
  await sees(bob, 'ann', 'cat');
  await hears(ann, 'ann', 'bob join', 'bob leave', 'cat join');
  const dan = await enter(page(t, gateway, 'dan'));
  for (const room of [cat, dan]) await sees(room, 'ann', 'cat', 'dan');
  await hears(cat, 'cat', 'dan join');
});

test('a whisper reaches the others', async (t) => {
  const gateway = await startGateway(t);
  const ann = await enter(page(t, gateway, 'ann'));
  const bob = await enter(page(t, gateway, 'bob', { protocol: PLAIN }));
  await sees(ann, 'ann', 'bob');
  await ann.channel.whisper({ event: 'typing', user: 'ann' });
  await eventually('bob hears it', () => bob.messages.at(-1), { event: 'typing', user: 'ann' });
  // What ann hears later shows that her own was not told to her.
  bob.channel.perform('update', { meta: { name: 'Bobby' } });
  await eventually('ann hears of bob', () => ann.messages.at(-1).user?.name, 'Bobby');
  assert.equal(ann.messages.some((message) => message.event === 'typing'), false);
});

test('typing, cursors and a status, as from any page', async (t) => {
  const gateway = await startGateway(t);
  const [anns, bobs] = [page(t, gateway, 'ann'), page(t, gateway, 'bob')];
  const ann = await enter(anns, { room_id: 1, events: true });
  const bob = await enter(bobs);
  bob.channel.perform('typing_start');
  await eventually('bob types', () => ann.messages.find((it) => it.type === 'typing')?.users, ['bob']);
  const documents = [await enter(anns, { document_id: 7 }, 'CursorChannel'), await enter(bobs, { document_id: 7 }, 'CursorChannel')];
  documents[1].channel.perform('move', { x: 1, y: 2 });
  await eventually('ann sees the cursor', () => documents[0].messages.at(-1)?.user_id, 'bob');
  const status = await enter(bobs, {}, 'AppearanceChannel');
  status.channel.perform('set_status', { status: 'invisible' });
  await sees(ann, 'ann');
  assert.deepEqual(await present(ann), ['ann']);
});

test('a connection that comes back in time is restored, and nobody notices', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '60s' });
  const network = await openNetwork(t, gateway);
  const bob = await enter(page(t, gateway, 'bob'));
  const anns = page(t, network, 'ann', { protocolOptions: { pongs: true } });
  const ann = await enter(anns);
  await ann.channel.presence.join('ann', { name: 'Ann' });
  await sees(bob, 'ann', 'bob');
  network.cut();
  await eventually('it is lost', () => anns.story.at(-1), 'lost');
  network.heal();
  await eventually('it is restored', () => anns.story.at(-1), 'restored');
  const cat = await enter(page(t, gateway, 'cat'));
  await sees(ann, 'ann', 'bob', 'cat');
  assert.deepEqual(ann.states.filter((it) => it !== 'connect'), [], 'its channel noticed nothing either');
  await hears(bob, 'bob', 'ann join', 'cat join');
  ann.channel.disconnect();
  await sees(cat, 'bob', 'cat');
});

for (const [what, lose] of [['cuts the connection', (network) => network.cut()], ['dies', (_, gateway) => gateway.end('SIGKILL')]]) {
  test(`where a gateway ${what}, its session goes on at another one, and nobody notices`, async (t) => {
    const gateways = await startCluster(t, 2, { PRESENCE_GRACE: '30s' });
    const network = await openNetwork(t, gateways[0]);
    const bob = await enter(page(t, gateways[1], 'bob'));
    const anns = page(t, network, 'ann');
    const rooms = [await enter(anns), await enter(anns, { room_id: 2, watch: true })];
    const [ann] = rooms;
    await ann.channel.presence.join('ann', { name: 'Ann' });
    ann.channel.perform('update', { meta: { name: 'Annie' } });
    await sees(bob, 'ann', 'bob');
    await eventually('bob knows her name', () => bob.messages.at(-1).users?.find(({ id }) => id === 'ann')?.name, 'Annie');
    await eventually('the other gateway can go on with it', () => kept(gateways.redis), (all) => all.some(({ subscriptions: [first, ...others] }) => others.length === 1 && first.meta?.includes('Annie')));
    const before = bob.messages.length;
    await lose(network, gateways[0]);
    await eventually('it is lost', () => anns.story.at(-1), 'lost');
    network.heal(gateways[1]);
    await eventually('it is restored', () => anns.story.at(-1), 'restored');
    const cat = await enter(page(t, gateways[1], 'cat'));
    for (const room of [ann, bob]) await sees(room, 'ann', 'bob', 'cat');
    for (const { states } of rooms) assert.deepEqual(states.filter((it) => it !== 'connect'), [], 'its channels noticed nothing');
    await hears(bob, 'bob', 'ann join', 'cat join');
    const since = bob.messages.slice(before).map(({ action, user }) => `${user?.id} ${action}`);
    assert.deepEqual(since.filter((it) => it.startsWith('ann') && it !== 'ann user_updated'), []);
    // The client says its presence again.
    await eventually('bob hears it', () => bob.messages.at(-1).users.find(({ id }) => id === 'ann').name, 'Ann');
    ann.channel.disconnect();
    await sees(cat, 'bob', 'cat');
  });
}

test('the first sid is good at any gateway, with what was subscribed to since', async (t) => {
  const gateways = await startCluster(t, 3, { PRESENCE_GRACE: '30s' });
  const identifiers = [{ channel: 'PresenceChannel', room_id: 1 }, { channel: 'CursorChannel', document_id: 7, watch: true }].map((it) => JSON.stringify(it));
  const at = (gateway, sid = '') => raw(t, `ws://${gateway.address}/cable?user_id=ann&sid=${encodeURIComponent(sid)}`, [EXTENDED]);
  let it = await at(gateways[0]);
  let { sid } = await it.hears('the welcome', (frame) => frame.type === 'welcome');
  for (const identifier of identifiers) {
    it.says({ command: 'subscribe', identifier });
    await it.hears('it is confirmed', (frame) => frame.type === 'confirm_subscription');
  }
  let last = -1;
  /** Waits until any gateway can go on with the connection that there is now: what is left of those before has lower epochs. */
  const isKept = async () => {
    const newest = async () => {
      const whole = (await kept(gateways.redis)).filter(({ subscriptions }) => subscriptions.length === identifiers.length);
      return Math.max(-1, ...whole.map(({ epoch }) => epoch));
    };
    last = await eventually('others can go on with it', newest, (epoch) => epoch > last);
  };
  await isKept();
  for (const n of [1, 2, 0, 1]) {
    it.socket.terminate();
    const next = await at(gateways[n], sid);
    const welcome = await next.hears('the welcome', (frame) => frame.type === 'welcome');
    assert.deepEqual([welcome.restored, welcome.restored_ids], [true, identifiers]);
    await next.hears('the roster', (frame) => frame.message?.users?.map(({ id }) => id).join() === 'ann');
    await isKept();
    [it, sid] = [next, welcome.sid];
  }
});

test('beyond the grace time it is a new session, and after a restart everybody is back', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '300ms' });
  const network = await openNetwork(t, gateway);
  const [anns, bobs] = [page(t, network, 'ann'), page(t, gateway, 'bob')];
  const [ann, bob] = [await enter(anns), await enter(bobs)];
  await sees(bob, 'ann', 'bob');
  network.cut();
  await sees(bob, 'bob');
  network.heal();
  await sees(bob, 'ann', 'bob');
  assert.equal(anns.story.at(-1), 'connected');
  // Whoever is told that the gateway restarts begins a new session; who is not goes on with the one before.
  for (const [signal, back] of [['SIGKILL', 'restored'], ['SIGTERM', 'connected']]) {
    const before = [anns, bobs].map((it) => it.story.length);
    await gateway.end(signal);
    await gateway.start();
    await eventually(`both are ${back}`, () => [anns, bobs].every((it, index) => it.story.length > before[index] && it.story.at(-1) === back), true);
    for (const room of [ann, bob]) await sees(room, 'ann', 'bob');
  }
});

test('a token in a subprotocol, and a fresh one when it runs out', async (t) => {
  const gateway = await startGateway(t, { ...CLOSED, PRESENCE_JWT_LEEWAY: '0s' });
  const bob = await enter(page(t, gateway, '', { websocketAuthStrategy: 'sub-protocol', auth: { token: token('bob') } }));
  const soon = Math.floor(Date.now() / 1_000) + 6;
  let refreshed = 0;
  const anns = page(t, gateway, '', {
    auth: { token: token('ann', { exp: soon }) },
    tokenRefresher: async (transport) => {
      refreshed += 1;
      transport.setToken(token('ann'));
    },
  });
  const ann = await enter(anns);
  await sees(bob, 'ann', 'bob');
  await eventually('the token runs out', () => anns.story.includes('closed: token_expired'), true);
  await eventually('and a fresh one is good', () => anns.story.at(-1), 'connected');
  assert.equal(refreshed, 1);
  const cat = await enter(page(t, gateway, '', { auth: { token: token('cat') } }));
  for (const room of [ann, cat]) await sees(room, 'ann', 'bob', 'cat');
  await hears(bob, 'bob', 'ann join', 'cat join');
});

test('what is not granted is rejected, and who has no token is told so', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const good = page(t, gateway, '', { auth: { token: token('ann', { channels: ['room:1'] }) } });
  await enter(good);
  await assert.rejects(enter(good, { room_id: 2 }), /rejected/i);
  await assert.rejects(enter(good, {}, 'ChatChannel'), /rejected/i);
  const bad = page(t, gateway, '');
  bad.connect().catch(() => {});
  await eventually('it is over', () => bad.story.at(-1), 'closed: unauthorized');
});

test('malformed frames are passed over, those of its own commands too, and too many end the connection', async (t) => {
  const gateway = await startGateway(t);
  const it = await raw(t, `ws://${gateway.address}/cable?user_id=ann`, [EXTENDED]);
  assert.equal(it.socket.protocol, EXTENDED);
  const identifier = JSON.stringify({ channel: 'PresenceChannel', room_id: 1 });
  it.says({ command: 'subscribe', identifier });
  await it.hears('it is confirmed', (frame) => frame.type === 'confirm_subscription');
  for (const frame of ['', '{', '[]', '{"command":"join"}', '{"command":"whisper"}', '{"command":"presence","identifier":7}',
    JSON.stringify({ command: 'join', identifier, presence: 7 }), JSON.stringify({ command: 'history', identifier, history: 'all' })]) it.says(frame);
  it.says({ command: 'presence', identifier, data: {} });
  const { message } = await it.hears('it goes on', (frame) => frame.type === 'presence' && frame.message.type === 'info');
  assert.equal(message.total, 1);
  for (let n = 0; n < 50; n += 1) it.says('{');
  const last = await it.hears('it is told', (frame) => frame.type === 'disconnect');
  assert.deepEqual(last, { type: 'disconnect', reason: 'invalid_request', reconnect: false });
  await it.closes(1008);
});
