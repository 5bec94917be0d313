/* A status ends when it was to end, whatever happens in between. */

import assert from 'node:assert/strict';

import { LOST_CONNECTION } from '../stage.mjs';

const CLEAR_MS = 30_000;
/** How much later than it should a page may show that a status has ended, on a busy machine. */
const LATE_MS_MAX = 5_000;

/** From now on, the page notes when Bob's status ends: it is on one machine with the gateway, so they have one clock. */
function watchesForTheEnd({ page }) {
  return page.evaluate(() => {
    const { room } = window;
    let isSet = false;
    room.subscribe(() => {
      const { customMessage } = room.state.users.find(({ id }) => id === 'bob') ?? {};
      if (isSet && !customMessage) window.ended = Date.now();
      isSet = Boolean(customMessage);
    });
  });
}

/** Says how much later than at `endsAt` it ended for that page, the last time. */
async function lateness({ page }, endsAt) {
  return await page.evaluate(() => window.ended) - endsAt;
}

export const stories = {
  async 'an acknowledged status survives kill -9 of the gateway, and still clears at its time on every page'(stage) {
    stage.tolerate(LOST_CONNECTION);
    const gateway = await stage.gateway();
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    const pages = [ann, bob, await stage.enter('bob', { context: bob.context })];
    await ann.reads('count', '2');
    for (const page of pages) {
      await page.listens();
      await watchesForTheEnd(page);
    }

    await bob.sets({ status: 'busy', message: 'Deep work', emoji: '🎯', clear: '30' });
    const set = Date.now();
    for (const page of pages) await page.reads('person-bob person-doing', '🎯 Deep work');
    await bob.reads('status-until', (text) => /^Clears in [23]\d s$/.test(text));
    const endsAt = await bob.page.evaluate(() => window.presence.self.expiresAt);

    await gateway.end('SIGKILL');
    for (const page of pages) await page.marks('connection', 'state', 'reconnecting');
    await ann.reads('person-bob person-doing', '🎯 Deep work');
    await gateway.start();
    for (const page of pages) await page.marks('connection', 'state', 'online');
    for (const page of pages) {
      await page.reads('person-bob person-doing', '🎯 Deep work');
      await page.marks('person-bob status-dot', 'status', 'busy');
      assert.deepEqual([...new Set(await page.states())], ['online', 'reconnecting']);
      await page.reads('count', '2');
    }
    assert.equal(await bob.page.evaluate(() => window.presence.self.expiresAt), endsAt, 'a restart prolongs nothing');
    assert.ok(Date.now() - set < CLEAR_MS, 'the status would have cleared by itself: the test was too slow to tell');

    for (const page of pages) {
      await page.lacks('person-bob person-doing', CLEAR_MS + 5_000);
      await page.marks('person-bob status-dot', 'status', 'online');
      const late = await lateness(page, endsAt);
      assert.ok(late > -500 && late < LATE_MS_MAX, `cleared ${late} ms after its time`);
    }
    await bob.reads('status-until', '');
    await bob.fills('status-message', '');
  },

  async 'a status clears by itself on every page'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    for (const who of [ann, bob]) await watchesForTheEnd(who);
    const [before, after] = await bob.page.evaluate(async () => {
      const asked = Date.now();
      await window.presence.setStatus({ status: 'away', customMessage: 'Lunch', emoji: '🥪', clearAfter: 8 });
      return [asked, Date.now()];
    });
    for (const who of [ann, bob]) await who.reads('person-bob person-doing', '🥪 Lunch');
    await bob.reads('status-until', (text) => /^Clears in \d s$/.test(text));
    const endsAt = await bob.until('it is known when it ends', () => window.presence.self.expiresAt, Boolean);
    assert.ok(endsAt > before + 7_500 && endsAt < after + 8_500, `8 s end ${endsAt - before} ms later`);
    for (const who of [ann, bob]) {
      await who.lacks('person-bob person-doing');
      await who.marks('person-bob status-dot', 'status', 'online');
      const late = await lateness(who, endsAt);
      assert.ok(late > -500 && late < LATE_MS_MAX, `cleared ${late} ms after its time`);
    }
    await bob.marks('status-form', 'status', 'online');
  },

  async 'what one tab sets the other shows, and what one is writing stays'(stage) {
    const first = await stage.enter('bob');
    const second = await stage.enter('bob', { context: first.context });
    await first.sets({ status: 'away', message: 'Lunch', emoji: '🥪' });
    await second.until('the form follows', () => [
      document.getElementById('status-message').value, document.querySelector('[data-testid=status-away]').checked,
    ], ['Lunch', true]);

    await second.at('status-message').fill('Half a thou');
    await first.sets({ message: 'Dinner' });
    await second.reads('person-bob person-doing', '🥪 Dinner');
    await second.until('it knows what it is', () => window.presence.self.customMessage, 'Dinner');
    assert.equal(await second.at('status-message').inputValue(), 'Half a thou');
  },

  async 'what one writes before a status is answered stays'(stage) {
    const bob = await stage.enter('bob');
    await bob.sets({ message: 'Short' });
    await bob.until('it is known', () => window.presence.self.customMessage, 'Short');
    await bob.page.evaluate(() => {
      const { presence } = window;
      const setStatus = presence.setStatus.bind(presence);
      presence.setStatus = async (change) => {
        await setStatus(change);
        await new Promise((resolve) => { window.answer = resolve; });
      };
    });
    await bob.at('invisible-switch').check();
    await bob.until('the answer is on its way', () => window.presence.self.status === 'invisible' && Boolean(window.answer));
    await bob.at('status-message').fill('Back at two');
    await bob.page.evaluate(async () => {
      window.answer();
      await new Promise(requestAnimationFrame);
    });
    assert.equal(await bob.at('status-message').inputValue(), 'Back at two');
    await bob.at('status-save').click();
    await bob.until('that is told', () => window.presence.self.customMessage, 'Back at two');
  },
};
