/* The browser client in somebody else's page, as the README and the manual have it. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { eventually } from '../waiting.mjs';

const README = new URL('../../../../../README.md', import.meta.url);
const MANUAL = new URL('../../../../../docs/browser.md', import.meta.url);
const ELEMENTS = new URL('../../../../../docs/elements.md', import.meta.url);
const PAGE = new URL('../fixtures/third-party.html', import.meta.url);

/** The first piece of HTML on a page of the documentation, for a gateway that listens at `address`. */
async function snippet(page, address) {
  const [, html] = /^```html\n(.*?)^```$/ms.exec(await readFile(page, 'utf8')) ?? [];
  assert.ok(html, 'there is a piece of HTML');
  return html.replaceAll('127.0.0.1:4001', address);
}

/** Serves `html` from a site of its own. Returns its address. */
async function serve(stage, html) {
  const origin = await stage.serve((request, response) => {
    if (request.url === '/') response.setHeader('content-type', 'text/html; charset=utf-8').end(html);
    else response.writeHead(204).end();
  });
  return `${origin}/`;
}

/** A tab in a profile of its own, in which `read(probe, wanted)` waits until `probe` gives `wanted`. */
async function opens(stage, address) {
  const tab = await (await stage.profile()).newPage();
  await tab.goto(address);
  return { tab, reads: (what, probe, wanted) => eventually(what, () => tab.evaluate(probe), wanted) };
}

export const stories = {
  async 'the ten lines of the README do what they say'(stage) {
    const { address } = await stage.gateway();
    const html = await readFile(PAGE, 'utf8');
    const lines = await snippet(README, address);
    const site = await serve(stage, html.replace("<!-- README's snippet -->", () => lines));

    const ann = await opens(stage, site);
    const text = (wanted) => ann.reads('the body', () => document.body.textContent, wanted);
    await text('1 here: Ann');
    const bob = await stage.enter('bob', { room: 'document:7' });
    await text('2 here: Ann, Bob');
    await bob.reads('person-ann person-name', 'Ann');
    await bob.page.evaluate(() => window.presence.close());
    await text('1 here: Ann');
  },

  async 'the complete page of the manual shows who is here and that somebody types'(stage) {
    const { address } = await stage.gateway();
    const site = await serve(stage, await snippet(MANUAL, address));
    const ann = await opens(stage, site);
    const count = (person, wanted) => person.reads('the count', () => document.querySelector('#count').textContent, wanted);
    const typing = (wanted) => ann.reads('who types', () => document.querySelector('#typing').textContent, wanted);
    await count(ann, '1');
    const bob = await opens(stage, site);
    await count(ann, '2');
    await count(bob, '2');
    await ann.reads('the people', () => document.querySelector('#people').textContent, (text) => /^Guest \d+, Guest \d+$/.test(text));
    await bob.tab.locator('#message').pressSequentially('Hi');
    await typing('Somebody is typing');
    await typing('');
  },

  async 'the complete page of custom elements shows faces, typing and cursors'(stage) {
    const { address } = await stage.gateway();
    const site = await serve(stage, await snippet(ELEMENTS, address));
    const [ann, bob] = [await opens(stage, site), await opens(stage, site)];
    await ann.reads('the faces', () => document.querySelector('presence-avatars').shadowRoot.querySelectorAll('[part~=avatar]').length, 2);
    const names = () => [...document.querySelector('presence-avatars').shadowRoot.querySelectorAll('[part~=avatar]')].map((face) => face.getAttribute('aria-label') ?? face.title);
    await ann.reads('their names', names, (all) => all.every((name) => /^Guest \d+/.test(name)));
    await bob.tab.locator('#message').pressSequentially('Hi');
    await ann.reads('who types', () => document.querySelector('presence-typing').shadowRoot.textContent, (text) => /^Guest \d+ is typing$/.test(text));
    await bob.tab.locator('presence-cursors').hover();
    await ann.reads('cursors', () => document.querySelector('presence-cursors').shadowRoot.querySelectorAll('[part=cursor]').length, 1);
  },
};
