/* What a page has mounted and unmounted 200 times leaves nothing behind. */

import assert from 'node:assert/strict';
import { join } from 'node:path';

import { serve } from '../app/serving.mjs';
import { eventually } from '../waiting.mjs';

const MOUNTS = 200;
/** Until everything is compiled, which takes many calls, and what is kept once is kept. */
const WARM_UP = 200;
/** What may be kept of a mount: less than any object of ours. */
const BYTES_PER_MOUNT_MAX = 200;

/** Looks at the memory of `tab` as Chromium's developer tools do. */
async function openMemory(tab) {
  const tools = await tab.context().newCDPSession(tab);
  await tools.send('HeapProfiler.enable');
  const evaluate = async (expression) => (await tools.send('Runtime.evaluate', { expression })).result.objectId;
  /** How many objects there are of the class that `expression` names. */
  const count = async (expression) => {
    const { objects } = await tools.send('Runtime.queryObjects', { prototypeObjectId: await evaluate(`${expression}.prototype`), objectGroup: 'counted' });
    const { result } = await tools.send('Runtime.callFunctionOn', { objectId: objects.objectId, functionDeclaration: 'function () { return this.length; }', returnByValue: true });
    await tools.send('Runtime.releaseObjectGroup', { objectGroup: 'counted' });
    return result.value;
  };
  return {
    async look(classes) {
      // What has an ending of its own may end a little later, and what it kept is garbage after that.
      for (let round = 0; round < 3; round += 1) await tools.send('HeapProfiler.collectGarbage');
      const { usedSize } = await tools.send('Runtime.getHeapUsage');
      const { nodes, jsEventListeners } = await tools.send('Memory.getDOMCounters');
      const counts = {};
      for (const name of classes) counts[name] = await count(name);
      return { usedSize, nodes, jsEventListeners, counts };
    },
  };
}

/** Runs `mount(times)` on the page, and compares what there is before and after. */
async function isFlat(tab, what, mount, classes) {
  const memory = await openMemory(tab);
  await mount(WARM_UP);
  const before = await memory.look(classes);
  await mount(MOUNTS);
  const after = await memory.look(classes);
  const grown = after.usedSize - before.usedSize;
  console.log(`     ${what}: ${Math.round(before.usedSize / 1_024)} KB before and ${Math.round(after.usedSize / 1_024)} KB after ${MOUNTS} mounts`);
  assert.deepEqual(after.counts, before.counts, what);
  assert.ok(after.nodes <= before.nodes, `${what}: ${before.nodes} nodes before, ${after.nodes} after`);
  assert.ok(after.jsEventListeners <= before.jsEventListeners, `${what}: ${before.jsEventListeners} listeners before, ${after.jsEventListeners} after`);
  assert.ok(grown < MOUNTS * BYTES_PER_MOUNT_MAX, `${what}: ${grown} bytes more after ${MOUNTS} mounts`);
}

export const stories = {
  async 'a heap is flat over 200 mounts of a client, of components in a room, and of elements'(stage) {
    const { address } = await stage.gateway();
    const bob = await stage.enter('bob', { room: '42' });
    const tab = await (await stage.profile()).newPage();
    await tab.goto(await serve(stage, join(stage.app, '../mounting'), address, { start: 'mounting.html' }));
    const shows = (what) => (times) => tab.evaluate(async ([shown, rounds]) => {
      const until = (good) => new Promise((resolve) => {
        const look = () => (good() ? resolve() : setTimeout(look, 2));
        look();
      });
      for (let round = 0; round < rounds; round += 1) {
        window.seen = {};
        window.show(shown);
        await until(() => window.seen.count >= 2 && window.seen.bob === 'online');
        window.show('');
        await until(() => !document.querySelector('.presence-avatars'));
      }
      await window.outer.ping(); // and what we said before was heard
    }, [what, times]);
    await isFlat(tab, 'components in a room', shows('room'), ['Presence']);
    await isFlat(tab, 'a client', shows('client'), ['Presence']);
    await bob.reads('count', '1');
    await bob.lacks('person-ann');
    assert.equal(await tab.evaluate(() => window.outer.channel('room:42').state.joined), false);
    await tab.close();

    const plain = await (await stage.profile()).newPage();
    await plain.goto(await stage.serve((_, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<!doctype html><title>Elements</title><link rel="icon" href="data:,"><main></main><script type="module">
        import * as elements from 'http://${address}/presence-elements.js';
        window.elements = elements;
      </script>`);
    }));
    await eventually('the elements are there', () => plain.evaluate(() => Boolean(window.elements)), true);
    await isFlat(plain, 'elements', (times) => plain.evaluate(async (rounds) => {
      const main = document.querySelector('main');
      for (let round = 0; round < rounds; round += 1) {
        main.innerHTML = `<presence-connection user-id="eve" name="Eve"></presence-connection><presence-avatars channel="room:42"></presence-avatars>
          <presence-cursors channel="room:42"></presence-cursors><input id="field"><presence-typing channel="room:42" for="field"></presence-typing>
          <presence-status></presence-status>`;
        const avatars = main.querySelector('presence-avatars');
        await new Promise((resolve) => {
          const look = () => (avatars.shadowRoot?.querySelectorAll('[part~=avatar]').length >= 2 ? resolve() : setTimeout(look, 2));
          look();
        });
        main.replaceChildren();
        await new Promise((resolve) => setTimeout(resolve));
      }
    }, times), ['HTMLElement']);
    await bob.reads('count', '1');
  },
};
