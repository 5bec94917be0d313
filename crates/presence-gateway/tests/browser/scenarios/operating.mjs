/* The operator's page, in front of real gateways. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Person } from '../person.mjs';
import { SECRET, token } from '../tokens.mjs';
import { tabTo } from './access.mjs';

const ADMIN = { scopes: ['admin'] };
const KEY = { PRESENCE_JWT_SECRET: SECRET, NODE_NAME: 'eu-1' };

/** A gateway that hangs or refuses is what these scenarios are about. */
const NO_ANSWER = /Failed to load resource/;

/** A page of text has no icon. */
const NO_ICON = /status of 404/;

/** An operator in front of the page. */
async function operator(stage, { origin }, { hash = '', claims = ADMIN, query = { token: token('operator', 3_600, claims) }, ...profile } = {}) {
  const page = await (await stage.profile(profile)).newPage();
  const person = new Person(page, 'operator');
  await page.goto(`${origin}/admin?${new URLSearchParams(query)}${hash}`);
  return person;
}

/** Somebody with a socket, in a page of another tab. */
async function somebody(stage, { origin }, id, channel = 'room:lobby') {
  const page = await (await stage.profile()).newPage();
  stage.tolerate(NO_ICON);
  await page.goto(`${origin}/presence.d.ts`);
  await page.evaluate(async ([text, room]) => {
    const { connect } = await import('/presence.js');
    window.presence = connect({ token: text });
    window.room = window.presence.channel(room);
    await window.room.join();
  }, [token(id, 3_600), channel]);
  return page;
}

async function clean(stage, person, state) {
  const axe = await readFile(join(stage.app, '../node_modules/axe-core/axe.min.js'), 'utf8');
  await person.page.evaluate(axe);
  for (const colorScheme of ['light', 'dark']) {
    await person.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const width of [320, 768, 1_440]) {
      await person.page.setViewportSize({ width, height: 800 });
      const found = await person.page.evaluate(async () => {
        const { violations, passes } = await window.axe.run(document, { resultTypes: ['violations', 'passes'] });
        return {
          passes: passes.length,
          wide: document.documentElement.scrollWidth - innerWidth,
          violations: violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, html }) => `${id}: ${target.flat().join(' >>> ')}: ${any[0]?.message ?? html}`)),
        };
      });
      const where = `${state}, ${colorScheme}, ${width} px`;
      assert.deepEqual(found.violations, [], where);
      assert.ok(found.wide <= 0, `${where}: ${found.wide} px too wide`);
      assert.ok(found.passes > 10, 'axe has looked');
    }
  }
}

export const stories = {
  async 'an operator sees who comes, asks why, and throws them out'(stage) {
    const gateway = await stage.gateway(KEY);
    const ann = await somebody(stage, gateway, 'ann');
    const root = await operator(stage, gateway);
    await root.reads('polling', 'eu-1 answers');
    assert.equal(new URL(root.page.url()).search, '', 'the token is out of the address');
    await root.reads('healthy', 'Nothing: all gateways and stores work.');
    await root.reads('room-room:lobby', (text) => text?.startsWith('room:lobby1'));
    await root.reads('live', (text) => text?.includes('ann') && text.includes('room:lobby'));
    await root.reads('node-eu-1', (text) => /People online1/.test(text));

    const { keyboard } = root.page;
    await root.at('search-id').fill('ann');
    await keyboard.press('Enter');
    await root.reads('explanation-title', 'Person ann');
    await root.reads('shown', 'Shown online');
    assert.equal(await root.page.evaluate(() => document.activeElement.id), 'explanation-title', 'the answer has the focus');
    await ann.evaluate(() => window.presence.setStatus({ status: 'busy' }));
    await root.at('explain-again').click();
    await root.reads('shown', 'Shown busy');

    await root.at('kick').click();
    await root.at('confirm-do').click();
    await root.reads('toast', 'ann was thrown out');
    await root.reads('shown', 'Shown offline');
    await root.at('live-text').fill('kick');
    await root.reads('live', (text) => text?.includes('session'));

    await root.at('search-kind').selectOption('room');
    await root.at('search-id').fill('room:lobby');
    await root.at('search-go').click();
    await root.reads('explanation-title', 'Room room:lobby');
    await root.reads('people', '0 people, 0 sessions');
    await root.at('explanation-close').click();
    await root.until('it is closed', () => document.getElementById('explanation').hidden);
    await root.page.goBack();
    await root.reads('explanation-title', 'Room room:lobby');
  },

  async 'who has no token for it sees nothing of the operator\'s page'(stage) {
    stage.tolerate(NO_ANSWER);
    const gateway = await stage.gateway(KEY);
    await somebody(stage, gateway, 'ann');
    const nobody = await operator(stage, gateway, { query: {} });
    await nobody.until('it asks for a token', () => document.getElementById('sign-in').open);
    await nobody.at('sign-in-token').fill(token('eve', 3_600));
    await nobody.at('sign-in-save').click();
    await nobody.reads('sign-in-why', (text) => text?.startsWith('Your token does not allow this'));
    assert.doesNotMatch(await nobody.look('live'), /ann/);
    await clean(stage, nobody, 'sign in');
    await nobody.at('sign-in-token').fill(token('operator', 3_600, ADMIN));
    await nobody.at('sign-in-save').click();
    await nobody.reads('live', (text) => text?.includes('ann'));
  },

  async 'the operator\'s page has no finding of axe and fits a small screen'(stage) {
    const gateway = await stage.gateway(KEY);
    await somebody(stage, gateway, 'ann');
    const root = await operator(stage, gateway);
    await root.reads('live', (text) => text?.includes('ann'));
    await clean(stage, root, 'overview');
    for (const [hash, title] of [['#user=ann', 'Person ann'], ['#room=room:lobby', 'Room room:lobby']]) {
      await root.page.evaluate((to) => {
        location.hash = to;
      }, hash);
      await root.reads('explanation-title', title);
      await root.until('it is explained', () => document.querySelectorAll('#explanation-body table').length > 0);
      await clean(stage, root, title);
    }
  },

  async 'the operator\'s page needs no mouse'(stage) {
    const gateway = await stage.gateway(KEY);
    await somebody(stage, gateway, 'ann');
    const root = await operator(stage, gateway);
    await root.has('room-room:lobby');
    const { keyboard } = root.page;
    await keyboard.press('Tab');
    assert.equal(await root.page.evaluate(() => document.activeElement.className), 'skip', 'the first stop leads past the rest');
    await tabTo(root, 'search-id');
    await keyboard.type('ann');
    await tabTo(root, 'search-go');
    await keyboard.press('Enter');
    await root.reads('shown', 'Shown online');
    await tabTo(root, 'erase');
    await keyboard.press('Enter');
    await root.until('it asks first', () => document.activeElement.id, 'confirm-cancel');
    await keyboard.press('Escape');
    await root.until('the focus is back', () => document.activeElement.dataset.testid, 'erase');
    await tabTo(root, 'rooms-by-size');
    await keyboard.press('ArrowRight');
    await root.until('the other order', () => document.querySelector('[data-testid=rooms-by-rate]').checked);
    await tabTo(root, 'live-pause');
    await keyboard.press('Enter');
    await root.reads('live-pause', 'Go on');
  },

  async 'without a key the operator\'s page tells nothing of who hides'(stage) {
    const gateway = await stage.gateway({ NODE_NAME: 'eu-1' });
    const ann = await stage.enter('ann');
    const root = await operator(stage, gateway, { query: {} });
    await root.reads('polling', 'eu-1 answers');
    await root.reads('live-note', (text) => text?.includes('says who hides'));
    await ann.at('invisible-switch').check();
    assert.doesNotMatch(await root.look('live'), /ann/);
    await root.at('search-id').fill('ann');
    await root.at('search-go').click();
    await root.reads('shown', 'Shown offline');
  },

  async 'a gateway that hangs under the operator\'s page is late, and then dead'(stage) {
    stage.tolerate(NO_ANSWER);
    const gateway = await stage.gateway(KEY);
    const root = await operator(stage, gateway);
    await root.reads('polling', 'eu-1 answers');
    gateway.pause();
    stage.atEnd(async () => gateway.goOn());
    await root.marks('polling', 'state', 'late', 5_000);
    await root.marks('polling', 'state', 'dead', 20_000);
    await clean(stage, root, 'dead');
    gateway.goOn();
    await root.marks('polling', 'state', 'alive');
  },

  async 'the operator\'s page shows a gateway, a Redis and an endpoint of webhooks that fail, late within 5 s and dead after a lease'(stage) {
    stage.tolerate(NO_ANSWER);
    const redis = await stage.redis();
    let status = 200;
    const endpoint = await stage.serve((request, answer) => {
      request.resume().on('end', () => answer.writeHead(status).end());
    });
    const webhooks = { PRESENCE_WEBHOOK_URL: endpoint, PRESENCE_WEBHOOK_SECRET: Buffer.alloc(32, SECRET).toString('base64') };
    const settings = { ...KEY, ...webhooks, REDIS_URL: redis.url };
    const first = await stage.gateway(settings);
    const second = await stage.another({ ...settings, NODE_NAME: 'eu-2' });
    const bob = await somebody(stage, second, 'bob');
    const root = await operator(stage, first);
    await root.marks('node-eu-2', 'state', 'alive');
    await root.reads('node-eu-2', (text) => /People online1/.test(text));
    await root.reads('live', (text) => text?.includes('bob'));
    // Asked of the one, it is the other that knows.
    await root.page.evaluate(() => {
      location.hash = '#user=bob';
    });
    await root.reads('explanation-body', (text) => text?.includes('eu-2'));

    second.pause();
    await root.marks('node-eu-2', 'state', 'late', 5_000);
    await root.reads('trouble-gateway', (text) => text?.startsWith('Late'));
    await root.marks('node-eu-2', 'state', 'dead', 30_000);
    second.goOn();
    await root.marks('node-eu-2', 'state', 'alive', 20_000);

    status = 500;
    await bob.evaluate(() => window.presence.setStatus({ status: 'busy' }));
    await root.reads('trouble-webhooks', (text) => text?.startsWith('Late'), 5_000);
    await root.reads('trouble-webhooks', (text) => text?.startsWith('Dead'), 30_000);
    status = 200;
    await root.lacks('trouble-webhooks', 60_000);

    redis.pause();
    try {
      await root.reads('trouble-shared_store', (text) => text?.startsWith('Late'), 5_000);
    } catch {
      // The machine had something else to do: once more.
      redis.goOn();
      await root.lacks('trouble-shared_store', 20_000);
      redis.pause();
      await root.reads('trouble-shared_store', (text) => text?.startsWith('Late'), 5_000);
    }
    await root.until('rooms are those of one gateway', () => !document.getElementById('rooms-note').hidden, true, 10_000);
    await root.reads('trouble-shared_store', (text) => text?.startsWith('Dead'), 30_000);
    redis.goOn();
    await root.lacks('trouble-shared_store', 20_000);
  },

  async 'an operator drains a gateway from another one, and is warned of the last one'(stage) {
    const redis = await stage.redis();
    const settings = { ...KEY, REDIS_URL: redis.url, PRESENCE_GRACE: '1s' };
    const first = await stage.gateway(settings);
    const second = await stage.another({ ...settings, NODE_NAME: 'eu-2' });
    const root = await operator(stage, first);
    await root.marks('node-eu-2', 'state', 'alive');
    await root.reads('total-gateways', '2');
    await root.page.getByRole('button', { name: 'Drain eu-2' }).click();
    assert.doesNotMatch(await root.page.locator('#confirm-text').textContent(), /No other gateway is alive/);
    await root.at('confirm-do').click();
    await root.reads('toast', 'eu-2 is stopping');
    await second.gone();
    await root.marks('node-eu-2', 'state', 'stopped');
    await clean(stage, root, 'one has stopped');
    // It never counts as late or dead: not when its lease has run out either.
    await root.until('nothing is degraded', () => document.querySelector('[data-testid=trouble-gateway]') === null);
    await root.page.getByRole('button', { name: 'Drain eu-1' }).click();
    assert.match(await root.page.locator('#confirm-text').textContent(), /No other gateway is alive/);
  },

  async 'an operator drains a gateway that hangs: it was asked, and does it when it goes on'(stage) {
    const redis = await stage.redis();
    const settings = { ...KEY, REDIS_URL: redis.url };
    const first = await stage.gateway(settings);
    const second = await stage.another({ ...settings, NODE_NAME: 'eu-2' });
    const root = await operator(stage, first);
    await root.marks('node-eu-2', 'state', 'alive');
    await root.marks('node-eu-2', 'silent', 'false');
    second.pause();
    await root.marks('node-eu-2', 'silent', 'true');
    await root.page.getByRole('button', { name: 'Drain eu-2' }).click();
    await root.at('confirm-do').click();
    await root.reads('toast', 'eu-2 was asked to stop, and has not answered yet');
    second.goOn();
    await second.gone();
  },

  async 'a gateway that is late at first sight shows the hour before once it answers'(stage) {
    const redis = await stage.redis();
    const settings = { ...KEY, REDIS_URL: redis.url };
    const first = await stage.gateway(settings);
    const second = await stage.another({ ...settings, NODE_NAME: 'eu-2' });
    const root = await operator(stage, first);
    const span = (name) => root.reads(`node-${name}`, (text) => /The pictures show the last [12]\d s/.test(text ?? ''), 30_000);
    await span('eu-2');
    await root.page.close();
    second.pause();
    const again = await operator(stage, first);
    await again.marks('node-eu-2', 'state', 'late');
    // The page knows of the other one by now.
    await again.reads('node-eu-1', (text) => /The pictures show the last/.test(text ?? ''));
    second.goOn();
    await again.marks('node-eu-2', 'state', 'alive');
    await again.reads('node-eu-2', (text) => /The pictures show the last [1-9]\d s/.test(text ?? ''), 4_000);
  },

  async 'an operator looks back over more than the page shows, and misses nothing'(stage) {
    const gateway = await stage.gateway(KEY);
    const ann = await somebody(stage, gateway, 'ann');
    await ann.evaluate(async () => {
      for (let n = 0; n < 400; n += 1) {
        const channel = window.presence.channel(`page:${n}`);
        await channel.join();
        await channel.leave();
      }
    });
    const root = await operator(stage, gateway);
    await root.at('live-text').fill('joined page:');
    const kinds = () => [...new Set([...document.querySelectorAll('#live li')].map((it) => it.dataset.what))];
    await root.until('nothing but joins', kinds, ['joined']);
    await root.until('the latest', () => document.querySelectorAll('#live li').length, 300);
    const pages = () => [...document.querySelectorAll('#live li')].map((it) => /page:\d+/.exec(it.textContent)[0]);
    assert.equal((await root.page.evaluate(pages))[0], 'page:399');
    await root.at('live-older').click();
    await root.until('all of them', () => document.querySelectorAll('#live li').length, 400);
    await root.until('there are no more', () => document.getElementById('live-older').hidden);
    assert.deepEqual(await root.page.evaluate(pages), Array.from({ length: 400 }, (_, n) => `page:${399 - n}`));
    await root.reads('live-pause', 'Go on');
    await root.at('live-pause').click();
    await root.until('the latest again', () => document.querySelectorAll('#live li').length, 300);
  },
};
