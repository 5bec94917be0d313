/* A gateway with a key, and what the page says to whom it does not let in. */

import assert from 'node:assert/strict';

import { Person } from '../person.mjs';
import { SECRET, token } from '../tokens.mjs';

const KEY = { PRESENCE_JWT_SECRET: SECRET };
const HOUR = 3_600;

async function opens(stage, query, { hash = '', context } = {}) {
  const { origin } = await stage.gateway(KEY);
  const person = new Person(await (context ?? (await stage.profile())).newPage(), 'ann');
  await person.page.goto(`${origin}/?${new URLSearchParams(query)}${hash}`);
  return person;
}

export const stories = {
  async 'a page tells a missing token from an expired and from a wrong one, and goes on with a good one'(stage) {
    for (const [query, says, why] of [
      [{}, 'This gateway lets in who has a token', /has a key/],
      [{ token: token('ann', -HOUR) }, 'Your token has expired.', /has expired/],
      [{ token: token('ann', HOUR, { secret: 'another secret, which is not the one' }) }, 'Your token was refused.', /was refused: .*signature/],
      [{ token: `${token('ann', HOUR)} <html>` }, 'Your token was refused.', /was refused: not a token\.$/],
    ]) {
      const ann = await opens(stage, query);
      await ann.marks('connection', 'state', 'closed');
      await ann.reads('notice', (text) => text?.startsWith(says));
      await ann.until('it asks for a token', () => document.getElementById('sign-in').open);
      await ann.reads('sign-in-why', (text) => why.test(text));
      assert.equal(await ann.look('count'), '…');
      assert.ok(await ann.page.evaluate(() => document.getElementById('devices-card').hidden), 'there is no device to show');
      if (query.token) assert.ok(!(await ann.page.innerText('body')).includes(query.token.slice(0, 40)), 'nobody reads the token on the page');
      assert.ok(await ann.page.evaluate(() => document.getElementById('second-person').hidden), 'nobody can be brought along');
    }
    const ann = await opens(stage, { token: `${token('ann', HOUR)}\n` });
    await ann.arrived(1);
    await ann.until('devices are shown', () => !document.getElementById('devices-card').hidden && document.querySelectorAll('#devices li').length === 1);
    assert.ok(await ann.page.evaluate(() => document.getElementById('second-person').hidden), 'who comes along needs a token of their own');
  },

  async 'who signs in is in, stays so over a reload, and can go on as somebody else'(stage) {
    const ann = await opens(stage, {});
    await ann.until('it asks for a token', () => document.getElementById('sign-in').open);
    await ann.at('sign-in-token').fill(` ${token('ann', HOUR, { name: 'Ann Bauer' })}\n`);
    await ann.at('sign-in-save').click();
    await ann.arrived(1);
    await ann.reads('person-ann person-name', 'Ann Bauer');
    await ann.page.reload();
    await ann.arrived(1);

    await ann.at('me').click();
    await ann.at('who-token').click();
    await ann.at('sign-in-token').fill(token('bob', HOUR));
    await ann.at('sign-in-save').click();
    await ann.has('person-bob');
    await ann.lacks('person-ann');
    await ann.reads('count', '1');
    assert.ok(!ann.page.url().includes('token='), 'a token in an address is copied along with it');

    // The dialog can be closed, and the notice opens it again.
    const eve = await opens(stage, { token: token('eve', -HOUR) });
    await eve.until('it asks for a token', () => document.getElementById('sign-in').open);
    await eve.page.keyboard.press('Escape');
    await eve.reads('reconnect', 'Sign in');
    await eve.at('reconnect').click();
    await eve.at('sign-in-token').fill(token('eve', HOUR));
    await eve.at('sign-in-save').click();
    await eve.has('person-eve');
  },

  async 'a room that a token does not allow says so where the room is'(stage) {
    const ann = await opens(stage, { token: token('ann', HOUR, { channels: ['room:lobby', 'room:help-desk'] }) }, { hash: '#launch-planning' });
    await ann.marks('connection', 'state', 'online');
    await ann.reads('room-refused', (text) => text?.startsWith('You cannot be in this room'));
    const shown = () => Object.fromEntries(['.refused', '.board-card', '.chat'].map((card) => [card, !document.querySelector(card).hidden]));
    await ann.until('there is no board', shown, { '.refused': true, '.board-card': false, '.chat': false });
    await ann.reads('room-count-design-review', 'no access');
    await ann.reads('room-count-lobby', '0');
    assert.equal(await ann.look('count'), '…');

    // What to do next stands there: a room that one may enter, or another token.
    await ann.reads('refused-room', 'Go to Lobby');
    await ann.at('refused-token').click();
    await ann.until('it asks for a token', () => document.getElementById('sign-in').open);
    await ann.page.keyboard.press('Escape');
    await ann.at('refused-room').click();
    await ann.reads('room-title', 'Lobby');
    await ann.until('there is a board', shown, { '.refused': false, '.board-card': true, '.chat': true });
    await ann.reads('count', '1');
    await ann.says('Here I may be');
    await ann.has('message');
    await ann.at('room-design-review').click();
    await ann.until('there is none again', shown, { '.refused': true, '.board-card': false, '.chat': false });
    await ann.lacks('person-ann');
  },

  async 'who is in no room is called by the name in the token, and a closed page takes no input'(stage) {
    const ann = await opens(stage, { token: token('ann', HOUR, { channels: ['room:secret'], name: 'Ann Bäuerin' }) }, { hash: '#launch-planning' });
    await ann.reads('room-refused', (text) => text?.startsWith('You cannot be in this room'));
    await ann.reads('me', (text) => text?.endsWith('Ann Bäuerin'));
    const states = () => ['chat-input', 'status-message', 'invisible'].map((id) => document.getElementById(id).disabled);
    await ann.until('they can be used', states, [false, false, false]);

    const eve = await opens(stage, { token: token('eve', -HOUR, { name: 'Eve' }) });
    await eve.marks('connection', 'state', 'closed');
    await eve.reads('me', (text) => text?.endsWith('Eve'));
    await eve.until('they cannot be used', states, [true, true, true]);
    await eve.until('it asks for a token', () => document.getElementById('sign-in').open);
    await eve.at('sign-in-token').fill(token('eve', HOUR));
    await eve.at('sign-in-save').click();
    await eve.arrived();
    await eve.until('they can be used again', states, [false, false, false]);
  },

  async 'where no room of the list can be entered, a refused one leads to the field for another'(stage) {
    const ann = await opens(stage, { token: token('ann', HOUR, { channels: ['room:secret'] }) });
    await ann.reads('room-count-help-desk', 'no access');
    await ann.reads('refused-room', 'Enter another room');
    await ann.at('refused-room').click();
    await ann.page.keyboard.type('Secret');
    await ann.page.keyboard.press('Enter');
    await ann.reads('count', '1');
    await ann.until('there is a board', () => document.getElementById('room-refused').hidden);
  },

  async 'without a key somebody can be brought along'(stage) {
    const ann = await stage.enter('ann');
    await ann.reads('count', '1');
    const [popup] = await Promise.all([ann.page.waitForEvent('popup'), ann.at('second-person').click()]);
    await ann.reads('count', '2');
    await popup.close();
  },
};
