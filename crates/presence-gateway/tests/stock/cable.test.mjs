// npm `@rails/actioncable`: its consumer and subscriptions, as the pages of Rails use them.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import ActionCable from '@rails/actioncable';
import WebSocket from 'ws';

import { CLOSED, eventually, native, openNetwork, raw, startGateway, token } from './harness.mjs';

// What a browser has and the client asks for. Coming back to a tab is how it looks at its connection at once.
const visits = new Set();
globalThis.addEventListener = (name, listener) => name === 'visibilitychange' && visits.add(listener);
globalThis.removeEventListener = (name, listener) => visits.delete(listener);
globalThis.document = { visibilityState: 'visible' };
ActionCable.adapters.WebSocket = WebSocket;
ActionCable.adapters.logger = { log() {} };

const comeBackToTheTab = () => visits.forEach((listener) => listener());

const ROOM = { channel: 'PresenceChannel', room_id: 42 };
const DOCUMENT = { channel: 'CursorChannel', document_id: 7 };
const PAGE = { channel: 'PagePresenceChannel', path: '/pages/1' };
const STATUS = { channel: 'AppearanceChannel' };

const consumers = [];
// One that is told to disconnect while it waits to open again opens again.
after(async () => {
  await pause(ActionCable.Connection.reopenDelay + 100);
  for (const consumer of consumers) consumer.disconnect();
});

/** A page of `user`, for the length of a test. */
function page(t, { address }, user, query = `user_id=${user}&name=${user.toUpperCase()}`) {
  const consumer = ActionCable.createConsumer(`ws://${address}/cable?${query}`);
  consumers.push(consumer);
  t.after(() => consumer.disconnect());
  consumer.asked = [];
  const send = consumer.send.bind(consumer);
  consumer.send = (command) => {
    const isSent = send(command);
    if (isSent && command.command === 'subscribe') consumer.asked.push(command.identifier);
    return isSent;
  };
  return consumer;
}

/** Subscribes: the subscription, everything it received, and how often it was told what. */
function subscribe(consumer, params) {
  const it = { received: [], connected: 0, disconnected: 0, rejected: 0 };
  const asks = () => consumer.asked.filter((identifier) => identifier === JSON.stringify(params)).length;
  const before = asks();
  /** How often the client asked for it since: again every half second, until it is answered. */
  it.asked = () => asks() - before;
  it.subscription = consumer.subscriptions.create(params, {
    connected: () => { it.connected += 1; },
    disconnected: () => { it.disconnected += 1; },
    rejected: () => { it.rejected += 1; },
    received: (data) => it.received.push(data),
  });
  it.performs = (action, data) => it.subscription.perform(action, data);
  it.last = (type) => it.received.filter((data) => data.type === type).at(-1);
  /** What the reader of lists shows. */
  it.users = () => (it.last('presence_update')?.users ?? []).map((user) => user.id).sort();
  /** What the reader of changes was told. */
  it.changes = () => it.received.filter((data) => data.action).map((data) => `${data.user.id} ${data.action.replace('user_', '')}`);
  return it;
}

/** Waits until each time that the client asked is answered: on a busy machine it asks more than once. */
const confirmed = (it) => eventually('it is confirmed, as often as it was asked', () => [it.asked() > 0, it.connected - it.asked()], [true, 0]);
const enter = async (consumer, params = ROOM) => {
  const it = subscribe(consumer, params);
  await confirmed(it);
  return it;
};
/** Does what breaks the connections of `rooms`, and waits until they are back. What they hear from then on is all they have. */
const lost = async (rooms, lose, mend) => {
  const before = rooms.map((it) => it.disconnected);
  await lose();
  await eventually('they are disconnected', () => rooms.every((it, index) => it.disconnected > before[index]), true);
  const connected = rooms.map((it) => it.connected);
  for (const it of rooms) it.received.length = 0;
  await mend();
  comeBackToTheTab();
  await eventually('they are back', () => rooms.every((it, index) => it.connected > connected[index]), true);
};
const sees = (room, ...users) => eventually(`they see ${users}`, room.users, users);

test('people come, change and go: both readers are told each once', async (t) => {
  const gateway = await startGateway(t);
  const ann = await enter(page(t, gateway, 'ann'));
  await sees(ann, 'ann');
  const bob = await enter(page(t, gateway, 'bob'));
  await sees(ann, 'ann', 'bob');
  await sees(bob, 'ann', 'bob');
  bob.performs('heartbeat');
  bob.performs('update', { meta: { name: 'Bobby', avatar: 'https://example.org/b.png' } });
  await eventually('ann sees the change', () => ann.last('presence_update').users.find((it) => it.id === 'bob').name, 'Bobby');
  const message = ann.last('presence_update');
  assert.equal(message.count, 2);
  assert.equal(message.member_count, 2);
  assert.deepEqual(message.member_ids, ['ann', 'bob']);
  assert.equal(message.user.avatar, 'https://example.org/b.png');
  assert.equal(message.user.avatar_url, 'https://example.org/b.png');
  bob.subscription.unsubscribe();
  await sees(ann, 'ann');
  assert.deepEqual(ann.changes(), ['ann joined', 'bob joined', 'bob updated', 'bob left']);
  assert.equal(bob.changes()[0], 'bob joined');
});

test('two tabs are one person, who leaves with the last', async (t) => {
  const gateway = await startGateway(t);
  const eve = await enter(page(t, gateway, 'eve'));
  const tabs = [await enter(page(t, gateway, 'ann')), await enter(page(t, gateway, 'ann'))];
  for (const it of [eve, ...tabs]) await sees(it, 'ann', 'eve');
  tabs[0].subscription.unsubscribe();
  const bob = await enter(page(t, gateway, 'bob'));
  await sees(bob, 'ann', 'bob', 'eve');
  tabs[1].subscription.unsubscribe();
  await sees(eve, 'bob', 'eve');
  assert.deepEqual(eve.changes(), ['eve joined', 'ann joined', 'bob joined', 'ann left']);
});

test('two subscriptions of one name, and a name taken up again at once', async (t) => {
  const gateway = await startGateway(t);
  const consumer = page(t, gateway, 'ann');
  const one = await enter(consumer);
  const two = await enter(consumer);
  two.subscription.unsubscribe();
  one.subscription.unsubscribe();
  // Each time it asks is answered: the first one, too.
  const three = await enter(consumer);
  await sees(three, 'ann');
});

test('typing is told to who wants to hear it', async (t) => {
  const gateway = await startGateway(t, { TYPING_TTL: '1s' });
  const ann = await enter(page(t, gateway, 'ann'), { ...ROOM, events: true });
  const bob = await enter(page(t, gateway, 'bob'));
  const watcher = native(t, gateway, { userId: 'eve' }).channel('room:42');
  await watcher.join();
  await sees(ann, 'ann', 'bob', 'eve');
  const told = [];
  watcher.on('typing', ({ users }) => told.push(users));
  bob.performs('typing_start');
  await eventually('bob types, and that ends by itself', () => ann.received.filter((it) => it.type === 'typing').map((it) => [it.users, it.stopped]), [
    [['bob'], []],
    [[], ['bob']],
  ]);
  await eventually('natively, too', () => told, [['bob'], []]);
  // What bob hears later shows that he was not told before.
  ann.performs('update', { meta: { name: 'Annie' } });
  await eventually('bob hears of ann', () => bob.last('presence_update')?.users.find((it) => it.id === 'ann')?.name, 'Annie');
  assert.equal(bob.last('typing'), undefined);
});

test('cursors and selections reach the others, natively too', async (t) => {
  const gateway = await startGateway(t);
  const ann = await enter(page(t, gateway, 'ann'), DOCUMENT);
  const bob = await enter(page(t, gateway, 'bob'), DOCUMENT);
  ann.performs('move', { x: 0.25, y: 0.5 });
  await eventually('bob sees it', () => bob.last('cursor_move')?.x, 0.25);
  const { type, user_id, user_name, user_color, x, y } = bob.last('cursor_move');
  assert.deepEqual([type, user_id, user_name, x, y], ['cursor_move', 'ann', 'ANN', 0.25, 0.5]);
  assert.match(user_color, /^#[0-9a-f]{6}$/);
  ann.performs('selection', { start: 3, end: 5 });
  await eventually('and what is selected', () => [bob.last('selection')?.start, bob.last('selection')?.end], [3, 5]);
  const late = await enter(page(t, gateway, 'cat'), DOCUMENT);
  await eventually('who comes late, too', () => late.last('cursor_move')?.user_name, 'ANN');
  // The first that ann hears of is bob's: her own were not told to her.
  bob.performs('move', { x: 0.75, y: 0.5 });
  await eventually('ann sees bob', () => ann.received.filter((it) => it.user_id).map((it) => [it.type, it.user_id, it.x]), [['cursor_move', 'bob', 0.75]]);
});

test('a page counts people', async (t) => {
  const gateway = await startGateway(t);
  const pages = [];
  for (const user of ['ann', 'ann', 'bob']) pages.push(await enter(page(t, gateway, user), PAGE));
  for (const it of pages) await eventually('two view it', () => it.last('viewer_count')?.count, 2);
  pages[2].subscription.unsubscribe();
  for (const it of pages.slice(0, 2)) await eventually('one views it', () => it.last('viewer_count')?.count, 1);
});

test('a status is set and seen, and who is invisible is nowhere', async (t) => {
  const gateway = await startGateway(t);
  const eve = page(t, gateway, 'eve');
  const [rooms, pages] = [await enter(eve), await enter(eve, PAGE)];
  const statuses = await enter(eve, { channel: 'StatusChannel', user_ids: ['ann'] });
  const anns = page(t, gateway, 'ann');
  const [room, own] = [await enter(anns), await enter(anns, STATUS)];
  await enter(anns, PAGE);
  await sees(rooms, 'ann', 'eve');
  await eventually('ann is counted', () => pages.last('viewer_count')?.count, 2);
  own.performs('set_status', { status: 'busy', custom_message: 'Deep work', emoji: '🎯', clear_after: 60 });
  await eventually('eve sees it', () => statuses.last('status_update')?.status, 'busy');
  assert.equal(statuses.last('status_update').custom_message, 'Deep work');
  await eventually('so do those in the room', () => rooms.last('presence_update').users.find((it) => it.id === 'ann')?.status, 'busy');
  own.performs('set_status', { status: 'invisible' });
  await eventually('ann sees the truth', () => own.last('own_status')?.status, 'invisible');
  await sees(rooms, 'eve');
  await sees(room, 'eve');
  await eventually('ann is not counted', () => pages.last('viewer_count').count, 1);
  await eventually('ann looks offline', () => statuses.last('status_update').status, 'offline');
  const bob = await enter(page(t, gateway, 'bob'));
  for (const it of [bob, rooms]) await sees(it, 'bob', 'eve');
  assert.deepEqual(rooms.changes().slice(-2), ['ann left', 'bob joined']);
});

test('who comes back within the grace time never left, and who does not is gone', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '8s' });
  const network = await openNetwork(t, gateway);
  const bob = await enter(page(t, gateway, 'bob'));
  const ann = await enter(page(t, network, 'ann'));
  await sees(bob, 'ann', 'bob');
  await lost([ann], () => network.cut(), () => network.heal());
  await sees(ann, 'ann', 'bob');
  const cat = await enter(page(t, gateway, 'cat'));
  for (const it of [bob, cat]) await sees(it, 'ann', 'bob', 'cat');
  network.cut();
  for (const it of [bob, cat]) await sees(it, 'bob', 'cat');
  assert.deepEqual(bob.changes(), ['bob joined', 'ann joined', 'cat joined', 'ann left']);
  assert.equal(cat.changes().at(-1), 'ann left');
});

test('a gateway that restarts gets everybody back', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_DRAIN: '100ms' });
  const rooms = [await enter(page(t, gateway, 'ann')), await enter(page(t, gateway, 'bob'))];
  for (const room of rooms) await sees(room, 'ann', 'bob');
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await lost(rooms, () => gateway.end(signal), () => gateway.start());
    for (const room of rooms) await sees(room, 'ann', 'bob');
  }
});

test('what is not granted is rejected, once', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const consumer = page(t, gateway, 'ann', `token=${token('ann', { name: 'Ann', channels: ['room:42'] })}`);
  const good = await enter(consumer);
  await eventually('with the name in the token', () => good.last('presence_update')?.users[0]?.name, 'Ann');
  for (const params of [{ channel: 'ChatChannel', room_id: 42 }, { ...ROOM, room_id: 43 }, DOCUMENT, { channel: 'PresenceChannel' }]) {
    const bad = subscribe(consumer, params);
    await eventually(`${JSON.stringify(params)} is rejected`, () => bad.rejected, 1);
    assert.equal(bad.connected, 0);
  }
});

test('who has no good token is told so, and stops', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const consumer = page(t, gateway, 'ann', 'token=nonsense');
  const room = subscribe(consumer, ROOM);
  await eventually('it is over', () => consumer.connection.disconnected && !consumer.connection.monitor.isRunning(), true);
  assert.equal(room.connected, 0);
});

test('malformed frames are passed over, and too many end the connection', async (t) => {
  const gateway = await startGateway(t);
  const it = await raw(t, `ws://${gateway.address}/cable?user_id=ann`, ['actioncable-v1-json', 'actioncable-unsupported']);
  assert.equal(it.socket.protocol, 'actioncable-v1-json');
  for (const frame of ['', '{', '[]', '{"command":"subscribe"}', '{"command":7,"identifier":"x"}']) it.says(frame);
  it.says({ command: 'subscribe', identifier: JSON.stringify(ROOM) });
  await it.hears('it is confirmed', (frame) => frame.type === 'confirm_subscription');
  for (let n = 0; n < 50; n += 1) it.says('{');
  const last = await it.hears('it is told', (frame) => frame.type === 'disconnect');
  assert.deepEqual(last, { type: 'disconnect', reason: 'invalid_request', reconnect: false });
  await it.closes(1008);
});
