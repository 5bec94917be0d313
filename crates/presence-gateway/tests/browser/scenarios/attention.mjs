/* A tab in the background is still somebody. */

import assert from 'node:assert/strict';

export const stories = {
  async 'a tab behind another one is in the background for oneself, and here for everybody else'(stage) {
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob', { context: await stage.plainProfile() });
    const device = `device-${await bob.page.evaluate(() => window.presence.deviceId)}`;
    await bob.marks(device, 'activity', 'active');
    await ann.has('person-bob');
    await ann.listens();

    await (await bob.context.newPage()).bringToFront();
    await bob.until('the tab is hidden', () => document.visibilityState, 'hidden');
    await bob.marks(device, 'activity', 'hidden');
    await ann.heardNothing();
    await ann.marks('person-bob status-dot', 'status', 'online');

    // A second tab in front: the device is active again, as long as one of them is.
    await bob.page.bringToFront();
    await bob.marks(device, 'activity', 'active');
    await ann.heardNothing();
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
