// One room, five families, three gateways on one Redis: wherever they come in, people see each other as on one.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EVERY_FAMILY, FAMILIES, applicationAt, comeBackToTheTabs, phoenixPage, pusherPage } from './families.mjs';
import { eventually, openNetwork, startCluster } from './harness.mjs';

/** Waits until everybody in `rooms` sees the same people. */
async function see(rooms, users) {
  for (const room of rooms) await eventually(`${room.label} sees them`, room.users, [...users].sort());
}

const usersOf = (rooms) => rooms.map((it) => it.user);

/** What was told of `user`. */
const told = (room, user) => room.story().filter((it) => it.split(' ')[0] === user);

/** A page of each family, each at another gateway than the one before; each waits until it is seen by all. */
async function enter(t, gateways) {
  const rooms = [];
  for (const [n, family] of FAMILIES.entries()) {
    const at = n % gateways.length;
    const user = family.name;
    rooms.push({ user, label: `${user} at ${at}`, ...(await family.enter(t, gateways[at], user)) });
    await see(rooms, usersOf(rooms));
  }
  return rooms;
}

test('at whichever gateway they are, they come and go once, type and change', async (t) => {
  const gateways = await startCluster(t, 3, { ...EVERY_FAMILY, TYPING_TTL: '60s' });
  const rooms = await enter(t, gateways);
  for (const room of rooms) {
    await room.type();
    for (const other of rooms.filter((it) => it !== room)) {
      await eventually(`${other.label} sees ${room.user} type`, other.typists, (it) => it.includes(room.user));
    }
  }
  const names = Object.fromEntries(rooms.map(({ user }) => [user, user]));
  for (const room of rooms) {
    names[room.user] = `${room.user} was here`;
    await room.rename(names[room.user]);
    for (const other of rooms.filter((it) => it !== room)) await eventually(`${other.label} sees ${room.user} renamed`, other.names, names);
  }
  for (const [n, gone] of rooms.entries()) {
    await gone.leave();
    await see(rooms.slice(n + 1), usersOf(rooms.slice(n + 1)));
  }
  for (const [n, room] of rooms.entries()) {
    for (const { user } of rooms.slice(n + 1)) {
      // pusher-js has one word for who comes and who changes.
      const change = room.user === 'Pusher' ? [`${user} came`] : [];
      assert.deepEqual(told(room, user), [`${user} came`, ...change], room.label);
    }
    for (const { user } of rooms.slice(0, n)) {
      assert.deepEqual(told(room, user).filter((it) => it.endsWith('went')), [`${user} went`], room.label);
      assert.equal(told(room, user).at(-1), `${user} went`, room.label);
    }
  }
});

test('who goes invisible at one gateway is absent at all, in every family', async (t) => {
  const gateways = await startCluster(t, 3, EVERY_FAMILY);
  const rooms = await enter(t, gateways);
  for (const hidden of rooms) {
    const others = rooms.filter((it) => it !== hidden);
    await hidden.hide();
    await see(others, usersOf(others));
    // Nor in what a new one is told, at whichever gateway.
    for (const [at, gateway] of gateways.entries()) {
      const family = FAMILIES[(rooms.indexOf(hidden) + at + 1) % FAMILIES.length];
      const user = `late-${hidden.user}-${at}`;
      const late = { user, label: `${user}, ${family.name} at ${at}`, ...(await family.enter(t, gateway, user)) };
      await see([late, ...others], [...usersOf(others), user]);
      assert.deepEqual(told(late, hidden.user), [], late.label);
      await late.leave();
      await see(others, usersOf(others));
    }
    await hidden.show();
    await see(rooms, usersOf(rooms));
    for (const it of others) {
      assert.deepEqual(told(it, hidden.user).slice(-2), [`${hidden.user} went`, `${hidden.user} came`], it.label);
    }
  }
});

test('who loses one gateway and comes back at another within the grace time was never gone', async (t) => {
  const gateways = await startCluster(t, 3, { ...EVERY_FAMILY, PRESENCE_GRACE: '60s' });
  const near = await enter(t, gateways);
  const network = await openNetwork(t, gateways[0]);
  const far = [];
  for (const family of FAMILIES) {
    const user = `far-${family.name}`;
    far.push({ user, label: user, ...(await family.enter(t, network, user)) });
  }
  await see([...near, ...far], usersOf([...near, ...far]));
  network.cut();
  // Whoever sees somebody who comes meanwhile is connected again.
  const eve = { user: 'eve', label: 'eve', ...(await FAMILIES[0].enter(t, gateways[2], 'eve')) };
  await see([eve, ...near], usersOf([eve, ...near, ...far]));
  network.heal(gateways[1]);
  const poking = setInterval(comeBackToTheTabs, 2_000);
  t.after(() => clearInterval(poking));
  await see([eve, ...near, ...far], usersOf([eve, ...near, ...far]));
  // Whoever comes last is told of after everything that those who came back did.
  const last = { user: 'last', label: 'last', ...(await FAMILIES[0].enter(t, gateways[1], 'last')) };
  await see([last, eve, ...near, ...far], usersOf([last, eve, ...near, ...far]));
  for (const room of near) {
    for (const { user } of far) assert.deepEqual(told(room, user), [`${user} came`], room.label);
  }
});

test('what a server asks and says of one gateway is of all', async (t) => {
  const gateways = await startCluster(t, 3, EVERY_FAMILY);
  const ann = await pusherPage.enter(t, gateways[0], 'ann');
  const bob = await phoenixPage.enter(t, gateways[1], 'bob');
  const server = applicationAt(gateways[2]);
  const get = async (path, params = {}) => (await server.get({ path, params })).json();
  await see([{ label: 'ann', ...ann }, { label: 'bob', ...bob }], ['ann', 'bob']);
  const users = async () => (await get('/channels/presence-room;1/users')).users.map(({ id }) => id).sort();
  await eventually('the third gateway knows them', users, ['ann', 'bob']);
  assert.equal((await get('/channels/presence-room;1', { info: 'user_count' })).user_count, 2);

  await bob.tell('wave');
  await eventually('ann is waved at', ann.heard, ['client-wave']);
  await server.trigger('presence-room;1', 'order', {});
  await eventually('ann hears the server', ann.heard, ['client-wave', 'order']);

  await server.terminateUserConnections('ann');
  await eventually('ann is out', ann.state, 'disconnected');
  await see([{ label: 'bob', ...bob }], ['bob']);
});
