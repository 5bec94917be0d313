/* The pictures of the README: an afternoon in a room, by day and by night. */

import assert from 'node:assert/strict';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const BYTES_MAX = 250_000;

/** Everybody but Ann, in the order in which they come. Those elsewhere make the other rooms look inhabited. */
const CREW = [
  { id: 'mateo', name: 'Mateo Silva', device: 'web:studio', cursor: [0.3, 0.42] },
  { id: 'priya', name: 'Priya Raman', device: 'desktop:studio', status: { status: 'busy', emoji: '🎯', customMessage: 'Deep in the launch copy' }, cursor: [0.74, 0.3] },
  { id: 'jonas', name: 'Jonas Weber', device: 'web:home', status: { emoji: '🎧', customMessage: 'Listening in' } },
  { id: 'noor', name: 'Noor Haddad', device: 'mobile:phone', status: { status: 'away', emoji: '🥪', customMessage: 'Lunch, back at two' } },
  { id: 'chloe', name: 'Chloé Martin', device: 'web:office', cursor: [0.52, 0.66] },
  ...['kofi', 'lena', 'sam'].map((id) => ({ id, name: id, device: `web:${id}`, elsewhere: 'room:lobby' })),
  { id: 'yuki', name: 'Yuki', device: 'web:yuki', elsewhere: 'room:launch-planning' },
];

const TALK = [
  ['priya', 'The second sheet is so much calmer now.'],
  ['ann', 'Thank you! I moved the chart to the right, too.'],
  ['chloe', 'Love it. Shall we ship it today?'],
];

export async function takeScreenshots(stage, folder) {
  const ann = await stage.enter('ann', { name: 'Ann Bauer', room: 'design-review', viewport: { width: 1280, height: 800 }, locale: 'en-GB' });
  const behind = await stage.enter('behind', { room: 'behind-the-scenes' });
  await behind.page.evaluate(async (crew) => {
    const { connect } = await import('/presence.js');
    window.crew = new Map();
    for (const { id, name, device, status, elsewhere } of crew) {
      const presence = connect({ userId: id, name, deviceId: device });
      const room = presence.channel(elsewhere ?? 'room:design-review');
      window.crew.set(id, { presence, room });
      if (status) await presence.setStatus(status);
      await room.join();
    }
    // Ann has her phone with her.
    connect({ userId: 'ann', name: 'Ann Bauer', deviceId: 'mobile:ann' });
  }, CREW);
  await ann.reads('count', '6');
  await ann.sets({ message: 'Polishing the prototype', emoji: '✨', clear: '1800' });
  await ann.has('event');
  for (const [id, text] of TALK) {
    if (id === 'ann') await ann.page.evaluate((it) => window.room.broadcast('message', { text: it }), text);
    else await behind.page.evaluate(([who, it]) => window.crew.get(who).room.broadcast('message', { text: it }), [id, text]);
    await ann.until('the line is there', `document.getElementById('chat-log').lastChild.querySelector('.text')?.textContent`, text);
  }
  await ann.page.mouse.move(2, 2);
  await ann.page.evaluate(() => document.activeElement.blur());

  await mkdir(folder, { recursive: true });
  for (const scheme of ['light', 'dark']) {
    await ann.page.emulateMedia({ colorScheme: scheme });
    // What is fleeting, once more for each picture: somebody types, three point, one cheers.
    await behind.page.evaluate((crew) => {
      window.crew.get('mateo').room.typing();
      for (const { id, cursor } of crew) if (cursor) window.crew.get(id).room.cursor(...cursor);
    }, CREW);
    await ann.has('person-mateo person-typing');
    await ann.until('three point and nothing moves', () => document.getElementById('board').shadowRoot.querySelectorAll('[part=cursor]').length === 3
      && document.getAnimations().every(({ effect }) => effect.target.closest('.dots')));
    await behind.page.evaluate(() => window.crew.get('priya').room.broadcast('cheer', { emoji: '🎉', x: 0.8, y: 0.36 }));
    await ann.until('the cheer is half way', () => document.getAnimations().some(({ animationName, currentTime }) => animationName === 'rise' && currentTime > 300));

    const path = join(folder, `page-${scheme}.png`);
    await ann.page.screenshot({ path });
    const { size } = await stat(path);
    assert.ok(size < BYTES_MAX, `${path} has ${size} bytes`);
  }
}
