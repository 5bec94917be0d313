/* The packages as npm would publish them. */

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

export const root = resolve(import.meta.dirname, '..');

/** Runs a program in `folder` and gives what it said. It may take `ms`. */
export async function run(folder, program, args, ms = 120_000) {
  const { NODE_TEST_CONTEXT, ...env } = process.env; // which would make a test of its own speak to ours
  const options = { cwd: folder, env, timeout: ms, maxBuffer: 16 * 1024 * 1024 };
  return promisify(execFile)(program, args, options).catch((error) => {
    throw new Error(`${program} ${args.join(' ')}: ${error.message}\n${error.stdout}${error.stderr}`);
  });
}

/** A folder that is removed with the test `t`. */
export function temporary(t) {
  const folder = mkdtempSync(join(tmpdir(), 'presence-packed-'));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** Packs the package `name` into `folder`. Returns the path of the tarball, and the names of the files in it. */
export async function pack(name, folder) {
  const { stdout } = await run(join(root, 'packages', name), 'npm', ['pack', '--json', '--pack-destination', folder]);
  const [{ filename, files }] = Object.values(JSON.parse(stdout));
  return { tarball: join(folder, filename), files: files.map(({ path }) => path) };
}

/** A new project in `folder` with `tarballs` installed, and nothing that the npm registry would have to be asked for. */
export async function project(folder, ...tarballs) {
  writeFileSync(join(folder, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  await run(folder, 'npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs]);
}
