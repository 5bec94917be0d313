/* Installs the published clients, in the versions of package-lock.json. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;

/** Installs what the lock file in `from` says into the folder `modules`, unless that is there already. */
export function install(modules, from = here) {
  const lock = readFileSync(join(from, 'package-lock.json'));
  const installed = join(modules, 'installed-lock.json');
  if (existsSync(installed) && readFileSync(installed).equals(lock)) return;
  mkdirSync(modules, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(from, name), join(modules, name));
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: modules,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(installed, lock);
}
