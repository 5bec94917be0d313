/* Serves what `building.mjs` has built. */

import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';

const KINDS = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8' };

/** Serves the files in `folder` as they are, but for the address of the gateway. Returns where. */
export async function serve(stage, folder, gateway, { start = 'index.html', rendered = '' } = {}) {
  const origin = await stage.serve(async (request, response) => {
    const path = new URL(request.url, 'http://app').pathname;
    const name = path === '/' ? start : normalize(path).slice(1);
    const text = await readFile(join(folder, name), 'utf8').catch(() => null);
    if (text === null) return response.writeHead(404).end();
    response.setHeader('content-type', KINDS[name.split('.').at(-1)] ?? 'text/plain');
    return response.end(text.replaceAll('127.0.0.1:4001', gateway).replace('<!--app-->', () => rendered));
  });
  return `${origin}/`;
}
