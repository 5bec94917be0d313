/* Two people in a room: what each sees of the other. */

import assert from 'node:assert/strict';

import { eventually } from '../waiting.mjs';

export const stories = {
  async 'two people see each other: face, name, status and number'(stage) {
    const ann = await stage.enter('ann');
    await ann.reads('count', '1');
    await ann.listens();
    const bob = await stage.enter('bob', { name: 'Bob Baker' });

    for (const [who, other, name] of [[ann, 'bob', 'Bob Baker'], [bob, 'ann', 'Ann']]) {
      await who.reads('count', '2');
      await who.has(`face-${other}`);
      await who.reads(`person-${other} person-name`, name);
      await who.marks(`person-${other} status-dot`, 'status', 'online');
      await who.marks(`face-${other} status-dot`, 'status', 'online');
      await who.reads(`person-${who.id} person-you`, 'you');
    }
    await ann.reads('event', 'Bob Baker joined');
    const joins = (await ann.heard()).filter((line) => line.startsWith('join'));
    assert.deepEqual(joins, ['join bob']);
  },

  async 'a status is seen with its message and its emoji'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');

    await bob.sets({ status: 'busy', message: 'Deep work', emoji: '🎯' });
    for (const who of [ann, bob]) {
      await who.reads('person-bob person-doing', '🎯 Deep work');
      await who.marks('person-bob status-dot', 'status', 'busy');
      await who.marks('face-bob status-dot', 'status', 'busy');
    }
    await bob.marks('status-form', 'status', 'busy');

    // One who comes later sees it too, and a message alone leaves the rest as it was.
    await bob.sets({ message: 'Deeper work' });
    const eve = await stage.enter('eve');
    await eve.reads('person-bob person-doing', '🎯 Deeper work');
    await eve.marks('person-bob status-dot', 'status', 'busy');

    await bob.at('status-reset').click();
    await ann.lacks('person-bob person-doing');
    await ann.marks('person-bob status-dot', 'status', 'online');
    await bob.fills('status-message', '');
  },

  async 'a status that cannot be is refused beside the form'(stage) {
    const bob = await stage.enter('bob');
    await bob.sets({ status: 'busy', message: 'Deep work', emoji: 'not an emoji' });
    await bob.has('status-problem');
    await bob.until('the refusal is shown', () => !document.getElementById('status-problem').hidden);
    await bob.sets({ emoji: '🎯' });
    await bob.reads('person-bob person-doing', '🎯 Deep work');
    await bob.until('the refusal is gone', () => document.getElementById('status-problem').hidden);
  },

  async 'typing is seen, and it ends with an empty field or with the message'(stage) {
    // Long enough that it does not end by itself meanwhile.
    await stage.gateway({ TYPING_TTL: '60s' });
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const bobTypes = async () => {
      await ann.reads('typing', 'Bob is typing');
      await ann.reads('person-bob person-typing', 'typing');
    };
    const bobIsQuiet = async () => {
      await ann.reads('typing', '');
      await ann.lacks('person-bob person-typing');
    };

    await bob.at('chat-input').pressSequentially('He');
    await bobTypes();
    await bob.answered();
    assert.equal(await bob.look('typing'), '', 'one is not told of oneself');

    await bob.at('chat-input').fill('');
    await bobIsQuiet();

    await bob.at('chat-input').pressSequentially('Hello');
    await bobTypes();
    await bob.at('chat-input').press('Enter');
    await ann.has('message');
    await bobIsQuiet();
  },

  async 'typing ends one time to live after the last key'(stage) {
    await stage.gateway({ TYPING_TTL: '10s' });
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    // The pages take the times: they are on one machine, and not kept waiting by what looks at them.
    await bob.page.evaluate(() => document.getElementById('chat-input').addEventListener('input', () => { window.lastKey = Date.now(); }));
    await ann.page.evaluate(() => window.room.on('typing', ({ users }) => { window.lastChange = [users.length, Date.now()]; }));
    await bob.at('chat-input').pressSequentially('And');
    await ann.reads('typing', 'Bob is typing');
    const [, quiet] = await ann.until('Bob types no more', () => window.lastChange, ([typists]) => typists === 0, 30_000);
    const lasted = quiet - await bob.page.evaluate(() => window.lastKey);
    assert.ok(lasted > 9_500, `who thinks for a moment is still typing: ${lasted} ms`);
    // By itself it would have lasted from the last frame, which was halfway.
    assert.ok(lasted < 14_500, `nobody thinks for ${lasted} ms`);
    await ann.reads('typing', '');
  },

  async 'the typing of a tab that crashes ends, and after the grace its person is gone'(stage) {
    await stage.gateway({ PRESENCE_GRACE: '2s' });
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await ann.listens();
    await bob.at('chat-input').pressSequentially('He');
    await bob.points(0.5, 0.5);
    await ann.reads('typing', 'Bob is typing');

    await bob.page.goto('chrome://crash').catch(() => {});
    await ann.reads('typing', '');
    await ann.lacks('person-bob');
    await ann.reads('count', '1');
    const left = (await ann.heard()).filter((line) => line.startsWith('leave'));
    assert.deepEqual(left, ['leave bob lost']);
    await eventually('no cursor is left', () => ann.cursors(), 0);
  },

  async 'a cursor moves under its name, and goes with the pointer'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob', { name: 'Bob Baker' })];
    await ann.has('person-bob');
    const session = await bob.session();
    const cursor = `cursor-${session}`;
    // How far along the board the cursor is, once it has stopped gliding.
    const place = () => ann.page.evaluate((id) => {
      const board = document.getElementById('board');
      const arrow = board.shadowRoot.querySelector(`[data-session="${id}"]`);
      if (!arrow || arrow.getAnimations().length) return null;
      const [at, on] = [arrow.getBoundingClientRect(), board.getBoundingClientRect()];
      const tenths = (part) => Math.round(part * 10) / 10;
      return [tenths((at.left - on.left) / on.width), tenths((at.top - on.top) / on.height)];
    }, session);

    await bob.points(0.2, 0.3);
    await ann.reads(cursor, 'Bob Baker');
    await ann.marks(cursor, 'user', 'bob');
    await eventually('the cursor is where Bob points', place, [0.2, 0.3]);
    for (let step = 2; step <= 8; step += 1) await bob.points(step / 10, 0.6);
    await eventually('the cursor has followed', place, [0.8, 0.6]);
    await bob.answered();
    assert.equal(await bob.look(cursor), null, 'one does not see one\'s own');

    await ann.watchesForCheers();
    await bob.at('board').click();
    await ann.cheers();

    await bob.page.mouse.move(2, 2);
    await eventually('the cursor is hidden', () => ann.cursors(), 0);
  },

  async 'the arrow keys point, too'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await bob.at('board').focus();
    for (let step = 0; step < 3; step += 1) await bob.page.keyboard.press('Shift+ArrowRight');
    await ann.until('Bob points right of the middle', () => [...window.room.state.cursors.values()].map(({ x, y }) => [x.toFixed(2), y]), [['0.80', 0.5]]);
    await ann.watchesForCheers();
    await bob.page.keyboard.press('Enter');
    await ann.cheers();
  },

  async 'a message is read by everyone, once'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await bob.says('Shall we?');
    await ann.has('message');
    await ann.says('Yes.');
    for (const who of [ann, bob]) {
      await who.until('both lines are there, in order', () => [...document.querySelectorAll('[data-testid=message]')].map((line) => [
        line.dataset.user, line.querySelector('.by').textContent, line.querySelector('.text').textContent,
      ]), [['bob', 'Bob', 'Shall we?'], ['ann', 'Ann', 'Yes.']]);
    }
    assert.equal(await bob.at('chat-input').inputValue(), '');
  },

  async 'one goes to another room and back, and the numbers beside the rooms follow'(stage) {
    const [ann, bob] = [await stage.enter('ann', { room: 'lobby' }), await stage.enter('bob', { room: 'lobby' })];
    await ann.reads('count', '2');
    await bob.at('room-design-review').click();
    await bob.reads('room-title', 'Design review');
    await bob.marks('room-design-review', 'aria-current', 'page');
    await bob.reads('count', '1');
    await ann.lacks('person-bob');
    await ann.reads('room-count-design-review', '1');
    await ann.reads('room-count-lobby', '1');

    await bob.page.goBack();
    await ann.has('person-bob');
    await ann.reads('room-count-design-review', '0');
    await bob.reads('room-title', 'Lobby');
  },

  async 'a new name is seen by everyone, without a leave and a join'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    await ann.listens();
    await bob.at('me').click();
    await bob.at('who-name').fill('Robert');
    await bob.at('who-save').click();
    await ann.reads('person-bob person-name', 'Robert');
    await bob.reads('me', 'Robert');
    await ann.caughtUp();
    const moves = (await ann.heard()).filter((line) => /^(join|leave)/.test(line));
    assert.deepEqual(moves, []);
  },
};
