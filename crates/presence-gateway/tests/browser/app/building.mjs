/* Builds the app of docs/react.md as a reader of it would: from the packed packages, with Vite and strict TypeScript. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { install } from '../../stock/installing.mjs';

const here = import.meta.dirname;
const root = resolve(here, '../../../../..');
const LINES_MAX = 15;
/** Apps that no manual shows: each is built into a folder of its name. */
const OURS = ['counting', 'mounting'];
const MS_MAX = 180_000;

/**
 * Builds it in `folder`, and returns the folder of what is to be served: `index.html` is the app, and `../hydrate/hydrate.html` takes over what
 * `../server/server.js` renders of the same app. These are built for development, where React says what does not fit.
 */
export function build(folder) {
  install(folder, here);
  // What is built of the same things is the same.
  const made = JSON.stringify([here, ...['presence-client', 'presence-react'].map((name) => join(root, 'crates/presence-web/packages', name))].map(texts)) + app();
  const stamp = join(folder, 'built-of.txt');
  const isBuilt = existsSync(stamp) && readFileSync(stamp, 'utf8') === made;
  if (!isBuilt) {
    make(folder);
    writeFileSync(stamp, made);
  }
  return join(folder, 'dist');
}

/** Every file in `folder`, with what is in it. */
function texts(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile() && !file.parentPath.includes('node_modules'));
  return files.map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name), 'utf8')]).sort();
}

function make(folder) {
  const runWith = (env, program, ...args) => execFileSync(program, args, {
    cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], timeout: MS_MAX, env: { ...process.env, ...env },
  });
  const run = (...command) => runWith({}, ...command);
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
  for (const name of OURS) copyFileSync(join(here, `${name}.tsx`), join(folder, `src/${name}.tsx`));
  for (const [name, text] of Object.entries(rendered(app()))) writeFileSync(join(folder, name), text);
  run(process.execPath, 'node_modules/typescript/bin/tsc');
  const vite = ['node_modules/vite/bin/vite.js', 'build', '--logLevel', 'error'];
  run(process.execPath, ...vite);
  const development = { NODE_ENV: 'development' };
  runWith(development, process.execPath, ...vite, '--mode', 'development', '--outDir', 'hydrate', '--config', 'hydrate.config.js');
  for (const name of OURS) {
    writeFileSync(join(folder, `${name}.html`), readFileSync(join(here, 'index.html'), 'utf8').replace('main.tsx', `${name}.tsx`));
    runWith({}, process.execPath, ...vite, '--outDir', name, '--config', `${name}.config.js`);
  }
  runWith(development, process.execPath, ...vite, '--mode', 'development', '--outDir', 'server', '--ssr', 'src/server.tsx');
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

/** The same app, to be rendered by a server and taken over by a page: the files and what is in them. */
function rendered(text) {
  const [, before, element] = /^(.*)createRoot\(document\.getElementById\('root'\)!\)\.render\(\n(.*),\n\);\n$/s.exec(text) ?? [];
  assert.ok(element, 'the app is rendered as an app is');
  const html = readFileSync(join(here, 'index.html'), 'utf8');
  return {
    'src/app.tsx': `${before.replace(/^import .*'react-dom\/client';\n/, '')}export const App = () => (\n${element}\n);\n`,
    'src/hydrate.tsx': `import { StrictMode } from 'react';
import { hydrateRoot } from 'react-dom/client';
import { App } from './app';

hydrateRoot(document.getElementById('root')!, <StrictMode><App /></StrictMode>);
`,
    'src/server.tsx': `import { StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { App } from './app';

export const render = () => renderToString(<StrictMode><App /></StrictMode>);
`,
    'hydrate.html': html.replace('/src/main.tsx', '/src/hydrate.tsx').replace('<div id="root"></div>', '<div id="root"><!--app--></div>'),
    ...Object.fromEntries([...OURS, 'hydrate'].map((name) => [`${name}.config.js`, `export default { build: { rollupOptions: { input: '${name}.html' } } };\n`])),
  };
}
