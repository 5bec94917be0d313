/* Every state of the page without a finding of axe: light and dark, from a small phone to a wide screen. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Person } from '../person.mjs';
import { LOST_CONNECTION } from '../stage.mjs';
import { SECRET, token } from '../tokens.mjs';

const WIDTHS = [320, 768, 1_440];
const HEIGHT = 800;

/** Looks at the page of `person` as it is now, in each theme and width. */
async function clean(stage, person, state) {
  const axe = await readFile(join(stage.app, '../node_modules/axe-core/axe.min.js'), 'utf8');
  await person.page.evaluate(axe);
  for (const colorScheme of ['light', 'dark']) {
    await person.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const width of WIDTHS) {
      await person.page.setViewportSize({ width, height: HEIGHT });
      const found = await person.page.evaluate(async () => {
        const { violations, passes } = await window.axe.run(document, { resultTypes: ['violations', 'passes'] });
        return {
          passes: passes.length,
          violations: violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, html }) => `${id}: ${target.flat().join(' >>> ')}: ${any[0]?.message ?? html}`)),
        };
      });
      assert.deepEqual(found.violations, [], `${state}, ${colorScheme}, ${width} px`);
      assert.ok(found.passes > 10, 'axe has looked');
    }
  }
  await person.page.setViewportSize({ width: 1_280, height: HEIGHT });
}

/** Ann in a room in which everything is going on. */
async function busyRoom(stage) {
  await stage.gateway({ TYPING_TTL: '60s', PRESENCE_GRACE: '500ms' });
  const ann = await stage.enter('ann');
  const bob = await stage.enter('bob', { name: 'Bob Baker' });
  await bob.sets({ status: 'busy', message: 'Deep work', emoji: '🎯', clear: '3600' });
  await bob.says('Hello');
  await ann.has('message');
  await bob.page.evaluate(async (channel) => {
    const { connect } = await import('/presence.js');
    const crowd = [];
    for (let at = 0; at < 9; at += 1) {
      const presence = connect({ userId: `user-${at}`, deviceId: `mobile:${at}` });
      if (at === 3) await presence.setStatus({ status: 'away', customMessage: 'Lunch' });
      await presence.channel(channel).join();
      crowd.push(presence);
    }
    crowd[8].close();
    crowd[0].channel(channel).typing();
    crowd[1].channel(channel).cursor(0.5, 0.5);
    crowd[2].channel(channel).cursor(0.98, 0.98);
  }, `room:${stage.room}`);
  await ann.has('left-user-8');
  await ann.reads('typing', 'user-0 is typing');
  return ann;
}

export const stories = {
  async 'axe finds nothing, alone in a room'(stage) {
    await clean(stage, await stage.enter('ann'), 'alone');
  },

  async 'axe finds nothing in a room in which everything is going on'(stage) {
    const ann = await busyRoom(stage);
    await ann.sets({ status: 'away', message: 'Reading', emoji: '📚', clear: '1800' });
    await ann.reads('status-until', (text) => text.startsWith('Clears'));
    await clean(stage, ann, 'with others');
  },

  async 'axe finds nothing while a card is open'(stage) {
    const ann = await busyRoom(stage);
    await ann.page.evaluate(() => document.getElementById('avatar-stack').shadowRoot.querySelector('[data-user=bob]').focus());
    await ann.until('a card is open', () => Boolean(document.getElementById('avatar-stack').shadowRoot.querySelector('.card.open')));
    await clean(stage, ann, 'a card');
  },

  async 'axe finds nothing while an emoji is picked, and where a status is refused'(stage) {
    const ann = await stage.enter('ann');
    await ann.at('status-clear').selectOption('custom');
    await ann.at('emoji-open').click();
    await clean(stage, ann, 'emoji');
    await ann.page.keyboard.press('Escape');
    await ann.at('status-emoji').fill('no emoji');
    await ann.at('status-save').click();
    await ann.until('the refusal is shown', () => !document.getElementById('status-problem').hidden);
    await clean(stage, ann, 'a status that is refused');
  },

  async 'axe finds nothing while one says who one is, and points with the keyboard'(stage) {
    const ann = await stage.enter('ann');
    await ann.at('me').click();
    await clean(stage, ann, 'who one is');
    await ann.page.keyboard.press('Escape');
    await ann.at('board').focus();
    await ann.page.keyboard.press('ArrowLeft');
    await clean(stage, ann, 'pointing with the keyboard');
  },

  async 'axe finds nothing while one is invisible'(stage) {
    const ann = await stage.enter('ann');
    await ann.at('invisible-switch').check();
    await ann.has('self-row');
    await clean(stage, ann, 'invisible');
  },

  async 'axe finds nothing while the connection is away'(stage) {
    stage.tolerate(LOST_CONNECTION);
    const gateway = await stage.gateway();
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await bob.page.close();
    await gateway.end('SIGKILL');
    await ann.marks('connection', 'state', 'reconnecting');
    await ann.until('the notice is there', () => !document.getElementById('notice').hidden);
    await clean(stage, ann, 'reconnecting');
  },

  async 'axe finds nothing where somebody is not let in'(stage) {
    const { origin } = await stage.gateway({ PRESENCE_JWT_SECRET: SECRET });
    const opens = async (query) => {
      const person = new Person(await (await stage.profile()).newPage(), 'ann');
      await person.page.goto(`${origin}/?${new URLSearchParams(query)}#launch-planning`);
      return person;
    };
    const ann = await opens({});
    await ann.until('it asks for a token', () => document.getElementById('sign-in').open);
    await clean(stage, ann, 'sign in');
    await ann.page.keyboard.press('Escape');
    await clean(stage, ann, 'closed');

    const bob = await opens({ token: token('bob', 3_600, { channels: ['room:lobby'] }) });
    await bob.reads('room-count-launch-planning', 'no access');
    await bob.until('the refusal is shown', () => !document.getElementById('room-refused').hidden);
    await clean(stage, bob, 'a room that is refused');
  },
};
