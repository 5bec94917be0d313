/* What people write is text, whatever it looks like. */

import assert from 'node:assert/strict';

import { eventually } from '../waiting.mjs';

const NAMES = {
  html: '<img src=x onerror="window.pwned=1"><b>Bold</b>',
  script: '</span><script>window.pwned=1</script>',
  emoji: '👩‍👩‍👧‍👦🏳️‍🌈',
  rtl: '\u202Etxet desrever\u202E',
  arabic: 'مريم',
  long: 'Wolfeschlegelsteinhausenbergerdorff'.repeat(12),
  zalgo: `Z${'\u0300\u0316'.repeat(40)}algo`,
  lines: 'First\nSecond\tThird',
  blank: '   ',
};

async function intact(person, width) {
  await person.page.setViewportSize({ width, height: 800 });
  const found = await person.page.evaluate(() => ({
    pwned: window.pwned,
    injected: document.querySelectorAll('.name :not(bdi), .by :not(bdi), .text *, .doing > :not(.dots, bdi), .event :not(span, bdi), main img, main script, main b').length
      + [...document.querySelectorAll('*')].filter(({ shadowRoot }) => shadowRoot?.querySelector('b, script, img, [part=name] *')).length,
    sideways: document.documentElement.scrollWidth > innerWidth,
    rows: [...document.querySelectorAll('#roster > li')].filter((row) => row.clientHeight > 60).map((row) => row.textContent.slice(0, 40)),
    bar: document.querySelector('.bar').clientHeight,
    nameless: [...document.querySelectorAll('#roster .name')].filter((name) => name.clientWidth === 0).length,
  }));
  const { bar, ...rest } = found;
  assert.deepEqual(rest, { pwned: undefined, injected: 0, sideways: false, rows: [], nameless: 0 }, `at ${width} px`);
  assert.ok(bar < (width < 760 ? 150 : 80), `the bar is ${bar} px high`);
}

export const stories = {
  async 'names, messages and statuses of any kind are shown as they are, and break nothing'(stage) {
    await stage.gateway({ TYPING_TTL: '60s' });
    const ann = await stage.enter('ann');
    // They all live in one page: only what Ann sees of them matters.
    const crowd = await stage.enter('crowd', { name: NAMES.html });
    await crowd.page.evaluate(async ([names, room]) => {
      const { connect } = await import('/presence.js');
      window.crowd = Object.entries(names).map(([id, name]) => {
        const presence = connect({ userId: id, name, deviceId: `web:${id}` });
        return { id, name, presence, room: presence.channel(`room:${room}`) };
      });
      await Promise.all(window.crowd.map(({ room: channel }) => channel.join({ meta: { color: 'red;} body{display:none', avatar: 'javascript:alert(1)' } })));
    }, [NAMES, stage.room]);
    const count = Object.keys(NAMES).length + 2;
    await ann.reads('count', String(count));
    // The gateway takes overrides of the writing direction out of names, and keeps a hundred characters of them.
    const shown = (name) => [...name.replace(/[\u202A-\u202E]/g, '')].slice(0, 100).join('').trim();
    for (const id of ['html', 'script', 'emoji', 'rtl', 'arabic', 'long', 'zalgo']) {
      await ann.until(`the name of ${id}`, `document.querySelector('[data-testid="person-${id}"] [data-testid="person-name"]').textContent.trim()`, shown(NAMES[id]));
    }
    await intact(ann, 1280);

    await crowd.page.evaluate(() => Promise.all(window.crowd.map(async ({ name, presence, room }) => {
      await presence.setStatus({ status: 'busy', customMessage: name.replace(/[\s\u202E]+/g, ' ').slice(0, 200), emoji: '🏴‍☠️' });
      await room.broadcast('message', { text: name.repeat(3) });
      await room.broadcast('cheer', { emoji: '<b>', x: -5, y: 1e9 });
      await room.broadcast('cheer', { emoji: { toString: 1 }, x: '0', y: null });
      await room.broadcast('message', { text: { length: 5 } });
      await room.broadcast('message', null);
      room.typing();
      room.cursor(7, -3);
    })));
    await ann.has('person-html person-typing');
    await ann.until('their messages', () => document.querySelectorAll('[data-testid=message]').length, (count) => count >= 8);
    await eventually('their cursors', () => ann.cursors(), 9);
    for (const width of [1280, 800, 360]) await intact(ann, width);
  },

  async 'a name that turns its text around turns only itself around'(stage) {
    await stage.gateway({ TYPING_TTL: '60s' });
    const ann = await stage.enter('ann');
    const bob = await stage.enter('bob', { name: NAMES.rtl });
    await bob.at('chat-input').pressSequentially('He');
    await ann.has('person-bob person-typing');
    await ann.has('event');
    // In text that runs left to right each letter is right of the one before.
    const turned = () => [document.querySelector('[data-testid=typing]').shadowRoot.querySelector('[part=line]'), document.querySelector('[data-testid=event]')].filter((line) => {
      let last = line;
      while (last.lastChild) last = last.lastChild;
      const left = (at) => {
        const range = document.createRange();
        range.setStart(last, at);
        range.setEnd(last, at + 1);
        return range.getBoundingClientRect().left;
      };
      const end = last.textContent.trimEnd().length - 1;
      return left(end) < left(end - 3);
    });
    assert.deepEqual(await ann.page.evaluate(turned), []);
  },

  async 'ids that lists and functions are born with are people like others'(stage) {
    const ann = await stage.enter('ann');
    for (const id of ['length', 'forEach', 'name']) {
      await stage.enter(id);
      await ann.has(`person-${id}`);
    }
    await ann.reads('count', '4');
  },

  async 'an id that cannot be is refused in words, and one can choose another'(stage) {
    for (const [id, why] of [['constructor', 'reserved'], ['__proto__', 'reserved'], ['toString', 'reserved'], ['__defineGetter__', 'reserved'], ['no spaces', 'must not contain'], ['x'.repeat(200), '128']]) {
      const person = await stage.opens(id);
      await person.marks('connection', 'state', 'closed');
      await person.until('the notice says why', () => !document.getElementById('notice').hidden && document.getElementById('notice-text').textContent, (text) => text && text.includes(why));
      assert.equal(await person.look('count'), '…', 'how many people are here is not known');
      await person.at('me').click();
      await person.at('who-id').fill('bob');
      await person.at('who-save').click();
      await person.marks('connection', 'state', 'online');
      await person.has('person-bob');
      await person.page.close();
    }
  },
};
