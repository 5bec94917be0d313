/* How the page comes: few requests, small ones, and soon. */

import assert from 'node:assert/strict';

import { Person } from '../person.mjs';
import { openSlowNetwork } from '../slow.mjs';

const FAR = { delay: 300, bytesPerSecond: 50_000 };
const FIRST_ROSTER_MS_MAX = 3_200;
const ROUND_TRIP_MS = 2 * FAR.delay;
/** The machine may have other things to do: what counts is what the page can do. */
const TRIES_MAX = 4;

/** Writes down what the page says of how many people are here, from its first moment, and when it knew who is. */
function watchesTheCount() {
  window.counts = [];
  const look = () => {
    const text = document.getElementById('count')?.textContent;
    if (text !== undefined && text !== window.counts.at(-1)) window.counts.push(text);
    if (/^\d/.test(text)) window.knownAt ??= performance.now();
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
  document.addEventListener('DOMContentLoaded', look);
}

export const stories = {
  async 'the page is one document, one script and one style, compressed, and the latter two are kept for good'(stage) {
    const { origin } = await stage.gateway();
    const context = await stage.profile();
    const answers = [];
    context.on('response', (response) => answers.push(response));
    const person = new Person(await context.newPage(), 'ann');
    await person.page.goto(`${origin}/?user_id=ann`);
    await person.arrived(1);
    const seen = answers.map((response) => [response.request().resourceType(), new URL(response.url()).pathname]).sort();
    assert.deepEqual(seen.map(([type]) => type), ['document', 'script', 'stylesheet'], JSON.stringify(seen));
    for (const response of answers) {
      const headers = await response.allHeaders();
      const isDocument = response.request().resourceType() === 'document';
      assert.match(headers['content-encoding'], /^(br|gzip)$/, response.url());
      assert.equal(headers.vary, 'accept-encoding');
      assert.equal(headers['cache-control'], isDocument ? 'no-cache' : 'public, max-age=31536000, immutable');
    }

    // Again: the browser asks for the page, which has not changed, and for nothing else.
    answers.length = 0;
    await person.page.goto(`${origin}/?user_id=ann`);
    await person.arrived(1);
    const asked = await person.page.evaluate(() => performance.getEntriesByType('resource').filter(({ transferSize }) => transferSize > 0).map(({ name }) => name));
    assert.deepEqual(asked, []);
  },

  async 'far away, the first roster is there soon, and no number is said before it is known'(stage) {
    const { address } = await stage.gateway();
    const network = await openSlowNetwork(address, FAR);
    stage.atEnd(async () => network.close());
    const times = [];
    const sockets = []; // how many each page has opened
    let least; // what the network takes at least: the page, then the script beside the socket, then the room; and all bytes
    while (times.length < TRIES_MAX && !times.some((ms) => ms < Math.min(FIRST_ROSTER_MS_MAX, least + ROUND_TRIP_MS))) {
      const before = network.bytesDown;
      const context = await stage.profile();
      await context.addInitScript(watchesTheCount);
      const person = new Person(await context.newPage(), 'ann');
      const number = sockets.push(0) - 1;
      person.page.on('websocket', () => {
        sockets[number] += 1;
      });
      await person.page.goto(`http://${network.address}/?user_id=ann-${times.length}&room=${stage.room}-${times.length}`, { waitUntil: 'commit' });
      await person.arrived(1);
      const { knownAt, counts } = await person.page.evaluate(() => ({ knownAt: window.knownAt, counts: window.counts }));
      assert.deepEqual(counts, ['…', '1']);
      times.push(Math.round(knownAt));
      least = Math.round(3 * ROUND_TRIP_MS + ((network.bytesDown - before) / FAR.bytesPerSecond) * 1_000);
      await person.page.close();
    }
    console.log(`     the first roster is there after ${times.join(', ')} ms, of which the network takes ${least}`);
    const best = Math.min(...times);
    assert.equal(sockets[times.indexOf(best)], 1, `a page opens one socket: ${sockets}`);
    assert.ok(best < FIRST_ROSTER_MS_MAX, `the first roster is there after ${times} ms, at most ${FIRST_ROSTER_MS_MAX} are allowed`);
    assert.ok(best < least + ROUND_TRIP_MS, `after ${times} ms: there is one more round trip than there should be`);
  },
};
