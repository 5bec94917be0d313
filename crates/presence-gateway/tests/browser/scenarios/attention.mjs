/* A tab in the background is still somebody. */

import assert from 'node:assert/strict';

export const stories = {
  async 'a tab behind another one is shown as in the background at once, and its person is still here'(stage) {
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob', { context: await stage.plainProfile() });
    const device = `device-${await bob.page.evaluate(() => window.presence.deviceId)}`;
    await bob.marks(device, 'activity', 'active');
    await ann.reads('person-bob person-status', 'Online');
    await ann.listens();
    await ann.page.evaluate(() => window.room.on('update', () => { window.toldAt = Date.now(); }));
    await bob.page.evaluate(() => document.addEventListener('visibilitychange', () => { window.hiddenAt = Date.now(); }));

    await (await bob.context.newPage()).bringToFront();
    await bob.until('the tab is hidden', () => document.visibilityState, 'hidden');
    await bob.marks(device, 'activity', 'hidden');
    await ann.reads('person-bob person-status', 'Online · in the background');
    const late = await ann.page.evaluate(() => window.toldAt) - await bob.page.evaluate(() => window.hiddenAt);
    assert.ok(late < 1_000, `${late} ms later`);
    await ann.marks('person-bob status-dot', 'status', 'online');

    // Back again. Nobody came, nobody left, nobody was away, and no face has changed.
    await bob.page.bringToFront();
    await bob.marks(device, 'activity', 'active');
    await ann.reads('person-bob person-status', 'Online');
    await ann.caughtUp();
    assert.deepEqual(await ann.heard(), ['update bob', 'update bob']);

    // Elsewhere it is in front all the time.
    const phone = await stage.enter('bob');
    await ann.reads('person-bob person-tabs', '2 tabs');
    await (await bob.context.newPage()).bringToFront();
    await bob.marks(device, 'activity', 'hidden');
    await ann.caughtUp();
    await ann.reads('person-bob person-status', 'Online');
    await phone.page.close();
    await ann.reads('person-bob person-status', 'Online · in the background');
  },

  async 'a tab that is hidden is shown as such at once on the other devices of its person'(stage) {
    const phone = await stage.enter('bob');
    const bob = await stage.enter('bob', { context: await stage.plainProfile() });
    const device = `device-${await bob.page.evaluate(() => window.presence.deviceId)}`;
    await phone.marks(device, 'activity', 'active');
    await phone.page.evaluate(() => window.presence.on('self', () => { window.toldAt = Date.now(); }));
    await bob.page.evaluate(() => document.addEventListener('visibilitychange', () => { window.hiddenAt = Date.now(); }));
    await (await bob.context.newPage()).bringToFront();
    await phone.marks(device, 'activity', 'hidden');
    const late = await phone.page.evaluate(() => window.toldAt) - await bob.page.evaluate(() => window.hiddenAt);
    assert.ok(late < 1_000, `${late} ms later`);
  },
};
