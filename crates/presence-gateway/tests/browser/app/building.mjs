/* Builds the app of docs/react.md as a reader of it would: from the packed packages, with Vite and strict TypeScript. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { install } from '../../stock/installing.mjs';

const here = import.meta.dirname;
const root = resolve(here, '../../../../..');
const LINES_MAX = 15;
const MS_MAX = 180_000;

/** Builds it in `folder`, and returns the folder of what is to be served. */
export function build(folder) {
  install(folder, here);
  const run = (program, ...args) => execFileSync(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], timeout: MS_MAX });
  const packages = ['presence-client', 'presence-react'];
  run('npm', 'pack', '--silent', ...packages.map((name) => join(root, 'crates/presence-web/packages', name)));
  for (const name of packages) {
    // What npm does with a tarball, without looking at what else is installed.
    const place = join(folder, 'node_modules', name);
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { recursive: true });
    run('tar', '-xzf', join(folder, `${name}-0.1.0.tgz`), '-C', place, '--strip-components=1');
  }
  for (const name of ['index.html', 'tsconfig.json']) copyFileSync(join(here, name), join(folder, name));
  mkdirSync(join(folder, 'src'), { recursive: true });
  writeFileSync(join(folder, 'src/main.tsx'), app());
  run(process.execPath, 'node_modules/typescript/bin/tsc');
  run(process.execPath, 'node_modules/vite/bin/vite.js', 'build', '--logLevel', 'error');
  return join(folder, 'dist');
}

/** The first example of docs/react.md that is a whole app. */
function app() {
  const examples = readFileSync(join(root, 'docs/react.md'), 'utf8').matchAll(/^```tsx\n(.*?)^```$/gms);
  const text = [...examples].map(([, example]) => example).find((example) => example.includes('createRoot'));
  assert.ok(text, 'docs/react.md has an app');
  const lines = text.trimEnd().split('\n').length;
  assert.ok(lines <= LINES_MAX, `the app has ${lines} lines, and should have at most ${LINES_MAX}`);
  return text;
}
