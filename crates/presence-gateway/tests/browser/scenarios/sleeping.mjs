/* A laptop that sleeps: nothing of the browser runs, and its network says nothing. And a tab that the browser freezes. */

import assert from 'node:assert/strict';

import { LOST_CONNECTION } from '../stage.mjs';

/** A gateway that gives up soon. */
const IMPATIENT = { HEARTBEAT_INTERVAL: '1s', PRESENCE_TTL: '5s', PRESENCE_GRACE: '1s' };
/** When everybody has been told that a silent client is gone, with time for a busy machine. */
const GONE_MS_MAX = 30_000;

const moves = (lines) => lines.filter((line) => /^(join|leave)/.test(line));

/** Everything is as if nobody had slept: two people in the room, each once. */
async function isRight(ann, bob) {
  await ann.arrived(2);
  await bob.reads('count', '2');
  assert.equal(await bob.look('person-ann person-tabs'), null, 'Ann is there once');
  assert.equal(await ann.look('person-bob person-tabs'), null);
  await ann.until('one device, once', () => [...document.querySelectorAll('[data-testid^=device-]')].map(({ dataset }) => dataset.sessions).join(), '1');
  // What is said goes both ways.
  await ann.says('awake');
  await bob.until('he reads it', () => [...document.querySelectorAll('[data-testid=message]')].at(-1)?.textContent.includes('awake'), true);
  await bob.says('good morning');
  await ann.until('she reads it', () => [...document.querySelectorAll('[data-testid=message]')].at(-1)?.textContent.includes('good morning'), true);
}

export const stories = {
  async 'a laptop that sleeps is gone after the grace, and is there once when it wakes, in the room as it is now'(stage) {
    await stage.gateway(IMPATIENT);
    stage.tolerate(LOST_CONNECTION);
    const laptop = await stage.laptop();
    const ann = await stage.enter('ann', { context: laptop.context });
    const bob = await stage.enter('bob');
    const eve = await stage.enter('eve');
    await ann.arrived(3);
    await bob.reads('count', '3');
    await ann.says('good night');
    await bob.listens();

    laptop.sleep();
    await bob.lacks('person-ann', GONE_MS_MAX);
    await bob.reads('count', '2');
    await eve.page.close();
    await bob.lacks('person-eve', GONE_MS_MAX);
    await bob.caughtUp();
    assert.deepEqual(moves(await bob.heard()), ['leave ann timed_out', 'leave eve lost']);

    laptop.wake();
    await isRight(ann, bob);
    await ann.lacks('person-eve');
    await bob.caughtUp();
    assert.deepEqual(moves(await bob.heard()), ['leave ann timed_out', 'leave eve lost', 'join ann']);
  },

  async 'a nap that is shorter than the time to live is no event'(stage) {
    await stage.gateway({ ...IMPATIENT, PRESENCE_TTL: '60s', PRESENCE_GRACE: '60s' });
    stage.tolerate(LOST_CONNECTION);
    const laptop = await stage.laptop();
    const [ann, bob] = [await stage.enter('ann', { context: laptop.context }), await stage.enter('bob')];
    await ann.arrived(2);
    await bob.reads('count', '2');
    const session = await ann.session();
    await bob.listens();
    laptop.sleep();
    await bob.page.evaluate(() => new Promise((resolve) => {
      setTimeout(resolve, 4_000); // several heartbeats
    }));
    laptop.wake();
    await isRight(ann, bob);
    assert.equal(await ann.session(), session);
    assert.deepEqual(moves(await bob.heard()), []);
  },

  async 'a tab that is frozen for longer than the time to live is there once when it thaws'(stage) {
    await stage.gateway(IMPATIENT);
    stage.tolerate(LOST_CONNECTION);
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.arrived(2);
    await bob.reads('count', '2');
    await bob.listens();
    const tools = await ann.context.newCDPSession(ann.page);
    await tools.send('Page.setWebLifecycleState', { state: 'frozen' });
    // Its timers stand still, so the heartbeats stop; a frozen tab of a browser that runs may still be answering pings.
    const wasGone = await bob.lacks('person-ann', 12_000).then(() => true, () => false);
    await tools.send('Page.setWebLifecycleState', { state: 'active' });
    await isRight(ann, bob);
    await bob.caughtUp();
    assert.deepEqual(moves(await bob.heard()), wasGone ? ['leave ann timed_out', 'join ann'] : []);
  },
};
