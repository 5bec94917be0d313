/* What the documentation shows compiles with strict TypeScript. What is a whole page is run by the browser tests. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { root, run, temporary } from './packed.mjs';

const docs = join(root, '../../docs');

/** The pages that show how the packages are used, and how many examples each has at least. */
const PAGES = [
  { page: join(docs, 'browser.md'), least: 18 },
  { page: join(docs, 'elements.md'), least: 2 },
  { page: join(docs, 'react.md'), least: 8 },
  { page: join(root, 'packages/presence-client/README.md'), least: 1 },
  { page: join(root, 'packages/presence-react/README.md'), least: 1 },
];

/** What examples may use without saying where it is from. */
const AMBIENT = `
import type { Presence } from 'presence-client';
declare global {
  const presence: Presence;
  const input: HTMLInputElement;
  const board: HTMLElement;
}
`;

/** What an example may import that is not installed here. */
const MODULES = `
declare module 'ws' {
  const WebSocket: new (url: string, protocols?: string[]) => object;
  export default WebSocket;
}
declare module '@hotwired/stimulus' {
  export class Controller {
    readonly element: HTMLElement;
  }
}
`;

/** The examples of a page: where each begins, its language and its text. */
function examples(page) {
  const found = readFileSync(page, 'utf8').matchAll(/^```(js|ts|tsx|jsx)\n(.*?)^```$/gms);
  return [...found].map(({ 0: all, 1: language, 2: text, index, input }) => ({
    line: input.slice(0, index).split('\n').length + 1, language, text, all,
  }));
}

/** Writes examples as modules into `folder`, one file each, and what the compiler needs beside them. */
function lay(folder) {
  const names = new Map();
  for (const { page, least } of PAGES) {
    const found = examples(page);
    assert.ok(found.length >= least, `${page} has ${found.length} examples, and should have ${least}`);
    for (const { line, language, text } of found) {
      const name = `example-${names.size}.${/x$/.test(language) ? 'tsx' : 'ts'}`;
      names.set(name, { page, line });
      writeFileSync(join(folder, name), `${text}\nexport {};\n`);
    }
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'ambient.d.ts'), AMBIENT);
  writeFileSync(join(folder, 'modules.d.ts'), MODULES);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, target: 'es2022', module: 'esnext', moduleResolution: 'bundler', jsx: 'react-jsx',
      lib: ['es2023', 'dom', 'dom.iterable'], types: [],
      paths: {
        'http://127.0.0.1:4001/presence.js': [join(root, 'packages/presence-client/src/index.d.ts')],
        'http://127.0.0.1:4001/presence-elements.js': [join(root, 'packages/presence-elements/src/index.d.ts')],
      },
    },
    files: readdirSync(folder).filter((name) => /\.tsx?$/.test(name)),
  }));
  return names;
}

/** What the compiler says of the folder: nothing, or one complaint a line. */
async function compile(folder) {
  return run(folder, process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--pretty', 'false']).then(
    () => [],
    (error) => error.message.split('\n').filter((line) => /error TS/.test(line)),
  );
}

test('strict TypeScript compiles every example', async (t) => {
  const folder = temporary(t);
  const names = lay(folder);
  const complaints = await compile(folder);
  assert.deepEqual(complaints.map((line) => line.replace(/^(example-\d+\.tsx?)\((\d+)/, (_, name, row) => {
    const { page, line: first } = names.get(name);
    return `${page}:${first + Number(row) - 1} (`;
  })), []);
});

test('the types name every export, and no other', async (t) => {
  const folder = temporary(t);
  lay(folder);
  for (const [at, name] of ['presence-client', 'presence-elements', 'presence-react'].entries()) {
    const record = Object.fromEntries(Object.keys(await import(name)).map((it) => [it, true]));
    writeFileSync(join(folder, `example-${at}.ts`), `
      import * as all from '${name}';
      export const exports: Record<keyof typeof all, true> = ${JSON.stringify(record)};
    `);
  }
  assert.deepEqual(await compile(folder), []);
});

test('a mistake in an example would be found', async (t) => {
  const folder = temporary(t);
  lay(folder);
  writeFileSync(join(folder, 'example-0.ts'), "import { connect } from 'presence-client';\nconnect({ tokn: 'a' });\nconnect().channel('room:1').enter({ meta: 1 });\n");
  const complaints = await compile(folder);
  assert.equal(complaints.length, 2, complaints.join('\n'));
});
