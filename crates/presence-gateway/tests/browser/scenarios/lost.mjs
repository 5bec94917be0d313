/* Connections break; people do not come and go for that. */

import assert from 'node:assert/strict';

import { LOST_CONNECTION } from '../stage.mjs';

const people = () => [...document.querySelectorAll('#roster > li')].map((row) => row.dataset.testid);

export const stories = {
  async 'a network that falls silent is noticed and mended, and for others nothing has happened'(stage) {
    stage.tolerate(LOST_CONNECTION);
    await stage.gateway({ PRESENCE_GRACE: '60s' });
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const session = await bob.session();
    await ann.listens();
    await bob.listens();

    await bob.context.setOffline(true);
    // Nobody closes a dead connection: that it is dead shows in a heartbeat without an answer.
    await bob.marks('connection', 'state', 'reconnecting', 40_000);
    await bob.until('the notice is there', () => !document.getElementById('notice').hidden);
    assert.deepEqual(await bob.page.evaluate(people), ['person-bob', 'person-ann'], 'the last known picture stays');

    await bob.context.setOffline(false);
    await bob.arrived(2);
    await bob.until('the notice is gone', () => document.getElementById('notice').hidden);
    assert.equal(await bob.session(), session);
    await bob.caughtUp();
    assert.deepEqual(await bob.page.evaluate(people), ['person-bob', 'person-ann']);
    assert.deepEqual(await bob.heard(), [], 'and for Bob neither');
    await ann.heardNothing();
  },

  async 'a gateway that is away is said to be, its return is found, and nobody is there twice'(stage) {
    stage.tolerate(LOST_CONNECTION);
    const gateway = await stage.gateway();
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    const eve = await stage.enter('eve');
    for (const who of [ann, bob, eve]) await who.reads('count', '3');
    await ann.listens();

    await gateway.end('SIGKILL');
    await eve.page.close(); // while nobody can know
    await ann.marks('connection', 'state', 'reconnecting');
    await ann.until('it says when it tries again', () => document.getElementById('connection-text').textContent, (text) => /^Reconnecting in \d+ s$/.test(text), 30_000);
    await ann.until('the notice is there', () => !document.getElementById('notice').hidden);
    assert.equal(await ann.look('reconnect'), 'Try now');

    await gateway.start();
    await ann.at('reconnect').click({ timeout: 1_000 }).catch(() => {}); // unless it has found back by itself
    for (const who of [ann, bob]) await who.marks('connection', 'state', 'online', 40_000);
    // The gateway holds everybody for some seconds after it is back. Ann and Bob came back to that.
    await ann.until('Eve has left', people, (they) => !they.includes('person-eve'), 30_000);
    for (const who of [ann, bob]) await who.arrived(2);
    assert.deepEqual((await ann.page.evaluate(people)).toSorted(), ['person-ann', 'person-bob']);
    await ann.caughtUp();
    assert.deepEqual((await ann.heard()).filter((line) => / (bob|eve)/.test(line)), ['leave eve lost']);
    await bob.says('Still here');
    await ann.has('message');
  },

  async 'a gateway that stops says so, and everybody comes back to the next one'(stage) {
    stage.tolerate(LOST_CONNECTION);
    const gateway = await stage.gateway({ PRESENCE_DRAIN: '1s' });
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await ann.listens();
    await gateway.end('SIGTERM');
    for (const who of [ann, bob]) await who.marks('connection', 'state', 'reconnecting');
    assert.ok(ann.frames.some((frame) => frame.includes('"presence:closing"') && frame.includes('1012')));
    await gateway.start();
    for (const who of [ann, bob]) {
      await who.marks('connection', 'state', 'online', 40_000);
      await who.arrived(2);
    }
    assert.deepEqual((await ann.page.evaluate(people)).toSorted(), ['person-ann', 'person-bob']);
  },
};
