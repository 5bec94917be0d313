/* Tabs come and go, people stay. */

import assert from 'node:assert/strict';

import { eventually } from '../waiting.mjs';

const GRACE_MS = 10_000;
/** For whoever comes back, however busy the machine is. */
const PATIENT = { PRESENCE_GRACE: '60s' };

/** What tells of coming and going: metas may change with the tabs, faces and numbers must not. */
const moves = (lines) => lines.filter((line) => /^(join|leave|faces)/.test(line));

export const stories = {
  async 'a second tab changes no face; closing one tells nobody; closing the last is one leave, after the grace'(stage) {
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob');
    await ann.reads('count', '2');
    await ann.listens();

    const second = await stage.enter('bob', { context: bob.context });
    const device = `device-${await bob.page.evaluate(() => window.presence.deviceId)}`;
    for (const tab of [bob, second]) {
      await tab.marks(device, 'sessions', '2');
      assert.equal(await tab.page.locator('[data-testid^=device-]').count(), 1, 'two tabs are one device');
    }
    await ann.reads('person-bob person-tabs', '2 tabs');
    await ann.reads('count', '2');
    assert.notEqual(await bob.session(), await second.session());

    await second.page.close();
    await bob.marks(device, 'sessions', '1', 4 * GRACE_MS);
    await ann.lacks('person-bob person-tabs');
    await ann.caughtUp();
    await ann.reads('count', '2');
    assert.deepEqual(moves(await ann.heard()), [], 'two tabs came and one went, and nobody moved');

    const closed = performance.now();
    await bob.page.close();
    await ann.lacks('person-bob', 4 * GRACE_MS);
    assert.ok(performance.now() - closed > GRACE_MS - 1_000, 'a closed tab might have been a reload');
    await ann.reads('count', '1');
    await ann.caughtUp();
    const left = (await ann.heard()).filter((line) => /^(join|leave)/.test(line));
    assert.deepEqual(left, ['leave bob lost']);
  },

  async 'a reload is no event: the same session goes on, and nobody hears of it'(stage) {
    await stage.gateway(PATIENT);
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await bob.sets({ status: 'busy', message: 'Deep work' });
    await ann.reads('person-bob person-doing', 'Deep work');
    const session = await bob.session();
    await ann.listens();

    for (let round = 0; round < 3; round += 1) {
      await bob.page.reload();
      await bob.reads('count', '2');
      assert.equal(await bob.session(), session);
      await bob.reads('person-bob person-doing', 'Deep work');
    }
    await ann.heardNothing();
  },

  async 'a page that is left and gone back to is the same session'(stage) {
    await stage.gateway(PATIENT);
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const session = await bob.session();
    await ann.listens();
    await bob.page.goto('about:blank');
    await bob.page.goBack();
    await bob.arrived(2);
    assert.equal(await bob.session(), session);
    await ann.heardNothing();
  },

  async 'a duplicated tab is a session of its own'(stage) {
    await stage.gateway(PATIENT);
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const session = await bob.session();
    await bob.listens();
    await ann.listens();

    // A page opened by a page gets a copy of its sessionStorage, as a duplicated tab does.
    const [popup] = await Promise.all([bob.page.waitForEvent('popup'), bob.page.evaluate(() => void window.open(location.href))]);
    const other = () => popup.evaluate(() => window.presence?.connection.status === 'online' && window.presence.session);
    const duplicate = await eventually('the duplicate is connected', other, Boolean);
    assert.notEqual(duplicate, session);
    await ann.reads('person-bob person-tabs', '2 tabs');
    await bob.caughtUp();
    assert.equal(await bob.session(), session);
    assert.deepEqual(await bob.states(), ['online'], 'the first tab was not replaced');
    await ann.caughtUp();
    assert.deepEqual(moves(await ann.heard()), []);

    // Both reload, and each is itself again.
    await Promise.all([bob.page.reload(), popup.reload()]);
    await bob.arrived(2);
    await eventually('the duplicate goes on', other, duplicate);
    assert.equal(await bob.session(), session);
    await ann.caughtUp();
    assert.deepEqual(moves(await ann.heard()), []);
  },

  async 'one person in two browsers is one face with two devices'(stage) {
    const ann = await stage.enter('ann');
    const laptop = await stage.enter('bob');
    await ann.reads('count', '2');
    await ann.listens();
    await stage.enter('bob');
    await ann.reads('person-bob person-tabs', '2 tabs');
    await laptop.until('both devices are listed', () => document.querySelectorAll('[data-testid^=device-]').length, 2);
    await ann.caughtUp();
    assert.deepEqual(moves(await ann.heard()), []);
    await ann.reads('count', '2');
  },
};
