// npm `pusher-js` and the server library `pusher`, as pages and their servers use them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Server from 'pusher';
import Pusher from 'pusher-js';

import { CLOSED, eventually, native, openNetwork, raw, startGateway, token } from './harness.mjs';

const APP = { id: '3', key: 'key-of-3', secret: '7ad3773142a6692b25b8' };
const OTHER = { id: '7', key: 'key-of-7', secret: 'f1b8d2c7a09e3b5d4c6a' };
const SETTINGS = {
  PRESENCE_GRACE: '500ms',
  PRESENCE_PUSHER_APP_ID: APP.id,
  PRESENCE_PUSHER_KEY: APP.key,
  PRESENCE_PUSHER_SECRET: APP.secret,
  PRESENCE_PUSHER_APPS: `${OTHER.id}:${OTHER.key}:${OTHER.secret}`,
};
const WS = `/app/${APP.key}?protocol=7&client=js&version=8.6.0&flash=false`;

/** The server library of an application. */
function serverOf({ address }, app = APP) {
  const [host, port] = address.split(':');
  return new Server({ appId: app.id, key: app.key, secret: app.secret, host, port, useTLS: false });
}

/** A page of the stock client, for the length of a test. Its server lets `user` into every channel. */
function page(t, gateway, user, { app = APP, info = { name: user?.toUpperCase() }, authorize, signIn } = {}) {
  const [wsHost, wsPort] = gateway.address.split(':');
  const server = serverOf(gateway, app);
  const it = { info, errors: [] };
  it.pusher = new Pusher(app.key, {
    cluster: '',
    wsHost,
    wsPort,
    forceTLS: false,
    enabledTransports: ['ws'],
    channelAuthorization: {
      customHandler({ socketId, channelName }, callback) {
        const data = channelName.startsWith('presence-') && user ? { user_id: user, user_info: it.info } : undefined;
        callback(null, (authorize ?? server.authorizeChannel.bind(server))(socketId, channelName, data));
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, callback) => callback(null, server.authenticateUser(socketId, { id: user, ...signIn })),
    },
  });
  it.pusher.connection.bind('error', (error) => it.errors.push(error.error?.data ?? error.data ?? error));
  t.after(() => it.pusher.disconnect());
  it.states = [];
  it.pusher.connection.bind('state_change', ({ current }) => it.states.push(current));
  return it;
}

/** Subscribes a page to a presence channel: what its members are, and what was told of them, in words. */
function enter(it, name = 'presence-room;1') {
  const channel = it.pusher.subscribe(name);
  const room = { channel, story: [], refused: [], succeeded: 0 };
  channel.bind('pusher:subscription_succeeded', () => { room.succeeded += 1; });
  channel.bind('pusher:subscription_error', (error) => room.refused.push(error));
  channel.bind('pusher:member_added', ({ id }) => room.story.push(`${id} came`));
  channel.bind('pusher:member_removed', ({ id }) => room.story.push(`${id} went`));
  room.users = () => Object.keys(channel.members.members).sort();
  room.info = (id) => channel.members.get(id)?.info;
  return room;
}

const sees = async (room, ...users) => {
  await eventually(`they see ${users}`, room.users, users);
  assert.equal(room.channel.members.count, users.length);
};

/** What a channel tells of an event, with who did it. */
function hears(channel, event) {
  const heard = [];
  channel.bind(event, (data, metadata) => heard.push([data, metadata?.user_id]));
  return heard;
}

const is = (what, heard, wanted) => eventually(what, () => heard, wanted);

/** Something that happens later than all before it: what should not have been heard has not. */
async function settled(server, channel) {
  const name = `settled-${Math.random()}`;
  const heard = hears(channel, name);
  await server.trigger(channel.name, name, {});
  await is('everything before has come', heard, (it) => it.length === 1);
}

/**
 * Says now and then what a browser says when its network is back, for the length of a test. Without it, the client waits 15 s
 * after an attempt that failed. It gives up an attempt that is under way: so not too often.
 */
function comesOnline(t) {
  const saying = setInterval(() => Pusher.Runtime.getNetwork().emit('online'), 3_000);
  t.after(() => clearInterval(saying));
}

/** What a request was refused with. */
async function status(request) {
  try {
    await request;
    return 200;
  } catch (error) {
    return error.status;
  }
}

const json = async (response) => (await response).json();

test('people come, change and go, each once', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const ann = page(t, gateway, 'ann', { info: { name: 'Ann', role: 'pen' } });
  const anns = enter(ann);
  await sees(anns, 'ann');
  assert.deepEqual(anns.channel.members.me, { id: 'ann', info: { name: 'Ann', role: 'pen' } });

  const bob = page(t, gateway, 'bob');
  const bobs = enter(bob);
  await sees(bobs, 'ann', 'bob');
  await sees(anns, 'ann', 'bob');
  assert.deepEqual(bobs.info('ann'), { name: 'Ann', role: 'pen' });

  // A signature with something else in it, for a channel one is on, is an update.
  const server = serverOf(gateway);
  const data = { user_id: 'ann', user_info: { name: 'Ann', role: 'brush' } };
  const signed = server.authorizeChannel(ann.pusher.connection.socket_id, 'presence-room;1', data);
  ann.pusher.send_event('pusher:subscribe', { channel: 'presence-room;1', ...signed });
  await eventually('bob sees the brush', () => bobs.info('ann')?.role, 'brush');
  await eventually('ann sees her own brush', () => anns.info('ann')?.role, 'brush');
  await sees(bobs, 'ann', 'bob');

  bob.pusher.unsubscribe('presence-room;1');
  await sees(anns, 'ann');
  ann.pusher.disconnect();
  const eve = enter(page(t, gateway, 'eve'));
  await sees(eve, 'eve');
  // An update is what pusher-js tells as somebody who comes once more.
  assert.deepEqual(anns.story, ['bob came', 'ann came', 'bob went']);
  assert.deepEqual(bobs.story, ['ann came']);
});

test('two tabs of one user are one member, until the last has gone', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const ann = enter(page(t, gateway, 'ann'));
  await sees(ann, 'ann');
  const tabs = [page(t, gateway, 'bob'), page(t, gateway, 'bob')];
  for (const tab of tabs) await sees(enter(tab), 'ann', 'bob');
  tabs[0].pusher.unsubscribe('presence-room;1');
  const news = enter(tabs[0], 'news');
  await eventually('the gateway has read that', () => news.succeeded, 1);
  await settled(serverOf(gateway), ann.channel);
  await sees(ann, 'ann', 'bob');
  tabs[1].pusher.disconnect();
  await sees(ann, 'ann');
  assert.deepEqual(ann.story, ['bob came', 'bob went']);
});

test('a Pusher page and a native page meet in one room, type, point and talk', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const bob = native(t, gateway, { userId: 'bob', name: 'Bob' });
  const room = bob.channel('room:1');
  await room.join({ meta: { role: 'pen' } });
  const ann = page(t, gateway, 'ann');
  const anns = enter(ann);
  await sees(anns, 'ann', 'bob');
  assert.deepEqual(anns.info('bob'), { name: 'Bob', role: 'pen' });
  await eventually('bob sees ann', () => room.state.users.map((it) => it.name).sort(), ['ANN', 'Bob']);

  const typing = hears(anns.channel, 'client-typing');
  const cursors = hears(anns.channel, 'client-cursor');
  const waves = hears(anns.channel, 'client-wave');
  const heard = [];
  room.on('broadcast', (it) => heard.push([it.event, it.payload, it.userId]));

  anns.channel.trigger('client-typing', { typing: true });
  await eventually('ann types', () => room.state.typing, ['ann']);
  anns.channel.trigger('client-typing', { typing: false });
  await eventually('ann has stopped', () => room.state.typing, []);
  anns.channel.trigger('client-cursor', { x: 1, y: 2 });
  await eventually('ann points', () => [...room.state.cursors.values()].map(({ userId, x, y }) => [userId, x, y]), [['ann', 1, 2]]);
  anns.channel.trigger('client-wave', { with: 'both hands' });
  await is('bob is waved at', heard, [['wave', { with: 'both hands' }, 'ann']]);

  room.typing();
  await is('bob types', typing, [[{ typing: true }, 'bob']]);
  room.cursor(3, 4);
  await eventually('bob points', () => cursors.map(([{ x, y, visible }, user]) => [x, y, visible, user]), [[3, 4, true, 'bob']]);
  room.broadcast('wave', { back: true });
  await is('ann is waved at', waves, [[{ back: true }, 'bob']]);
  assert.ok(!typing.some(([, user]) => user === 'ann') && !cursors.some(([, user]) => user === 'ann'), 'no echo');
  bob.close();
  await sees(anns, 'ann');
  assert.deepEqual(anns.story, ['bob went']);
});

test('pages of Pusher type, point and talk among themselves, in their own words', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const [ann, bob] = [enter(page(t, gateway, 'ann')), enter(page(t, gateway, 'bob'))];
  await sees(ann, 'ann', 'bob');
  await sees(bob, 'ann', 'bob');
  const heard = {};
  for (const event of ['client-typing', 'client-cursor', 'client-selection', 'client-anything']) {
    heard[event] = hears(bob.channel, event);
  }
  const echo = hears(ann.channel, 'client-anything');
  ann.channel.trigger('client-typing', { typing: true });
  await is('typing', heard['client-typing'], [[{ typing: true }, 'ann']]);
  ann.channel.trigger('client-typing', { typing: true, text: 'as their page says it' });
  await is('their own typing', heard['client-typing'], (it) => it.some(([data]) => data.text));
  ann.channel.trigger('client-cursor', { x: 5, y: 6.5, visible: false });
  await eventually('a cursor', () => heard['client-cursor'].map(([{ x, y, visible }, user]) => [x, y, visible, user]), [[5, 6.5, false, 'ann']]);
  ann.channel.trigger('client-selection', { start: 2, end: 9 });
  await eventually('a selection', () => heard['client-selection'].map(([{ start, end }, user]) => [start, end, user]), [[2, 9, 'ann']]);
  for (const data of ['text', 7, null, [1], { deep: [{ er: 'ü\u2028"' }] }]) {
    heard['client-anything'].length = 0;
    ann.channel.trigger('client-anything', data);
    await is('anything', heard['client-anything'], [[data, 'ann']]);
  }
  await settled(serverOf(gateway), ann.channel);
  assert.deepEqual(echo, []);
});

test('who loses the network and is back within the grace was never gone; later, they come again', async (t) => {
  const gateway = await startGateway(t, { ...SETTINGS, PRESENCE_GRACE: '8s' });
  const network = await openNetwork(t, gateway);
  comesOnline(t);
  // Who sees sessions sees when the lost one ends.
  const watched = native(t, gateway, { userId: 'eve' }).channel('room:1');
  await watched.watch();
  const sessions = () => watched.getState().users.find(({ id }) => id === 'bob')?.metas.map(({ session }) => session) ?? [];
  const ann = enter(page(t, gateway, 'ann'));
  await sees(ann, 'ann');
  const bob = page(t, network, 'bob');
  const bobs = enter(bob);
  await sees(ann, 'ann', 'bob');
  const [lost] = await eventually('his session', sessions, (it) => it.length === 1);
  await network.cut();
  await network.heal();
  await eventually('bob is back', () => bobs.succeeded, 2);
  await sees(bobs, 'ann', 'bob');
  await eventually('only his new session is left', sessions, (it) => it.length === 1 && it[0] !== lost);
  await settled(serverOf(gateway), ann.channel);
  assert.deepEqual(ann.story, ['bob came']);

  await network.cut();
  await sees(ann, 'ann');
  await network.heal();
  await sees(ann, 'ann', 'bob');
  assert.deepEqual(ann.story, ['bob came', 'bob went', 'bob came']);
});

test('pages come back to a gateway that restarts, and see each other again', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  comesOnline(t);
  const ann = page(t, gateway, 'ann');
  const bob = page(t, gateway, 'bob');
  const [anns, bobs] = [enter(ann), enter(bob)];
  for (const room of [anns, bobs]) await sees(room, 'ann', 'bob');
  for (const [signal, times] of [['SIGTERM', 2], ['SIGKILL', 3]]) {
    await gateway.end(signal);
    await gateway.start();
    for (const room of [anns, bobs]) {
      await eventually('again', () => room.succeeded, times);
      await sees(room, 'ann', 'bob');
    }
  }
});

test('an invisible user is nowhere, and comes when they show themselves', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const server = serverOf(gateway);
  const choose = (user, body) => fetch(`http://${gateway.address}/api/presence/users/${user}/status?user_id=${user}`, {
    method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  const watcher = page(t, gateway, 'cal', { signIn: { watchlist: ['bob'] } });
  const [online, offline] = [hears(watcher.pusher.user.watchlist, 'online'), hears(watcher.pusher.user.watchlist, 'offline')];
  watcher.pusher.signin();
  await eventually('bob is away', () => offline.map(([it]) => it.user_ids), [['bob']]);

  const ann = enter(page(t, gateway, 'ann'));
  await sees(ann, 'ann');
  assert.equal((await choose('bob', { status: 'invisible' })).status, 200);
  const bobs = page(t, gateway, 'bob');
  const bob = enter(bobs);
  await eventually('bob sees himself', bob.users, ['ann', 'bob']);
  await settled(server, ann.channel);
  assert.deepEqual([ann.users(), ann.story], [['ann'], []]);
  const users = await json(server.get({ path: '/channels/presence-room;1/users' }));
  assert.deepEqual(users, { users: [{ id: 'ann' }] });
  const one = await json(server.get({ path: '/channels/presence-room;1', params: { info: 'user_count,subscription_count' } }));
  assert.deepEqual(one, { occupied: true, user_count: 1, subscription_count: 1 });

  await choose('bob', { status: 'busy', custom_message: 'in a call' });
  await sees(ann, 'ann', 'bob');
  assert.deepEqual(ann.info('bob').presence, { status: 'busy', custom_message: 'in a call', emoji: null });
  await eventually('bob is online', () => online.map(([it]) => it.user_ids), [['bob']]);
  await choose('bob', { status: 'online' });
  await eventually('bob is plain', () => ann.info('bob'), { name: 'BOB' });
  await choose('bob', { status: 'invisible' });
  await sees(ann, 'ann');
  await settled(server, bob.channel);
  assert.deepEqual(bob.users(), ['ann', 'bob'], 'he sees himself');
  await eventually('bob is offline', () => offline.length, 2);
  // Where he is not, he says nothing.
  const waves = hears(ann.channel, 'client-wave');
  bob.channel.trigger('client-wave', {});
  const news = enter(bobs, 'news');
  await eventually('the gateway has read that', () => news.succeeded, 1);
  await settled(server, ann.channel);
  assert.deepEqual(waves, []);
});

test('where everybody needs a token, signatures of the application are enough', async (t) => {
  const gateway = await startGateway(t, { ...SETTINGS, ...CLOSED });
  const bob = native(t, gateway, { token: token('bob', { name: 'Bob' }) });
  await bob.channel('room:1').join();
  const ann = enter(page(t, gateway, 'ann'));
  await sees(ann, 'ann', 'bob');
  assert.deepEqual(ann.info('bob'), { name: 'Bob' });
  const stranger = await raw(t, `ws://${gateway.address}/ws?user_id=eve`);
  await stranger.closes(4401);
});

test('channels are refused without a signature, with a wrong one, and where there is nothing of the kind', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const server = serverOf(gateway);
  const other = serverOf(gateway, { ...APP, secret: 'not the secret of it' });
  for (const authorize of [
    () => ({ auth: '', channel_data: '{"user_id":"ann"}' }),
    (...it) => other.authorizeChannel(...it),
    (socket, channel, data) => server.authorizeChannel('1.1', channel, data),
    (socket, _, data) => server.authorizeChannel(socket, 'presence-other', data),
    (socket, channel) => ({ ...server.authorizeChannel(socket, channel, { user_id: 'ann' }), channel_data: '{"user_id":"bob"}' }),
  ]) {
    const room = enter(page(t, gateway, 'ann', { authorize }));
    await eventually('refused', () => room.refused.map(({ type, status: code }) => [type, code]), [['AuthError', 401]]);
  }
  for (const [name, user] of [['presence-room:1', 'ann'], ['presence-cache-x', 'ann'], ['presence-x', 'a b'], ['presence-y', '__proto__']]) {
    // The server library would not sign a bad name; others do.
    const sign = (socket, channel, data) => {
      const text = JSON.stringify(data);
      return { auth: `${APP.key}:${server.config.token.sign(`${socket}:${channel}:${text}`)}`, channel_data: text };
    };
    const room = enter(page(t, gateway, user, { authorize: sign }), name);
    await eventually(`${name} is refused`, () => room.refused.map((it) => [it.type, it.status]), [['Invalid', 400]]);
  }
  const big = enter(page(t, gateway, 'ann', { info: { name: 'x'.repeat(5_000) } }));
  await eventually('too large', () => big.refused.map((it) => it.status), [413]);
});

test('public and private channels carry what servers and pages say', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const server = serverOf(gateway);
  const [ann, bob] = [page(t, gateway, null), page(t, gateway, null)];
  const [anns, bobs] = [enter(ann, 'private-chat'), enter(bob, 'private-chat')];
  const news = enter(bob, 'news');
  for (const room of [anns, bobs, news]) await eventually('subscribed', () => room.succeeded, 1);
  await eventually('two are there', () => anns.channel.subscriptionCount, 2);

  const heard = hears(bobs.channel, 'client-hi');
  const echo = hears(anns.channel, 'client-hi');
  anns.channel.trigger('client-hi', { from: 'ann' });
  await is('bob hears ann', heard, [[{ from: 'ann' }, undefined]]);

  const [a, b, c] = [hears(anns.channel, 'order'), hears(bobs.channel, 'order'), hears(news.channel, 'order')];
  await server.trigger(['private-chat', 'news'], 'order', { number: 1 }, { socket_id: ann.pusher.connection.socket_id });
  await is('bob hears the server', b, [[{ number: 1 }, undefined]]);
  await is('so do the news', c, [[{ number: 1 }, undefined]]);
  await server.triggerBatch([
    { channel: 'private-chat', name: 'order', data: 'plain text' },
    { channel: 'news', name: 'order', data: [2] },
  ]);
  await is('ann hears the batch, and not what she was left out of', a, [['plain text', undefined]]);
  await is('the news, too', c, [[{ number: 1 }, undefined], [[2], undefined]]);
  assert.deepEqual(echo, []);

  // A page may not speak on a public channel, nor where it is not.
  news.channel.trigger('client-hi', {});
  bob.pusher.send_event('client-hi', {}, 'private-elsewhere');
  await eventually('refused', () => bob.errors.map((it) => it.message), [
    'client events are for private and presence channels',
    'client events need a channel that is subscribed to',
  ]);
  bob.pusher.disconnect();
  await eventually('one is left', () => anns.channel.subscriptionCount, 1);
});

test('what is encrypted end to end passes through unread', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const [host, port] = gateway.address.split(':');
  const encryptionMasterKeyBase64 = Buffer.alloc(32, 7).toString('base64');
  const server = new Server({ appId: APP.id, key: APP.key, secret: APP.secret, host, port, encryptionMasterKeyBase64 });
  const ann = page(t, gateway, null, { authorize: (socket, name) => server.authorizeChannel(socket, name) });
  const room = enter(ann, 'private-encrypted-secrets');
  await eventually('subscribed', () => room.succeeded, 1);
  const heard = hears(room.channel, 'order');
  await server.trigger('private-encrypted-secrets', 'order', { number: 1 });
  await eventually('deciphered', () => heard.map(([data]) => data), [{ number: 1 }]);
});

test('a page that says too much is told 4301 and stays', async (t) => {
  const gateway = await startGateway(t, { ...SETTINGS, PRESENCE_RATE_BROADCAST: '1/m burst 5' });
  const ann = page(t, gateway, 'ann');
  const room = enter(ann);
  await sees(room, 'ann');
  for (let n = 0; n < 10; n += 1) room.channel.trigger('client-hi', { n });
  await eventually('4301', () => ann.errors.map((it) => it.code), [4301, 4301, 4301, 4301, 4301]);
  const news = enter(ann, 'news');
  await eventually('it goes on', () => news.succeeded, 1);
  assert.deepEqual([ann.pusher.connection.state, room.succeeded], ['connected', 1]);
});

test('users sign in, are watched, are told things of their own, and are thrown out', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const server = serverOf(gateway);
  const ann = page(t, gateway, 'ann', { signIn: { watchlist: ['bob', 'eve'], user_info: { name: 'Ann' } } });
  const online = hears(ann.pusher.user.watchlist, 'online');
  const offline = hears(ann.pusher.user.watchlist, 'offline');
  const told = [];
  ann.pusher.user.bind('hello', (data) => told.push(data));
  ann.pusher.signin();
  await eventually('nobody is online', () => offline.flatMap(([it]) => it.user_ids).sort(), ['bob', 'eve']);
  const bob = page(t, gateway, 'bob');
  bob.pusher.signin();
  await is('bob is online', online, [[{ name: 'online', user_ids: ['bob'] }, undefined]]);
  await eventually('ann listens to her own', () => ann.pusher.user.serverToUserChannel?.subscribed, true);
  await server.sendToUser('ann', 'hello', { you: true });
  await is('ann is told', told, [{ you: true }]);

  // On a presence channel, who has signed in needs no data; pusher-js takes them from the sign-in.
  ann.pusher.config.channelAuthorizer = ({ socketId, channelName }, callback) => callback(null, server.authorizeChannel(socketId, channelName));
  const team = enter(ann, 'presence-lobby');
  await sees(team, 'ann');
  assert.deepEqual(team.info('ann'), { name: 'Ann' });

  // Nobody else listens to it.
  await eventually('bob listens to his own', () => bob.pusher.user.serverToUserChannel?.subscribed, true);
  const heard = [];
  bob.pusher.connection.bind('message', ({ event, channel }) => channel && heard.push([event, channel]));
  bob.pusher.send_event('pusher:subscribe', { channel: '#server-to-user-ann', auth: '' });
  await is('bob is refused', heard, [['pusher:subscription_error', '#server-to-user-ann']]);
  await server.sendToUser('ann', 'hello', { you: 2 });
  await is('ann is told again', told, [{ you: true }, { you: 2 }]);
  await server.sendToUser('bob', 'hello', {});
  await is('bob is told his own, and nothing else', heard, [['pusher:subscription_error', '#server-to-user-ann'], ['hello', '#server-to-user-bob']]);

  await server.terminateUserConnections('bob');
  await eventually('bob is out, and stays out', () => bob.pusher.connection.state, 'disconnected');
  assert.ok(bob.errors.some((it) => it.code === 4009), JSON.stringify(bob.errors));
  await eventually('bob is offline', () => offline.flatMap(([it]) => it.user_ids).filter((it) => it === 'bob').length, 2);
  await server.terminateUserConnections('nobody-at-all');
});

test('a server asks who is where, and is refused what is not right', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const server = serverOf(gateway);
  const get = (path, params = {}) => json(server.get({ path, params }));
  const ann = page(t, gateway, 'ann');
  const rooms = [enter(ann), enter(page(t, gateway, 'bob')), enter(page(t, gateway, 'bob')), enter(ann, 'news')];
  for (const room of rooms) await eventually('subscribed', () => room.succeeded, 1);
  await sees(rooms[0], 'ann', 'bob');
  assert.deepEqual(await get('/channels'), { channels: { 'presence-room;1': {}, news: {} } });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), {
    channels: { 'presence-room;1': { user_count: 2 } },
  });
  assert.deepEqual(await get('/channels/presence-room;1', { info: 'user_count,subscription_count' }), {
    occupied: true, user_count: 2, subscription_count: 3,
  });
  assert.deepEqual(await get('/channels/nobody-here'), { occupied: false });
  const { users } = await get('/channels/presence-room;1/users');
  assert.deepEqual(users.map((it) => it.id).sort(), ['ann', 'bob']);
  const { channels } = await json(server.trigger(['presence-room;1', 'news'], 'e', {}, { info: 'user_count,subscription_count' }));
  assert.deepEqual(channels, { 'presence-room;1': { user_count: 2, subscription_count: 3 }, news: { subscription_count: 1 } });

  const big = 'x'.repeat(10 * 1024);
  assert.equal(await status(server.trigger('news', 'e', big)), 200);
  assert.equal(await status(server.trigger('news', 'e', `${big}x`)), 413);
  assert.equal(await status(server.trigger('news', 'pusher:hello', {})), 400);
  assert.equal(await status(server.post({ path: '/events', body: { name: 'e', data: '{}', channels: [] } })), 400);
  const channels101 = Array.from({ length: 101 }, (_, n) => `c${n}`);
  assert.equal(await status(server.trigger(channels101.slice(1), 'e', {})), 200);
  assert.equal(await status(server.post({ path: '/events', body: { name: 'e', data: '{}', channels: channels101 } })), 400);
  const batch = Array.from({ length: 11 }, () => ({ channel: 'news', name: 'e', data: {} }));
  assert.equal(await status(server.triggerBatch(batch.slice(1))), 200);
  assert.equal(await status(server.triggerBatch(batch)), 400);
  assert.equal(await status(server.get({ path: '/channels', params: { info: 'user_count' } })), 400);
  assert.equal(await status(server.get({ path: '/channels/news', params: { info: 'user_count' } })), 400);
  assert.equal(await status(server.get({ path: '/channels/news/users' })), 400);
  assert.equal(await status(server.get({ path: '/nothing' })), 404);
  assert.equal(await status(serverOf(gateway, { ...APP, secret: 'not the secret of it' }).get({ path: '/channels' })), 401);
  assert.equal(await status(serverOf(gateway, { ...APP, key: 'other' }).get({ path: '/channels' })), 401);
  assert.equal(await status(serverOf(gateway, { ...APP, id: '4' }).get({ path: '/channels' })), 404);
});

test('applications do not see each other', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const [here, there] = [page(t, gateway, 'ann'), page(t, gateway, 'ann', { app: OTHER })];
  const [ours, theirs] = [enter(here), enter(there)];
  await sees(ours, 'ann');
  await sees(theirs, 'ann');
  const bob = enter(page(t, gateway, 'bob', { app: OTHER }));
  await sees(bob, 'ann', 'bob');
  await sees(theirs, 'ann', 'bob');
  const heard = hears(ours.channel, 'e');
  await serverOf(gateway, OTHER).trigger('presence-room;1', 'e', {});
  await settled(serverOf(gateway), ours.channel);
  assert.deepEqual([ours.users(), ours.story, heard], [['ann'], [], []]);
  assert.deepEqual(await json(serverOf(gateway, OTHER).get({ path: '/channels' })), { channels: { 'presence-room;1': {} } });
  await serverOf(gateway, OTHER).terminateUserConnections('ann');
  await eventually('theirs is out', () => there.pusher.connection.state, 'disconnected');
  // A page of one application cannot name a channel of the other.
  const spy = enter(here, 'presence-pusher=2F7=2Fpresence-room;1');
  await eventually('refused', () => spy.refused.map((it) => it.status), [400]);
  assert.deepEqual([here.pusher.connection.state, ours.succeeded], ['connected', 1], 'and ours was never out');
});

test('who asks at the wrong door is told so, and stays away', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const lost = page(t, gateway, 'ann', { app: { ...APP, key: 'no-such-key' } });
  await eventually('it stays away', () => lost.pusher.connection.state, 'disconnected');
  assert.deepEqual(lost.errors.map((it) => it.code), [4001]);
  for (const [query, code] of [['', 4008], ['?protocol=x', 4006], ['?protocol=4', 4007], ['?protocol=8', 4007]]) {
    const door = await raw(t, `ws://${gateway.address}/app/${APP.key}${query}`);
    await door.hears(`${code}`, (it) => it.event === 'pusher:error' && it.data.code === code);
    await door.closes(code);
  }
  const none = await startGateway(t);
  const door = await raw(t, `ws://${none.address}${WS}`);
  await door.closes(4001);
  for (const path of [`/app/${APP.key}`, '/apps/3/channels']) {
    assert.equal((await fetch(`http://${none.address}${path}`)).status, 404);
  }
});

test('malformed frames are answered, and too many of them end it', async (t) => {
  const gateway = await startGateway(t, SETTINGS);
  const it = await raw(t, `ws://${gateway.address}${WS}`);
  const { data } = await it.hears('a hello', ({ event }) => event === 'pusher:connection_established');
  const hello = JSON.parse(data);
  assert.match(hello.socket_id, /^\d+\.\d+$/);
  assert.equal(hello.activity_timeout, 15);
  it.says({ event: 'pusher:ping', data: {} });
  await it.hears('a pong', ({ event }) => event === 'pusher:pong');
  for (const frame of ['', '{', '[]', '7', '{}', '{"event":7}', '{"event":"pusher:subscribe"}', '{"event":"pusher:subscribe","data":{"channel":7}}',
    '{"event":"pusher:signin","data":{}}', '{"event":"pusher:nonsense"}', '{"event":"hello","channel":"x","data":{}}']) {
    it.says(frame);
    await it.hears(`an error for ${frame}`, ({ event }) => event === 'pusher:error');
  }
  for (let n = 0; n < 20; n += 1) it.says('{');
  await it.closes(4040);

  const binary = await raw(t, `ws://${gateway.address}${WS}`);
  binary.says(new Uint8Array([1, 2, 3]));
  await binary.closes(1003);
  const forger = await raw(t, `ws://${gateway.address}${WS}`);
  forger.says({ event: 'pusher:signin', data: { auth: 'x:y', user_data: '{"id":"ann"}' } });
  await forger.hears('4009', ({ event, data: said }) => event === 'pusher:error' && said.code === 4009);
  await forger.closes(4009);
});
