/*
 * The page and the browser client, in a real Chromium against the real gateway.
 *
 *     node run.mjs --gateway PATH --chromium PATH --playwright DIR --modules DIR [--only TEXT] [--jobs N] [--screenshots DIR]
 *
 * `cargo xtask test --only browser` calls it and finds the paths; DIR of `--modules` is where the
 * published clients of other servers are installed, as for the tests in `../stock`. A scenario is a sentence and a story; each has a
 * gateway, a room and browser contexts of its own. After each, whatever the browser complained about fails it:
 * errors in a console, violations of the content security policy, requests to other hosts.
 */

import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { build } from './app/building.mjs';
import { openBrowser } from './browser.mjs';
import { Stage } from './stage.mjs';
import { install } from '../stock/installing.mjs';
import * as access from './scenarios/access.mjs';
import * as attention from './scenarios/attention.mjs';
import * as axe from './scenarios/axe.mjs';
import * as embedding from './scenarios/embedding.mjs';
import * as families from './scenarios/families.mjs';
import * as hiding from './scenarios/hiding.mjs';
import * as hostile from './scenarios/hostile.mjs';
import * as loading from './scenarios/loading.mjs';
import * as lost from './scenarios/lost.mjs';
import * as mounting from './scenarios/mounting.mjs';
import * as operating from './scenarios/operating.mjs';
import * as people from './scenarios/people.mjs';
import * as react from './scenarios/react.mjs';
import * as refreshing from './scenarios/refreshing.mjs';
import * as refused from './scenarios/refused.mjs';
import * as sleeping from './scenarios/sleeping.mjs';
import * as status from './scenarios/status.mjs';
import * as staying from './scenarios/staying.mjs';
import * as together from './scenarios/together.mjs';
import { takeScreenshots } from './screenshots.mjs';

// For one that hangs: whatever is waited for in it has a shorter time of its own.
const SCENARIO_MS_MAX = 240_000;

// The long ones come first, so that they do not run alone at the end.
const scenarios = [mounting, operating, status, sleeping, staying, lost, together, hiding, attention, access, hostile, families, react, refreshing, people, axe, refused, embedding, loading].flatMap(({ stories }) => Object.entries(stories));

const { values: options } = parseArgs({
  options: {
    gateway: { type: 'string' },
    chromium: { type: 'string' },
    playwright: { type: 'string' },
    modules: { type: 'string' },
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: '3' },
    screenshots: { type: 'string' },
  },
});
for (const needed of ['gateway', 'chromium', 'playwright', 'modules']) {
  if (!options[needed]) {
    console.error(`--${needed} is missing`);
    process.exit(2);
  }
}
// So that everything we started is ended by what listens to 'exit'.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

const modules = resolve(options.modules);
install(modules);
const app = build(join(modules, '../browser-app'));
const { chromium } = createRequire(import.meta.url)(options.playwright);
const browser = await openBrowser(chromium, options.chromium);
const tally = { passed: 0, failed: 0 };
try {
  const waiting = scenarios.filter(([name]) => name.includes(options.only));
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await run(...next);
  };
  await Promise.all(Array.from({ length: Number(options.jobs) }, worker));
  if (options.screenshots) {
    await run('the pictures for the README are taken', (stage) => takeScreenshots(stage, options.screenshots));
  }
} finally {
  await browser.close();
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exit(tally.failed || !tally.passed ? 1 : 0);

async function run(name, story) {
  const started = performance.now();
  const stage = new Stage(browser, options.gateway, modules, app);
  let error = null;
  try {
    await within(SCENARIO_MS_MAX, story(stage));
    stage.complain();
  } catch (thrown) {
    error = thrown;
  }
  await stage.clear();

  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  tally[error ? 'failed' : 'passed'] += 1;
  console.log(`${error ? 'FAIL' : 'ok  '} ${seconds.padStart(5)} s  ${name}`);
  if (error) console.log(`${error.stack ?? error}\n${stage.story()}`.replace(/^/gm, '     '));
}

function within(ms, promise) {
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms / 1_000} s`)), ms);
  });
  return Promise.race([promise, tooLong]).finally(() => clearTimeout(timer));
}
