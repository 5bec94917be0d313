/* The browser client in somebody else's page, as the README has it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const README = new URL('../../../../../README.md', import.meta.url);
const PAGE = new URL('../fixtures/third-party.html', import.meta.url);

/** The page with the README's snippet in it, for a gateway that listens elsewhere. */
async function page(address) {
  const [, snippet] = /^```html\n(.*?)^```$/ms.exec(await readFile(README, 'utf8')) ?? [];
  assert.ok(snippet, 'the README has a snippet');
  const html = await readFile(PAGE, 'utf8');
  return html.replace("<!-- README's snippet -->", () => snippet.replaceAll('127.0.0.1:4001', address));
}

export const stories = {
  async 'the ten lines of the README do what they say'(stage) {
    const { address } = await stage.gateway();
    const html = await page(address);
    const server = createServer((request, response) => {
      if (request.url === '/') response.setHeader('content-type', 'text/html; charset=utf-8').end(html);
      else response.writeHead(204).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    stage.atEnd(async () => {
      server.closeAllConnections();
      server.close();
    });

    const tab = await (await stage.profile()).newPage();
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    await tab.waitForFunction(() => document.title === '1 here: Ann', null, { polling: 50, timeout: 15_000 });
    const bob = await stage.enter('bob', { room: 'document:7' });
    await tab.waitForFunction(() => document.title === '2 here: Ann, Bob', null, { polling: 50, timeout: 15_000 });
    await bob.reads('person-ann person-name', 'Ann');
    await bob.page.evaluate(() => window.presence.close());
    await tab.waitForFunction(() => document.title === '1 here: Ann', null, { polling: 50, timeout: 15_000 });
  },
};
