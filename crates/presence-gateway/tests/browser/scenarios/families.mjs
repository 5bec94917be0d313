/* The browser builds of the published clients, each loaded as its users load it, in one room. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

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
  const server = createServer(async (request, response) => {
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
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stage.atEnd(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

export const stories = {
  async 'the browser builds of Phoenix, Rails, AnyCable and Pusher meet a native page in one room'(stage) {
    const { address } = await stage.gateway(SETTINGS);
    const origin = await serve(stage, address);
    const profile = await stage.profile();
    const pages = [];
    for (const user of PAGES) {
      const tab = await profile.newPage();
      await tab.goto(`${origin}/${user}.html?${new URLSearchParams({ at: address, user, key: APP.key })}`);
      const see = (what, wanted) => eventually(`${user} sees ${what}`, () => tab.evaluate((it) => window.room[it](), what), wanted);
      const does = (what, argument) => tab.evaluate(([it, that]) => window.room[it](that), [what, argument]);
      pages.push({ user, see, does });
    }
    const names = Object.fromEntries(PAGES.map((user) => [user, user]));
    for (const page of pages) await page.see('names', names);

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
    assert.deepEqual(Object.keys(names), [PAGES[0]]);
  },
};
