/* The app of docs/react.md, with two people, rendered by the page and by a server. */

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { serve } from '../app/serving.mjs';
import { eventually } from '../waiting.mjs';

export const stories = {
  async 'the app of the React manual, from the packed packages, shows faces, typing and cursors'(stage) {
    const { address } = await stage.gateway();
    const site = await serve(stage, stage.app, address);
    const opens = async (name) => {
      const tab = await (await stage.profile()).newPage();
      await tab.goto(`${site}?name=${name}`);
      return tab;
    };
    const [ann, bob] = [await opens('Ann'), await opens('Bob')];
    const faces = () => ann.evaluate(() => [...document.querySelectorAll('.presence-avatar')].map((face) => face.getAttribute('aria-label')));
    await eventually('Ann sees two faces', faces, ['Ann, Online', 'Bob, Online']);

    await bob.locator('input').pressSequentially('Hi');
    await eventually('Ann sees who types', () => ann.locator('.presence-typing').textContent(), 'Bob is typing');

    const area = await bob.locator('.presence-cursors').boundingBox();
    await bob.mouse.move(area.x + area.width / 2, area.y + area.height / 4);
    const cursor = () => ann.evaluate(() => {
      const { style, textContent } = document.querySelector('.presence-cursor') ?? { style: {} };
      return [textContent, Math.round(parseFloat(style.left)), Math.round(parseFloat(style.top))];
    });
    await eventually('Ann sees where Bob points', cursor, ['Bob', 50, 25]);

    await bob.mouse.move(area.x + area.width / 2, area.y + area.height + 50);
    await eventually('his cursor goes with his pointer', () => ann.locator('.presence-cursor').count(), 0);
  },

  async 'a server renders the same app, and the page takes it over without a warning'(stage) {
    const { address } = await stage.gateway();
    // The app reads its name from the address of the page.
    globalThis.location = { search: '?name=Ann' };
    const { render } = await import(join(stage.app, '../server/server.js'));
    const html = render();
    assert.match(html, /presence-avatars/);
    const site = await serve(stage, join(stage.app, '../hydrate'), address, { start: 'hydrate.html', rendered: html });
    const tab = await (await stage.profile()).newPage();
    const said = [];
    tab.on('console', (message) => said.push(message.text()));
    await tab.goto(`${site}?name=Ann`);
    const faces = () => tab.evaluate(() => [...document.querySelectorAll('.presence-avatar')].map((face) => face.getAttribute('aria-label')));
    await eventually('Ann sees herself', faces, ['Ann, Online']);
    // React says in development that it is development, and what did not fit.
    assert.deepEqual(said.filter((line) => !line.includes('React DevTools')), []);
  },

  async '50 cursors that move for 10 s render a count not once more, and cursors once a frame at most'(stage) {
    const { address } = await stage.gateway();
    const site = await serve(stage, join(stage.app, '../counting'), address, { start: 'counting.html' });
    const tab = await (await stage.profile()).newPage();
    await tab.goto(site);
    const crowd = await (await stage.profile()).newPage();
    await crowd.goto(`http://${address}/?room=behind`);
    await crowd.evaluate(async () => {
      const { connect } = await import('/presence.js');
      window.rooms = await Promise.all(Array.from({ length: 50 }, async (_, at) => {
        const room = connect({ userId: `user-${at}`, deviceId: `web:${at}` }).channel('room:42');
        await room.join({ watch: false });
        return room;
      }));
    });
    await eventually('all are here', () => tab.evaluate(() => window.count), 51);
    await crowd.evaluate(() => window.rooms.forEach((room) => room.cursor(0.5, 0.5)));
    await eventually('all point', () => tab.evaluate(() => window.pointers), 50);
    const before = await tab.evaluate(() => {
      window.frames = 0;
      const frame = () => {
        window.frames += 1;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
      return { ...window.renders };
    });
    await crowd.evaluate((ms) => new Promise((resolve) => {
      const began = performance.now();
      const timer = setInterval(() => {
        const passed = (performance.now() - began) / ms;
        window.rooms.forEach((room, at) => room.cursor(passed, at / 50));
        if (passed < 1) return;
        clearInterval(timer);
        resolve();
      }, 40);
    }), 10_000);
    const after = await tab.evaluate(() => ({ ...window.renders, frames: window.frames }));
    assert.equal(after.count - before.count, 0, 'a component that selects the count');
    const drawn = after.cursors - before.cursors;
    assert.ok(drawn > 20 && drawn <= after.frames + 1, `${drawn} times in ${after.frames} frames`);
  },
};
