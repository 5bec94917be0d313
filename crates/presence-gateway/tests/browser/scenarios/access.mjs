/* Without a mouse, without eyes, without motion, on a small screen. */

import assert from 'node:assert/strict';

import { LOST_CONNECTION } from '../stage.mjs';
import { eventually } from '../waiting.mjs';

const TABS_MAX = 80;

/** Presses Tab until the element is focused, and checks that one can see each place on the way. */
export async function tabTo(person, testid) {
  for (let presses = 0; presses < TABS_MAX; presses += 1) {
    await person.page.keyboard.press('Tab');
    const at = await person.page.evaluate(() => {
      let here = document.activeElement;
      while (here.shadowRoot?.activeElement) here = here.shadowRoot.activeElement;
      const marked = [here, here.nextElementSibling].some((element) => element && getComputedStyle(element).outlineStyle !== 'none');
      return { testid: here.dataset.testid ?? here.id, marked, element: here.outerHTML.slice(0, 120), body: here === document.body };
    });
    assert.ok(at.body || at.marked, `one cannot see that this is focused: ${at.element}`);
    if (at.testid === testid) return;
  }
  assert.fail(`Tab does not lead to ${testid}`);
}

/** Roles for which a name is all that is read out. */
const NAMED = new Set(['button', 'link', 'textbox', 'checkbox', 'switch', 'radio', 'combobox', 'listbox', 'dialog', 'searchbox', 'log', 'group', 'region', 'navigation', 'complementary']);

/** The tree that a screen reader is given. */
async function accessibilityTree(person) {
  const devtools = await person.context.newCDPSession(person.page);
  const { nodes } = await devtools.send('Accessibility.getFullAXTree');
  await devtools.detach();
  return nodes.filter(({ ignored }) => !ignored).map(({ role, name, properties = [] }) => ({
    role: role?.value,
    name: name?.value ?? '',
    live: properties.find((property) => property.name === 'live')?.value.value,
  }));
}

async function noSidewaysScroll(person) {
  const wide = await person.page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('.rooms ul, .visually-hidden, .cheers, svg'))
    .map((element) => element.outerHTML.slice(0, 120)));
  assert.deepEqual(wide, [], 'what is wider than the screen');
  const { scroll, screen } = await person.page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, screen: innerWidth }));
  assert.ok(scroll <= screen, `${scroll} px on a screen of ${screen} px`);
}

export const stories = {
  async 'everything can be done with the keyboard alone'(stage) {
    const ann = await stage.enter('ann', { room: 'keys' });
    const bob = await stage.enter('bob', { room: 'lobby' });
    const { keyboard } = bob.page;

    await keyboard.press('Tab');
    assert.equal(await bob.page.evaluate(() => document.activeElement.className), 'skip', 'the first stop leads past the rest');

    await tabTo(bob, 'room-input');
    await keyboard.type('Keys');
    await keyboard.press('Enter');
    await bob.reads('room-title', 'Keys');
    await ann.has('person-bob');

    await tabTo(bob, 'board');
    await keyboard.press('ArrowLeft');
    await ann.has(`cursor-${await bob.session()}`);

    await tabTo(bob, 'chat-input');
    await keyboard.type('Look, no mouse');
    await keyboard.press('Enter');
    await ann.has('message');

    await tabTo(bob, 'status-online');
    await keyboard.press('ArrowRight');
    await keyboard.press('ArrowRight');
    await tabTo(bob, 'status-emoji');
    await keyboard.type('🎯');
    await tabTo(bob, 'status-message');
    await keyboard.type('Deep work');
    await keyboard.press('Enter');
    await ann.reads('person-bob person-doing', '🎯 Deep work');
    await ann.marks('person-bob status-dot', 'status', 'busy');

    await tabTo(bob, 'invisible-switch');
    await keyboard.press('Space');
    await ann.lacks('person-bob');
    await keyboard.press('Space');
    await ann.has('person-bob');

    await tabTo(bob, 'me');
    await keyboard.press('Enter');
    await keyboard.type('Robert');
    await keyboard.press('Enter');
    await ann.reads('person-bob person-name', 'Robert');
    await bob.until('a closed dialog gives the focus back', () => document.activeElement.id, 'me');
  },

  async 'a screen reader is told what everything is'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await bob.sets({ status: 'busy', message: 'Deep work' });
    await bob.says('Hello');
    await ann.has('message');
    await ann.reads('person-bob person-doing', 'Deep work');

    const tree = await accessibilityTree(ann);
    const nameless = tree.filter(({ role, name }) => NAMED.has(role) && !name.trim());
    assert.deepEqual(nameless, [], 'what has no name');
    assert.ok(tree.some(({ role, live }) => role === 'log' && live === 'polite'), 'what is said is read out');
    assert.ok(tree.some(({ role, live }) => role === 'status' && live === 'polite'), 'so is the connection');
    assert.ok(tree.some(({ role, name }) => role === 'switch' && name.startsWith('Invisible')));

    const roster = await ann.at('roster').ariaSnapshot();
    assert.match(roster, /^- list/);
    assert.equal(roster.match(/^ {2}- listitem/gm).length, 2);
    assert.match(roster, /Bob.*Busy|Busy.*Bob/s, 'a dot of some colour is not enough');

    const headings = await ann.page.getByRole('heading').allTextContents();
    assert.deepEqual(headings.slice(0, 2).map((text) => text !== ''), [true, true]);

    await ann.at('me').click();
    const dialog = async () => (await accessibilityTree(ann)).find(({ role }) => role === 'dialog')?.name;
    await eventually('the dialog has a name', dialog, 'Who are you?');
  },

  async 'a screen of 360 pixels shows everything without scrolling sideways'(stage) {
    const ann = await stage.enter('ann', { viewport: { width: 360, height: 740 }, hasTouch: true });
    const bob = await stage.enter('bob', { name: 'Bartholomew Montgomery-Featherstonehaugh the Third' });
    await bob.sets({ status: 'busy', message: 'Writing a rather long message about what is being done', emoji: '🎯' });
    await bob.says(`Donaudampfschifffahrt${'sgesellschaft'.repeat(12)}`);
    await bob.points(0.98, 0.98);
    await ann.has(`cursor-${await bob.session()}`);
    await ann.has('message');
    await ann.has('person-bob person-doing');
    await noSidewaysScroll(ann);
    for (const testid of ['status-save', 'chat-send', 'invisible-switch', 'room-input', 'me']) {
      await ann.at(testid).click({ trial: true }); // nothing lies over it
    }
  },

  async 'a screen of 320 pixels shows a dialog and a lost connection whole'(stage) {
    stage.tolerate(LOST_CONNECTION);
    const gateway = await stage.gateway();
    const ann = await stage.enter('ann', { viewport: { width: 320, height: 740 }, hasTouch: true });
    await ann.at('me').click();
    await noSidewaysScroll(ann);
    const dialog = await ann.at('who').boundingBox();
    for (const testid of ['who-name', 'who-picture', 'who-save']) {
      const box = await ann.at(testid).boundingBox();
      assert.ok(box.x >= dialog.x && box.x + box.width <= dialog.x + dialog.width, `${testid} ends at ${box.x + box.width}, the dialog at ${dialog.x + dialog.width}`);
    }
    await ann.page.keyboard.press('Escape');

    await gateway.end('SIGKILL');
    await ann.until('it is said', () => document.getElementById('connection-text').textContent.startsWith('Reconnecting in'));
    await noSidewaysScroll(ann);
    const title = await ann.page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.getElementById('room-title');
      return { scrollWidth, clientWidth, height: document.querySelector('.here').getBoundingClientRect().height };
    });
    assert.ok(title.scrollWidth <= title.clientWidth, `the name of the room is cut: ${JSON.stringify(title)}`);
    assert.ok(title.height < 25, `one line: ${JSON.stringify(title)}`);
  },

  async 'who asks for less motion gets none'(stage) {
    const ann = await stage.enter('ann', { reducedMotion: 'reduce' });
    const bob = await stage.enter('bob');
    await bob.at('chat-input').pressSequentially('He');
    await ann.has('person-bob person-typing');
    await bob.points(0.3, 0.3);
    await ann.has(`cursor-${await bob.session()}`);
    await bob.points(0.6, 0.6);
    await ann.until('the cursor has moved', () => [...window.room.state.cursors.values()].map(({ x }) => Math.round(x * 10)), [6]);
    const moving = await ann.page.evaluate(async () => {
      // It is drawn with the next frame.
      for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
      return document.getAnimations()
        .filter(({ effect }) => !effect.target.matches('.cheer')) // it fades where it is
        .map(({ effect, animationName, transitionProperty }) => `${animationName ?? transitionProperty} of ${effect.target.className}`);
    });
    assert.deepEqual(moving, []);

    await ann.watchesForCheers();
    await bob.at('board').click();
    await ann.cheers();
    await ann.until('a cheer goes again', () => document.querySelectorAll('.cheer').length, 0);
  },
};
