/* Each package, packed as npm would publish it, installs into an empty project and can be imported there. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pack, project, run, temporary } from './packed.mjs';

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
