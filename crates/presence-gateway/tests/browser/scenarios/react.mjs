/* The app of docs/react.md, with two people. */

import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';

import { eventually } from '../waiting.mjs';

const KINDS = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8' };

/** Serves the files in `folder` as they are, but for the address of the gateway. Returns where. */
async function serve(stage, folder, gateway) {
  const origin = await stage.serve(async (request, response) => {
    const path = new URL(request.url, 'http://app').pathname;
    const name = path === '/' ? 'index.html' : normalize(path).slice(1);
    const text = await readFile(join(folder, name), 'utf8').catch(() => null);
    if (text === null) return response.writeHead(404).end();
    response.setHeader('content-type', KINDS[name.split('.').at(-1)] ?? 'text/plain');
    return response.end(text.replaceAll('127.0.0.1:4001', gateway));
  });
  return `${origin}/`;
}

export const stories = {
  async 'the app of the React manual, from the packed packages, shows faces, typing and cursors'(stage) {
    const { address } = await stage.gateway();
    const site = await serve(stage, stage.app, address);
    const opens = async (name) => {
      const tab = await (await stage.profile()).newPage();
      await tab.goto(`${site}?name=${name}`);
      return tab;
    };
    const [ann, bob] = [await opens('Ann'), await opens('Bob')];
    const faces = () => ann.evaluate(() => [...document.querySelectorAll('.presence-avatar')].map((face) => face.getAttribute('aria-label')));
    await eventually('Ann sees two faces', faces, ['Ann, Online', 'Bob, Online']);

    await bob.locator('input').pressSequentially('Hi');
    await eventually('Ann sees who types', () => ann.locator('.presence-typing').textContent(), 'Bob is typing');

    const area = await bob.locator('.presence-cursors').boundingBox();
    await bob.mouse.move(area.x + area.width / 2, area.y + area.height / 4);
    const cursor = () => ann.evaluate(() => {
      const { style, textContent } = document.querySelector('.presence-cursor') ?? { style: {} };
      return [textContent, Math.round(parseFloat(style.left)), Math.round(parseFloat(style.top))];
    });
    await eventually('Ann sees where Bob points', cursor, ['Bob', 50, 25]);

    await bob.mouse.move(area.x + area.width / 2, area.y + area.height + 50);
    await eventually('his cursor goes with his pointer', () => ann.locator('.presence-cursor').count(), 0);
  },
};
