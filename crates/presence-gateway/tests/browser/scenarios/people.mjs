/* What there is to know of a person, and what one can say of oneself. */

import assert from 'node:assert/strict';
import { deflateSync } from 'node:zlib';

import { eventually } from '../waiting.mjs';

/** What the open card says, one line each; `null`: there is none. */
function card({ page }) {
  return page.evaluate(() => {
    const cards = [...document.querySelectorAll('presence-card, presence-avatars')].flatMap(({ shadowRoot }) => [...(shadowRoot?.querySelectorAll('.card.open') ?? [])]);
    return cards.length === 1 ? cards[0].innerText.split(/\n+/).map((line) => line.trim()).filter(Boolean) : null;
  });
}

const says = (person, what, wanted) => eventually(`${person.id} reads on the card: ${what}`, () => card(person), wanted);

/** A PNG of one colour. */
function picture() {
  const crcs = Array.from({ length: 256 }, (_, n) => {
    let crc = n;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
    return crc >>> 0;
  });
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const crc = body.reduce((sum, byte) => crcs[(sum ^ byte) & 255] ^ (sum >>> 8), 0xffffffff) ^ 0xffffffff;
    const [length, check] = [data.length, crc >>> 0].map((number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(number);
      return bytes;
    });
    return Buffer.concat([length, body, check]);
  };
  const side = 200;
  const header = Buffer.from([0, 0, 0, side, 0, 0, 0, side, 8, 2, 0, 0, 0]);
  const rows = Buffer.concat(Array.from({ length: side }, () => Buffer.concat([Buffer.from([0]), Buffer.alloc(side * 3, 0x7f)])));
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

export const stories = {
  async 'a card says what somebody does, until when, what time it is there and on what they are'(stage) {
    const ann = await stage.enter('ann', { locale: 'en-GB' });
    const bob = await stage.enter('bob', { name: 'Bob Baker', locale: 'en-GB', timezoneId: 'Asia/Kolkata' });
    await bob.sets({ status: 'busy', message: 'Deep work', emoji: '🎯', clear: '3600' });
    await ann.reads('person-bob person-doing', '🎯 Deep work');
    await ann.page.locator('[data-testid=person-bob] .name').hover();
    const time = /^\d\d:\d\d$/;
    const lines = await says(ann, 'all of it', (seen) => seen?.includes('Until'));
    const [name, status, doing, ...facts] = lines[0] === 'BB' ? lines.slice(1) : lines;
    assert.deepEqual([name, status, doing], ['Bob Baker', 'Busy', '🎯 Deep work']);
    const of = (term) => facts[facts.indexOf(term) + 1];
    assert.match(of('Until'), time);
    assert.match(of('Local time'), time);
    assert.equal(of('On'), 'Browser');
    const kolkata = await ann.page.evaluate(() => new Date().toLocaleTimeString('en-GB', { timeZone: 'Asia/Kolkata', hour: '2-digit', minute: '2-digit' }));
    const minutes = (text) => text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
    assert.ok(Math.abs(minutes(kolkata) - minutes(of('Local time'))) % 1_438 <= 2, `${of('Local time')}, and it is ${kolkata}`);

    // It goes with the pointer, and follows the person while it is open.
    await ann.page.mouse.move(2, 2);
    await says(ann, 'nothing', null);
    await ann.page.locator('[data-testid=person-bob] .name').hover();
    await bob.sets({ status: 'away', message: 'Lunch', emoji: '🥪' });
    await says(ann, 'the news', (seen) => seen?.includes('Away') && seen.includes('🥪 Lunch'));
  },

  async 'a card opens with the keyboard and closes with Escape'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('face-bob');
    await ann.page.evaluate(() => document.getElementById('avatar-stack').shadowRoot.querySelector('[data-user=bob]').focus());
    await says(ann, 'who it is', (seen) => seen?.includes('Bob'));
    const described = () => ann.page.evaluate(() => {
      const { shadowRoot } = document.getElementById('avatar-stack');
      return shadowRoot.getElementById(shadowRoot.activeElement?.getAttribute('aria-describedby'))?.role;
    });
    assert.equal(await described(), 'tooltip');
    // What changes about somebody does not take the focus away.
    await bob.sets({ status: 'busy' });
    await says(ann, 'the new status', (seen) => seen?.includes('Busy'));
    await ann.page.keyboard.press('Escape');
    await says(ann, 'nothing', null);
  },

  async 'who left is listed with when they were last seen, and goes from there when they come back'(stage) {
    await stage.gateway({ PRESENCE_GRACE: '500ms' });
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob');
    await ann.has('person-bob');
    await bob.page.evaluate(() => window.presence.close());
    await ann.has('left-bob');
    await ann.lacks('person-bob');
    await ann.at('left-bob').hover();
    await says(ann, 'that he is gone', (seen) => seen?.includes('Offline') && seen.includes('Last seen'));
    await stage.enter('bob');
    await ann.lacks('left-bob');
    await ann.has('person-bob');

    // At most twenty, the last ones.
    await ann.page.evaluate(async (channel) => {
      const { connect } = await import('/presence.js');
      const crowd = await Promise.all(Array.from({ length: 23 }, async (_, at) => {
        const presence = connect({ userId: `user-${at}`, deviceId: `web:${at}` });
        await presence.channel(channel).join();
        return presence;
      }));
      window.crowd = crowd;
    }, `room:${stage.room}`);
    await ann.reads('count', '25');
    await ann.page.evaluate(() => window.crowd.forEach((presence) => presence.close()));
    await ann.reads('count', '2');
    await ann.until('twenty of them are listed', () => document.querySelectorAll('#left-list > li').length, 20);
  },

  async 'an emoji is picked with the mouse and with the keyboard'(stage) {
    const bob = await stage.enter('bob');
    await bob.at('emoji-open').click();
    await bob.page.getByRole('button', { name: '🚀' }).click();
    await bob.fills('status-emoji', '🚀');
    await bob.at('status-save').click();
    await bob.reads('person-bob person-doing', '🚀');
    await bob.at('emoji-open').press('Enter');
    await bob.until('the first one has the focus', () => document.activeElement.textContent, '🎯');
    await bob.page.keyboard.press('ArrowRight');
    await bob.page.keyboard.press('Enter');
    await bob.fills('status-emoji', '💻');
    await bob.until('it is closed', () => !document.getElementById('emoji-picker').matches(':popover-open'));
    await bob.at('emoji-open').click();
    await bob.page.keyboard.press('Escape');
    await bob.until('it is closed again', () => !document.getElementById('emoji-picker').matches(':popover-open'));
  },

  async 'a status ends at the time that was written down'(stage) {
    const bob = await stage.enter('bob');
    await bob.at('status-message').fill('On the train');
    await bob.at('status-clear').selectOption('custom');
    const wanted = new Date(Math.ceil(Date.now() / 60_000) * 60_000 + 7_200_000);
    const local = new Date(wanted.getTime() - wanted.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    await bob.at('status-custom').fill(local);
    await bob.at('status-save').click();
    await bob.until('it is known when it ends', () => window.presence.self.expiresAt, wanted.getTime());
    await bob.reads('status-until', (text) => text.startsWith('Clears'));

    // A time that has passed is refused where it is written.
    await bob.at('status-clear').selectOption('custom');
    await bob.at('status-custom').fill('2020-01-01T00:00');
    await bob.at('status-save').click();
    assert.ok(!await bob.page.evaluate(() => document.getElementById('status-custom').checkValidity()));
    assert.equal(await bob.page.evaluate(() => window.presence.self.expiresAt), wanted.getTime());
  },

  async 'one\'s own picture is seen by everyone, small, and can be taken back'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const seen = () => document.querySelector('[data-testid=person-bob] img')?.src.slice(0, 11) ?? null;
    await bob.at('me').click();
    await bob.at('who-picture').setInputFiles({ name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') });
    await bob.reads('who-problem', 'This file is no picture that your browser can read.');
    await bob.at('who-picture').setInputFiles({ name: 'me.png', mimeType: 'image/png', buffer: picture() });
    await bob.until('it is shown in the dialog', () => Boolean(document.querySelector('#who-face img')));
    await bob.at('who-save').click();
    await ann.until('Ann sees it', seen, 'data:image/');
    await ann.until('and in the bar', () => Boolean(document.getElementById('avatar-stack').shadowRoot.querySelector('[data-user=bob] img')));
    const bytes = await ann.page.evaluate(() => window.room.state.users.find(({ id }) => id === 'bob').avatar.length);
    assert.ok(bytes <= 3_000, `${bytes} characters`);

    await bob.page.reload();
    await bob.arrived();
    await bob.until('it is kept', () => Boolean(document.querySelector('#me img')));
    await bob.at('me').click();
    await bob.at('who-picture-remove').click();
    await bob.at('who-save').click();
    await ann.until('it is gone', seen, null);
  },

  async 'no two of twelve people look alike, and all of them see the same colours'(stage) {
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob');
    await ann.page.evaluate(async (channel) => {
      const { connect } = await import('/presence.js');
      for (let at = 0; at < 10; at += 1) await connect({ userId: `user-${at}`, deviceId: `web:${at}` }).channel(channel).join();
    }, `room:${stage.room}`);
    const colors = () => Object.fromEntries([...document.querySelectorAll('#roster [data-testid^=person-]:not([data-testid=person-name])')].filter(({ localName }) => localName === 'li')
      .map((row) => [row.dataset.testid, row.querySelector('.face').style.background]).sort());
    const seen = await ann.until('twelve people', colors, (all) => Object.keys(all).length === 12);
    assert.equal(new Set(Object.values(seen)).size, 12);
    await bob.until('the same colours', colors, seen);
    // Somebody hides who came first: whoever came later may move up, and again all see the same.
    await ann.at('invisible-switch').check();
    await bob.lacks('person-ann');
    const without = await bob.until('eleven people', colors, (all) => Object.keys(all).length === 11);
    assert.equal(new Set(Object.values(without)).size, 11);
    await ann.until('Ann sees the same', colors, without);
  },
};
