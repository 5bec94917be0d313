/* presence-react does with React 18 what it does with the newest. */

import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { test } from 'node:test';

import { root, run } from './packed.mjs';

test('hooks and components do the same with React 18', async () => {
  const hook = pathToFileURL(join(root, 'test/react-18/resolving.mjs')).href;
  const version = "import('react').then(({ version }) => console.log(version))";
  assert.match((await run(root, process.execPath, ['--import', hook, '-e', version])).stdout, /^18\./);
  const { stdout } = await run(root, process.execPath, ['--import', hook, '--test-reporter', 'tap', 'packages/presence-react/test/hooks.test.mjs']);
  assert.match(stdout, /^# pass [1-9]\d*$/m, stdout);
  assert.match(stdout, /^# fail 0$/m, stdout);
});
