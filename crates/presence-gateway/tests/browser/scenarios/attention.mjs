/* A tab in the background is still somebody. */

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
};
