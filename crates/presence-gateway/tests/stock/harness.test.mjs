// The harness itself, with the native client: if this fails, no other file here means anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CLOSED, eventually, native, openNetwork, raw, startGateway, token } from './harness.mjs';

const present = (channel) => channel.getState().users.map((user) => user.id).sort();

test('a connection that is cut comes back, and so does one to a gateway that restarts', async (t) => {
  const gateway = await startGateway(t, { PRESENCE_GRACE: '200ms' });
  const network = await openNetwork(t, gateway);
  const [ann, bob] = ['ann', 'bob'].map((userId) => native(t, userId === 'ann' ? network : gateway, { userId }));
  const rooms = [ann, bob].map((it) => it.channel('room:1'));
  await Promise.all(rooms.map((room) => room.join()));
  for (const room of rooms) await eventually('both are there', () => present(room), ['ann', 'bob']);

  network.cut();
  await eventually('ann is gone', () => present(rooms[1]), ['bob']);
  network.heal();
  await eventually('ann is back', () => present(rooms[1]), ['ann', 'bob']);

  await gateway.end('SIGKILL');
  // The last picture stays while the connection is away.
  for (const room of rooms) await eventually('it is lost', () => room.state.live, false);
  await gateway.start();
  for (const room of rooms) await eventually('both are back', () => [room.state.live, present(room)], [true, ['ann', 'bob']]);
});

test('a token is good where one is needed', async (t) => {
  const gateway = await startGateway(t, CLOSED);
  const ann = native(t, gateway, { token: token('ann', { name: 'Ann' }) });
  await eventually('ann is in', () => ann.userId, 'ann');
  const nobody = await raw(t, `ws://${gateway.address}/ws`);
  await nobody.closes(4401);
  assert.equal(nobody.heard[0].code, 'unauthorized');
});
