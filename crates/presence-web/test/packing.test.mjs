/* Each package, packed as npm would publish it, installs into an empty project and can be imported there. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { pack, project, root, run, temporary } from './packed.mjs';

test('presence-client installs into an empty project, with its types', async (t) => {
  const folder = temporary(t);
  const { tarball, files } = await pack('presence-client', folder);
  assert.ok(files.includes('src/index.d.ts'), 'the types are in it');
  assert.ok(!files.some((file) => file.startsWith('test/')), 'tests are not');
  await project(folder, tarball);
  const { stdout } = await run(folder, 'node', ['-e', `
    import('presence-client').then(({ connect, PresenceError }) => console.log(typeof connect, typeof PresenceError));
  `]);
  assert.equal(stdout.trim(), 'function function');
});

test('presence-react installs beside its client and React, with its types', async (t) => {
  const folder = temporary(t);
  const client = await pack('presence-client', folder);
  const { tarball, files } = await pack('presence-react', folder);
  assert.ok(files.includes('src/index.d.ts'), 'the types are in it');
  assert.ok(!files.some((file) => file.startsWith('test/')), 'tests are not');
  await project(folder, client.tarball, tarball, join(root, 'node_modules/react'));
  const { stdout } = await run(folder, 'node', ['-e', `
    import('presence-react').then(({ PresenceProvider, useRoom }) => console.log(typeof PresenceProvider, typeof useRoom));
  `]);
  assert.equal(stdout.trim(), 'function function');
});

test('presence-elements installs beside its client, and can be imported where there are no elements', async (t) => {
  const folder = temporary(t);
  const client = await pack('presence-client', folder);
  const { tarball, files } = await pack('presence-elements', folder);
  assert.ok(files.includes('src/index.d.ts'), 'the types are in it');
  await project(folder, client.tarball, tarball);
  const { stdout } = await run(folder, 'node', ['-e', `
    import('presence-elements').then(({ client, use }) => console.log(typeof use, client()));
  `]);
  assert.equal(stdout.trim(), 'function null');
});
