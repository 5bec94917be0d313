// One room, four families, eight clients: each sees the same people, and each of them come and go once.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EIGHT_PAGES, EVERY_FAMILY, FAMILIES, comeBackToTheTabs } from './families.mjs';
import { eventually, openNetwork, startGateway } from './harness.mjs';

/** The client of Rails gives up a connection that is not there yet when somebody comes back to its tab: so not too often. */
const COME_BACK_EVERY_MS = 2_000;

/** Waits until everybody in `rooms` sees the same people. */
async function see(rooms, users) {
  for (const room of rooms) await eventually(`${room.user} (${room.family}) sees them`, room.users, [...users].sort());
}

/** Enters with one page after the other; each waits until it is seen by all. */
async function enter(t, at, families) {
  const rooms = [];
  for (const [n, family] of families.entries()) {
    const user = `user-${n}`;
    rooms.push({ family: family.name, user, ...(await family.enter(t, at, user)) });
    await see(rooms, rooms.map((it) => it.user));
  }
  return rooms;
}

/** What was told of `user`. */
const told = (room, user) => room.story().filter((it) => it.split(' ')[0] === user);

test('each sees the same users, and their joins and leaves once each', async (t) => {
  const gateway = await startGateway(t, EVERY_FAMILY);
  const rooms = await enter(t, gateway, EIGHT_PAGES);
  for (const [n, gone] of rooms.entries()) {
    await gone.leave();
    await see(rooms.slice(n + 1), rooms.slice(n + 1).map((it) => it.user));
  }
  for (const [n, room] of rooms.entries()) {
    const label = `${room.user}, ${room.family}`;
    for (const { user } of rooms.slice(n + 1)) assert.deepEqual(told(room, user), [`${user} came`], label);
    // Those who were there first may be told of as having come, too.
    for (const { user } of rooms.slice(0, n)) assert.deepEqual(told(room, user).slice(-1), [`${user} went`], label);
    for (const { user } of rooms.slice(0, n)) assert.equal(told(room, user).filter((it) => it.endsWith('went')).length, 1, label);
  }
});

test('a user who is there through several families is one, and leaves with the last', async (t) => {
  const gateway = await startGateway(t, EVERY_FAMILY);
  const watchers = await enter(t, gateway, FAMILIES);
  const names = watchers.map((it) => it.user);
  const pages = [];
  for (const family of FAMILIES) {
    pages.push(await family.enter(t, gateway, 'ann'));
    await see(watchers, [...names, 'ann']);
  }
  for (const page of pages) {
    await see(watchers, [...names, 'ann']);
    await page.leave();
  }
  await see(watchers, names);
  for (const room of watchers) assert.deepEqual(told(room, 'ann'), ['ann came', 'ann went'], room.family);
});

test('who goes invisible is absent from every family, through whichever they say it', async (t) => {
  const gateway = await startGateway(t, EVERY_FAMILY);
  const rooms = await enter(t, gateway, FAMILIES);
  const users = rooms.map((it) => it.user);
  for (const hidden of rooms) {
    const others = rooms.filter((it) => it !== hidden);
    const seen = users.filter((it) => it !== hidden.user);
    await hidden.hide();
    await see(others, seen);
    // Nor in what a new one is told.
    const late = FAMILIES[(rooms.indexOf(hidden) + 1) % FAMILIES.length];
    const room = { family: late.name, user: `late-${hidden.user}`, ...(await late.enter(t, gateway, `late-${hidden.user}`)) };
    await see([room, ...others], [...seen, room.user]);
    assert.deepEqual(told(room, hidden.user), [], `${room.family} of ${hidden.family}`);
    await room.leave();
    await see(others, seen);
    await hidden.show();
    await see(rooms, users);
    for (const it of others) {
      assert.deepEqual(told(it, hidden.user).slice(-2), [`${hidden.user} went`, `${hidden.user} came`], `${it.family} of ${hidden.family}`);
    }
  }
});

test('who is lost for too long has left everywhere, once, and comes back once', async (t) => {
  const gateway = await startGateway(t, { ...EVERY_FAMILY, PRESENCE_GRACE: '300ms' });
  const near = await enter(t, gateway, FAMILIES);
  const network = await openNetwork(t, gateway);
  const far = [];
  for (const family of FAMILIES) {
    const user = `far-${family.name}`;
    far.push({ family: family.name, user, ...(await family.enter(t, network, user)) });
  }
  const [close, all] = [near.map((it) => it.user), [...near, ...far].map((it) => it.user)];
  await see([...near, ...far], all);
  network.cut();
  await see(near, close);
  network.heal();
  const poking = setInterval(comeBackToTheTabs, COME_BACK_EVERY_MS);
  t.after(() => clearInterval(poking));
  await see([...near, ...far], all);
  for (const room of near) {
    for (const { user } of far) assert.deepEqual(told(room, user), [`${user} came`, `${user} went`, `${user} came`], room.family);
  }
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`everybody meets again after the gateway was ended by ${signal}`, async (t) => {
    const gateway = await startGateway(t, { ...EVERY_FAMILY, PRESENCE_DRAIN: '1s' });
    const rooms = await enter(t, gateway, EIGHT_PAGES);
    const poking = setInterval(comeBackToTheTabs, COME_BACK_EVERY_MS);
    t.after(() => clearInterval(poking));
    await gateway.end(signal);
    await gateway.start();
    // Somebody who was not there before: whoever sees them is connected again.
    await FAMILIES[0].enter(t, gateway, 'eve');
    await see(rooms, ['eve', ...rooms.map((it) => it.user)]);
  });
}
