/* Waiting for what must come true, and saying what was there instead. */

import { isDeepStrictEqual } from 'node:util';

/** How long anything may take that should happen at once: the machine may have other things to do. */
export const SOON_MS = 15_000;

const LOOK_EVERY_MS = 25;

/** Waits until `look()` gives `wanted`: a value, or a function that says whether it is one. Returns what was seen. */
export async function eventually(what, look, wanted, within = SOON_MS) {
  const good = typeof wanted === 'function' ? wanted : (seen) => isDeepStrictEqual(seen, wanted);
  const started = performance.now();
  let seen;
  do {
    try {
      seen = await look();
      if (good(seen)) return seen;
    } catch (error) {
      // A page that navigates cannot be asked just now.
      seen = error.message.split('\n')[0];
    }
    await pause(LOOK_EVERY_MS);
  } while (performance.now() - started < within);
  const instead = typeof wanted === 'function' ? '' : `\nwanted ${JSON.stringify(wanted)}`;
  throw new Error(`${what}: not within ${within / 1_000} s${instead}\nseen   ${JSON.stringify(seen)}`);
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
