/* The browser builds of the published clients, each loaded as its users load it, in one room. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { colorsOf } from '../../../../presence-web/packages/presence-client/src/index.js';
import { eventually } from '../waiting.mjs';

const FIXTURES = new URL('../fixtures/families/', import.meta.url).pathname;
const APP = { appId: '3', key: 'key-of-3', secret: '7ad3773142a6692b25b8' };
const SETTINGS = {
  PRESENCE_PUSHER_APP_ID: APP.appId,
  PRESENCE_PUSHER_KEY: APP.key,
  PRESENCE_PUSHER_SECRET: APP.secret,
  TYPING_TTL: '60s', // until the last page has seen it
};
const PAGES = ['native', 'phoenix', 'phoenix-module', 'rails', 'rails-module', 'anycable', 'pusher'];

/** Where the pages come from: the fixtures, the installed clients, and the signatures of a Pusher application. */
async function serve(stage, address) {
  const Server = createRequire(join(stage.modules, 'package.json'))('pusher');
  const [host, port] = address.split(':');
  const application = new Server({ ...APP, host, port, useTLS: false });
  return stage.serve(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://pages');
    try {
      if (pathname === '/pusher/auth') {
        const { socket_id: socket, channel_name: channel, user, name = user } = Object.fromEntries(new URLSearchParams(await text(request)));
        const signed = application.authorizeChannel(socket, channel, { user_id: user, user_info: { name } });
        response.setHeader('content-type', 'application/json').end(JSON.stringify(signed));
        return;
      }
      // The URL parser has taken every `..` out of the path.
      const module = pathname.startsWith('/modules/');
      const body = await readFile(module ? join(stage.modules, 'node_modules', pathname.slice('/modules/'.length)) : join(FIXTURES, pathname));
      const type = pathname.endsWith('.html') ? 'text/html' : 'text/javascript';
      response.setHeader('content-type', `${type}; charset=utf-8`).end(body);
    } catch (error) {
      response.writeHead(pathname === '/favicon.ico' ? 204 : 404).end(error.message);
    }
  });
}

/** A tab for each of `users` in one room: they see each other's names, typing and renaming, until one after the other has left. */
async function meet(stage, users) {
  const { address } = await stage.gateway(SETTINGS);
  const origin = await serve(stage, address);
  const profile = await stage.profile();
  const pages = [];
  for (const user of users) {
    const tab = await profile.newPage();
    await tab.goto(`${origin}/${user}.html?${new URLSearchParams({ at: address, user, key: APP.key })}`);
    const see = (what, wanted) => eventually(`${user} sees ${what}`, () => tab.evaluate((it) => window.room[it](), what), wanted);
    const does = (what, argument) => tab.evaluate(([it, that]) => window.room[it](that), [what, argument]);
    pages.push({ user, see, does });
  }
  const names = Object.fromEntries(users.map((user) => [user, user]));
  for (const page of pages) await page.see('names', names);
  const colors = Object.fromEntries(colorsOf(users.map((id) => ({ id }))));
  assert.equal(new Set(Object.values(colors)).size, users.length, 'nobody looks like somebody else');
  for (const page of pages) await page.see('colors', colors);

  for (const page of pages) {
    await page.does('type');
    for (const other of pages.filter((it) => it !== page)) await other.see('typists', (it) => it.includes(page.user));
  }
  for (const page of pages) {
    names[page.user] = `${page.user} was here`;
    await page.does('rename', names[page.user]);
    for (const other of pages.filter((it) => it !== page)) await other.see('names', names);
  }
  while (pages.length > 1) {
    const page = pages.pop();
    await page.does('leave');
    delete names[page.user];
    for (const other of pages) await other.see('names', names);
  }
  assert.deepEqual(Object.keys(names), [users[0]]);
}

export const stories = {
  async 'the browser builds of Phoenix, Rails, AnyCable and Pusher meet a native page in one room'(stage) {
    await meet(stage, PAGES);
  },

  async 'a page of three custom elements and one script meets the pages of Phoenix and Rails'(stage) {
    await meet(stage, ['elements', 'phoenix', 'rails']);
  },

  async 'custom elements show where others point, and stay in the room while they are moved'(stage) {
    const { address } = await stage.gateway(SETTINGS);
    const origin = await serve(stage, address);
    const opens = async (user) => {
      const tab = await (await stage.profile()).newPage();
      await tab.goto(`${origin}/elements.html?${new URLSearchParams({ at: address, user })}`);
      return { tab, sees: (what, wanted) => eventually(`${user} sees ${what}`, () => tab.evaluate((it) => window.room[it](), what), wanted) };
    };
    const [ann, bob] = [await opens('ann'), await opens('bob')];
    await ann.sees('names', { ann: 'ann', bob: 'bob' });
    const area = await bob.tab.locator('presence-cursors').boundingBox();
    await bob.tab.mouse.move(area.x + area.width / 2, area.y + area.height / 4);
    await ann.sees('cursors', [['bob', 50, 25]]);
    await bob.tab.mouse.move(area.x + area.width / 2, area.y + area.height + 40);
    await ann.sees('cursors', []);

    // Turbo and LiveView move elements. Whoever is in the room hears of no leave; the broadcast comes after whatever was told.
    await ann.tab.evaluate(async () => {
      const { client } = await import(document.querySelector('script[src]').src);
      const room = client().channel('room:1');
      window.heard = [];
      room.on('leave', ({ id }) => window.heard.push(`${id} left`));
      room.on('broadcast:moved', () => window.heard.push('moved'));
    });
    await bob.tab.evaluate(async () => {
      const { client } = await import(document.querySelector('script[src]').src);
      for (const element of document.querySelectorAll('[channel]')) document.body.append(element);
      await client().channel('room:1').broadcast('moved');
    });
    await eventually('ann has heard', () => ann.tab.evaluate(() => window.heard), ['moved']);
    await bob.sees('names', { ann: 'ann', bob: 'bob' });
    await bob.tab.evaluate(() => window.room.leave());
    await ann.sees('names', { ann: 'ann' });
  },
};
