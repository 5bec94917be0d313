/*
 * The published clients, unchanged, against the real gateway.
 *
 *     node run.mjs --gateway PATH --modules DIR [--only TEXT]
 *
 * Runs every *.test.mjs beside it whose name contains TEXT. DIR is where the clients are installed, in the versions of
 * package-lock.json, once; a folder of its own under target/ does.
 */

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';

import { install } from './installing.mjs';

const here = import.meta.dirname;

const { values: options } = parseArgs({
  options: {
    gateway: { type: 'string' },
    modules: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
for (const needed of ['gateway', 'modules']) {
  if (!options[needed]) {
    console.error(`--${needed} is missing`);
    process.exit(2);
  }
}
const modules = resolve(options.modules);
install(modules);

const tests = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && name.includes(options.only));
if (!tests.length) {
  console.error(`there is no test whose name contains ${options.only}`);
  process.exit(2);
}
const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=2', '--test-force-exit', ...tests.map((name) => join(here, name))], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PRESENCE_GATEWAY: resolve(options.gateway),
    PRESENCE_MODULES: modules,
    NODE_OPTIONS: `--import=${pathToFileURL(join(here, 'resolving.mjs')).href}`,
  },
});
process.exit(status ?? 1);
