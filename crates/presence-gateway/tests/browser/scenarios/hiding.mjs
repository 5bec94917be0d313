/* Invisible is invisible: to others like leaving, to oneself marked. */

import assert from 'node:assert/strict';

const SESSION = /[0-9a-f]{32}/g;

/** What a page was told of a person, with what differs between any two people and moments taken out. */
function told(frames, person) {
  return frames
    .filter((frame) => /"presence:(currentUsers|user|changes|typing|cursors|status|summary|unchanged)/.test(frame))
    .map((frame) => frame
      .replaceAll(`"${person}"`, '"WHO"')
      .replaceAll(`"${person[0].toUpperCase()}${person.slice(1)}"`, '"NAME"')
      .replace(SESSION, 'SESSION')
      .replace(/"version":\d+/g, '"version":0')
      .replace(/"(joined_at|last_seen)":\d+/g, '"$1":0')
      .replace(/"color":"#[0-9a-f]{6}"/g, '"color":"#"'));
}

export const stories = {
  async 'going invisible is told exactly like leaving, and coming back like coming'(stage) {
    // Nobody stops typing by themselves before they are looked at.
    await stage.gateway({ TYPING_TTL: '60s' });
    const ann = await stage.enter('ann');
    /** Somebody who is in the middle of things. */
    const enter = async (id) => {
      const person = await stage.enter(id);
      await ann.has(`person-${id}`);
      await person.at('chat-input').pressSequentially('He');
      await ann.has(`person-${id} person-typing`);
      await person.points(0.3, 0.3);
      await ann.has(`cursor-${await person.session()}`);
      return person;
    };
    /** The frames to Ann until she has seen the end of what `act` does. */
    const during = async (act, end) => {
      await ann.caughtUp();
      const before = ann.frames.length;
      await act();
      await end();
      await ann.caughtUp();
      return ann.frames.slice(before);
    };

    const bob = await enter('bob');
    const leaving = await during(() => bob.page.evaluate(() => window.presence.close()), () => ann.lacks('person-bob'));
    const eve = await enter('eve');
    // By itself: the pointer stays on the board and the focus in the field, or they would end first what is to end now.
    const hiding = await during(() => eve.page.evaluate(() => document.getElementById('invisible').click()), () => ann.lacks('person-eve'));
    assert.ok(told(leaving, 'bob').length > 0);
    assert.deepEqual(told(hiding, 'eve'), told(leaving, 'bob'));
    await ann.reads('count', '1');

    // What a hidden person does with the mouse and the keyboard is nobody's business.
    const unseen = await during(async () => {
      await eve.points(0.7, 0.7);
      await eve.at('chat-input').pressSequentially('llo');
      await eve.sets({ message: 'Behind the curtain' });
      await eve.until('her message is kept', () => window.presence.self.customMessage, 'Behind the curtain');
      await eve.page.evaluate(() => window.presence.ping()); // the gateway has heard all of it
    }, () => ann.reads('count', '1'));
    assert.deepEqual(told(unseen, 'eve'), []);
    await eve.sets({ message: '' });
    await eve.until('the message is gone', () => window.presence.self.customMessage ?? null, null);

    const hidden = Date.now();
    await eve.at('chat-input').fill('');
    const appearing = await during(() => eve.at('invisible-switch').press('Space'), () => ann.has('person-eve'));
    const coming = await during(() => stage.enter('dan'), () => ann.has('person-dan'));
    assert.deepEqual(told(appearing, 'eve'), told(coming, 'dan'));
    const joinedAt = await ann.page.evaluate(() => window.room.state.users.find(({ id }) => id === 'eve').joinedAt);
    assert.ok(joinedAt >= hidden, 'since when she was here in secret stays her secret');
  },

  async 'what was shown until later is shown again after hiding, and ends then'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    const mine = () => (({ status, customMessage, expiresAt }) => [status, customMessage, expiresAt ?? null])(window.presence.self);
    await bob.at('status-busy').check({ force: true });
    await bob.at('status-message').fill('Lunch');
    await bob.at('status-clear').selectOption('1800');
    await bob.at('status-save').click();
    const [, , end] = await bob.until('it has an end', mine, ([status, , expiresAt]) => status === 'busy' && expiresAt > 0);
    for (const round of [1, 2]) {
      await bob.at('invisible-switch').check();
      await ann.lacks('person-bob');
      await bob.until(`hiding has no end (${round})`, mine, ['invisible', 'Lunch', null]);
      await bob.at('invisible-switch').uncheck();
      await ann.has('person-bob');
      await bob.until(`all is as before (${round})`, mine, ['busy', 'Lunch', end]);
    }
    // What is written while one hides counts, and what ends meanwhile does not come back.
    await bob.at('status-message').fill('Short');
    await bob.at('status-clear').selectOption('30');
    await bob.at('status-save').click();
    await bob.until('it ends soon', mine, ([, message, expiresAt]) => message === 'Short' && expiresAt < end);
    await bob.at('invisible-switch').check();
    await bob.until('hidden', mine, ['invisible', 'Short', null]);
    await bob.at('status-message').fill('Back at two');
    await bob.at('status-clear').selectOption('never');
    await bob.at('status-save').click();
    await bob.until('written in secret', mine, ['invisible', 'Back at two', null]);
    await bob.at('invisible-switch').uncheck();
    await bob.until('shown without an end', mine, ['busy', 'Back at two', null]);
  },

  async 'who is invisible sees so, in every tab and over a reload'(stage) {
    const [ann, bob] = [await stage.enter('ann'), await stage.enter('bob')];
    await ann.has('person-bob');
    const second = await stage.enter('bob', { context: bob.context });
    await ann.reads('person-bob person-tabs', '2 tabs');
    await ann.listens();

    await bob.at('invisible-switch').check();
    await ann.lacks('person-bob');
    for (const tab of [bob, second]) {
      await tab.has('self-row');
      await tab.lacks('person-bob');
      await tab.has('person-ann');
      await tab.reads('count', '1');
      await tab.switched('invisible-switch', true);
      await tab.marks('status-form', 'status', 'invisible');
    }

    await bob.page.reload();
    await bob.arrived();
    await bob.has('self-row');
    await bob.switched('invisible-switch', true);
    await bob.has('person-ann');
    // A new tab does not give them away either.
    const third = await stage.enter('bob', { context: bob.context });
    await third.has('self-row');
    await ann.caughtUp();
    // One of the two tabs may be told before the other, as when a browser with both is closed.
    const [gone, ...before] = (await ann.heard()).filter((line) => /bob/.test(line)).reverse();
    assert.equal(gone, 'leave bob left');
    assert.ok(before.length <= 1 && before.every((line) => line === 'update bob'), before.join());

    await third.at('invisible-switch').uncheck();
    await ann.has('person-bob');
    for (const tab of [bob, second, third]) {
      await tab.lacks('self-row');
      await tab.switched('invisible-switch', false);
    }
  },
};
