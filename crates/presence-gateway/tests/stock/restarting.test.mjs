// A gateway that is alone restarts, told or killed: nobody who comes back is shown coming or going, in any family.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { EVERY_FAMILY, FAMILIES, comeBackToTheTabs } from './families.mjs';
import { eventually, native, raw, startGateway } from './harness.mjs';

const RESTARTS = 10;
/** How long everybody may take to be back; pages of Rails look every few seconds only. */
const BACK_MS_MAX = 5_000;
/** How long nobody is there, at most. The client of Pusher tries again after 1 s, and if it is refused then, 15 s later: in time. */
const AWAY_MS_MAX = 500;
/** For how long nobody may be there for the others to be back that soon. */
const AWAY_LONG_MS_MAX = 3_000;

const family = (name) => FAMILIES.find((it) => it.name === name);

/** What `room` was told of the others but for those who come and go meanwhile. */
const told = (room) => room.story().filter((it) => it.startsWith('user-') && it.split(' ')[0] !== room.user);

async function enter(t, gateway, names) {
  const rooms = [];
  for (const [n, name] of names.entries()) {
    const user = `user-${n}`;
    rooms.push({ family: name, user, ...(await family(name).enter(t, gateway, user)) });
    for (const room of rooms) await eventually(`${room.user} (${room.family}) sees ${user}`, () => room.users().includes(user), true);
  }
  return rooms;
}

test('ten restarts in a row are no event', { timeout: 240_000 }, async (t) => {
  const gateway = await startGateway(t, EVERY_FAMILY);
  const rooms = await enter(t, gateway, ['Phoenix', 'native', 'Pusher', 'Phoenix', 'AnyCable', 'native', 'Phoenix', 'Pusher']);
  const before = rooms.map(told);
  const backs = [];
  for (let restart = 0; restart < RESTARTS; restart += 1) {
    const signal = restart % 2 ? 'SIGKILL' : 'SIGTERM';
    const began = Date.now();
    await gateway.end(signal);
    const ending = Date.now() - began;
    assert.ok(ending < 2_000, `${signal} took ${ending} ms`);
    await pause(Math.random() * AWAY_MS_MAX);
    await gateway.start();
    const up = Date.now();
    const probe = await family('native').enter(t, gateway, `probe-${restart}`);
    const seen = (room) => eventually(`${room.user} (${room.family}) sees the probe after restart ${restart}`, () => room.users().includes(`probe-${restart}`), true);
    const [slow, quick] = [true, false].map((isSlow) => rooms.filter(({ family: name }) => (name === 'Pusher') === isSlow));
    for (const room of quick) await seen(room);
    backs.push(Date.now() - up);
    for (const room of slow) await seen(room);
    await probe.leave();
    for (const room of rooms) await eventually(`${room.user} (${room.family}) sees everybody`, room.users, rooms.map(({ user }) => user));
    await pause(Math.random() * 1_000);
  }
  t.diagnostic(`everybody but Pusher was back after ${backs.join(', ')} ms`);
  assert.ok(backs.every((it) => it < BACK_MS_MAX), `back after ${backs.join(', ')} ms`);
  // Whoever had not come back to a session that was held for them would be told of now.
  await pause(17_000);
  for (const [n, room] of rooms.entries()) assert.deepEqual(told(room).slice(before[n].length), [], `${room.user}, ${room.family}`);
});

test('away for two seconds, everybody but Pusher is back within five; Rails within its grace', { timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, EVERY_FAMILY);
  const rooms = await enter(t, gateway, ['Phoenix', 'native', 'Phoenix', 'AnyCable', 'native', 'Rails']);
  const before = rooms.map(told);
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    await gateway.end(signal);
    const down = Date.now();
    await pause(2_000);
    await gateway.start();
    const up = Date.now();
    // On a machine that is busy with other things it may take longer to start.
    const isSlow = up - down > AWAY_LONG_MS_MAX;
    const probe = await family('native').enter(t, gateway, `probe-${signal}`);
    for (const room of rooms) {
      await eventually(`${room.user} (${room.family}) sees the probe`, () => {
        if (room.family === 'Rails' && Date.now() - up > BACK_MS_MAX) comeBackToTheTabs();
        return room.users().includes(`probe-${signal}`);
      }, true);
      const back = Date.now() - up;
      assert.ok(room.family === 'Rails' || isSlow || back < BACK_MS_MAX, `${room.family} after ${back} ms`);
    }
    await probe.leave();
    for (const room of rooms) await eventually(`${room.user} (${room.family}) sees everybody`, room.users, rooms.map(({ user }) => user));
  }
  await pause(17_000);
  for (const [n, room] of rooms.entries()) assert.deepEqual(told(room).slice(before[n].length), [], `${room.user}, ${room.family}`);
});

test('killed while people come and go, it knows whoever others were told of', { timeout: 120_000 }, async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const gateway = await startGateway(t);
    const room = native(t, gateway, { userId: 'watcher' }).channel('room:1');
    const gone = new Set();
    let changes = 0;
    room.on('join', () => { changes += 1; });
    room.on('leave', ({ id }) => { gone.add(id); changes += 1; });
    await room.watch();
    const comers = Array.from({ length: 120 }, (_, n) => raw(t, `ws://${gateway.address}/ws?user_id=user-${n}`, ['presence.v1.json']).then(async (it) => {
      it.says({ type: 'presence:join', channel: 'room:1' });
      // Every third is on their way out.
      await pause(100 + Math.random() * 150);
      if (n % 3 === 0 && it.code === null) it.says({ type: 'presence:leave' });
    }).catch(() => {}));
    const enough = 10 + Math.random() * 60;
    await eventually('enough has happened', () => changes, (it) => it >= enough);
    await gateway.end('SIGKILL');
    await pause(50);
    const told = room.getState().users.map(({ id }) => id);
    await gateway.start();
    const page = await (await fetch(`${gateway.origin}/api/presence/channel/room:1/viewers?user_id=x&limit=500`)).json();
    const held = page.users.map((it) => it.id ?? it.user_id);
    assert.equal(held.length, page.total);
    t.diagnostic(`${told.length} were there, ${gone.size} had left, ${held.length} are held`);
    // Whoever has said goodbye may have left without anybody having been told.
    const stayed = told.filter((id) => Number(id.split('-')[1]) % 3 !== 0);
    assert.deepEqual(stayed.filter((id) => !held.includes(id)), []);
    assert.deepEqual(held.filter((id) => gone.has(id)), []);
    await Promise.all(comers);
    gateway.destroy();
  }
});
