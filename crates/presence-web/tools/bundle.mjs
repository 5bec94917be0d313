/*
 * Bundles what the gateway serves of the packages: one request each.
 *
 *     node tools/bundle.mjs            writes served/
 *     node tools/bundle.mjs --check    fails where served/ is not what the sources make, or is too large
 *
 * `cargo xtask web` and the step `web` of `cargo xtask test` call it. What it writes is committed, so that cargo needs no Node.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { brotliCompressSync } from 'node:zlib';

import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

/** Properties of the client that only its own files use, none of the protocol or of the browser: the served client has shorter names for them. */
const INTERNAL = [
  'answer', 'canRenew', 'keepToken', 'make', 'metaRefused', 'nextRef', 'putAway', 'reconsider', 'register', 'takeOut', 'transmit',
  'typingTtl', 'unreachable',
];

/**
 * `bytesMax` is for the minified bundle, compressed with brotli. What has no `to` is not served, and only measured. `internal` are
 * properties that may be renamed: nothing outside of the bundle knows them.
 */
const BUNDLES = [
  { from: 'packages/presence-client/src/index.js', to: 'served/presence.js', name: 'presence-client', bytesMax: 9_800, internal: INTERNAL },
  { from: 'packages/presence-elements/src/index.js', to: 'served/presence-elements.js', name: 'presence-elements', bytesMax: 16 * 1024 },
  {
    from: 'packages/presence-react/src/index.js', name: 'presence-react', external: ['react', 'presence-client'], bytesMax: 4 * 1024,
    // Not part of the client that everybody has.
    alias: { 'presence-client/looks': './packages/presence-client/src/looks.js' },
  },
  // Part of the document.
  { from: 'page/early.js', to: 'served/early.js', bytesMax: 1_300, format: 'iife' },
  { from: 'page/page.js', to: 'served/page.js', bytesMax: 24 * 1024 },
  { from: 'page/page.css', to: 'served/page.css', bytesMax: 5 * 1024 },
  { from: 'page/admin.js', to: 'served/admin.js', bytesMax: 12 * 1024 },
  { from: 'page/admin.css', to: 'served/admin.css', bytesMax: 4 * 1024 },
];

const isCheck = process.argv.includes('--check');
const wrong = [];
for (const { from, to, name, bytesMax, external = [], alias = {}, format = 'esm', internal = [] } of BUNDLES) {
  for (const property of internal) {
    if (isPublic(name, property)) wrong.push(`${property} is internal in ${import.meta.filename}, and public in the types of ${name}`);
  }
  const { version, license } = JSON.parse(readFileSync(join(root, name ? `packages/${name}` : '.', 'package.json'), 'utf8'));
  const banner = `/* ${name ? `${name} ${version}` : 'The page of Presence'}, ${license} */`;
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [from],
    bundle: true,
    external,
    alias,
    minify: true,
    mangleProps: internal.length ? new RegExp(`^(${internal.join('|')})$`) : undefined,
    format,
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    banner: { js: banner, css: banner },
    write: false,
  });
  const [{ text }] = outputFiles;
  const size = brotliCompressSync(text).length;
  console.log(`${to ?? name}: ${text.length} bytes, ${size} with brotli, at most ${Math.floor(bytesMax)}`);
  if (size > bytesMax) wrong.push(`${to ?? name} has ${size} bytes with brotli, ${Math.ceil(size - bytesMax)} too many`);

  if (!to) continue;
  const path = join(root, to);
  const isSame = existsSync(path) && readFileSync(path, 'utf8') === text;
  if (isSame) continue;
  if (isCheck) {
    wrong.push(`${to} is not what ${from} makes: run \`cargo xtask web\` and commit it`);
  } else {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  }
}
for (const line of wrong) console.error(line);
process.exitCode = wrong.length ? 1 : 0;

/** Whether the types of the package say anything of `property`. */
function isPublic(name, property) {
  const types = readFileSync(join(root, `packages/${name}/src/index.d.ts`), 'utf8');
  return new RegExp(`\\b${property}\\b`).test(types.replace(/\/\*\*.*?\*\/|\/\/.*$/gms, ''));
}
