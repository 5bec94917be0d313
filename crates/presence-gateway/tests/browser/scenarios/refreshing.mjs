/* A developer changes a component while it is mounted: React's fast refresh, by the development server of Vite. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { eventually } from '../waiting.mjs';

const app = (address, room) => `
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { PresenceProvider } from 'presence-react';
import { Room } from './room';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <PresenceProvider url="ws://${address}/ws" userId="ann" name="Ann" channel="room:${room}">
      <Room />
    </PresenceProvider>
  </StrictMode>,
);
`;

const ROOM = `
import { useState } from 'react';
import { AvatarStack, useCount } from 'presence-react';

export function Room() {
  const [clicks, setClicks] = useState(0);
  const count = useCount();
  return (
    <>
      <h1>First words</h1>
      <AvatarStack />
      <button onClick={() => setClicks(clicks + 1)}>{clicks} of {count}</button>
    </>
  );
}
`;

/** Starts the development server for an app in a folder of its own beside the built ones. Returns its address and the file to edit. */
async function develops(stage, address) {
  const home = join(stage.app, '..');
  const folder = mkdtempSync(join(home, 'refresh-'));
  stage.atEnd(async () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  const html = readFileSync(join(home, 'index.html'), 'utf8').replace('/src/main.tsx', '/main.tsx');
  const files = { 'index.html': html, 'main.tsx': app(address, stage.room), 'room.tsx': ROOM };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const require = createRequire(join(home, 'package.json'));
  const load = (name) => import(pathToFileURL(require.resolve(name)));
  const { createServer } = await load('vite');
  const { default: react } = await load('@vitejs/plugin-react');
  const server = await createServer({
    root: folder, configFile: false, cacheDir: join(folder, '.vite'), logLevel: 'error', plugins: [react()],
    // Polling sees an edit on every file system.
    server: { host: '127.0.0.1', port: 0, watch: { usePolling: true, interval: 50 } },
    // What is found later would load the page anew.
    optimizeDeps: { include: ['react', 'react-dom/client', 'react/jsx-dev-runtime', 'presence-react', 'presence-client'] },
  });
  stage.atEnd(() => server.close());
  await server.listen();
  return { url: `http://127.0.0.1:${server.httpServer.address().port}/`, file: join(folder, 'room.tsx') };
}

export const stories = {
  async 'a component that is edited while it is mounted keeps its state, and nobody hears of it'(stage) {
    const { address } = await stage.gateway();
    const { url, file } = await develops(stage, address);
    const bob = await stage.enter('bob');
    const tab = await (await stage.profile()).newPage();
    const sockets = [];
    const said = [];
    tab.on('websocket', (socket) => {
      if (!socket.url().includes(address)) return;
      sockets.push(socket);
      socket.on('framesent', ({ payload }) => said.push(JSON.parse(payload).type));
    });
    await tab.goto(url);
    const reads = (what, text) => eventually(`Ann reads ${what}`, () => tab.locator(what).textContent(), text);
    await reads('button', '0 of 2');
    await bob.reads('count', '2');
    await bob.listens();
    for (let click = 0; click < 3; click += 1) await tab.locator('button').click();
    await reads('button', '3 of 2');
    await tab.evaluate(() => {
      window.loads = 'once';
    });

    writeFileSync(file, ROOM.replace('First words', 'Second words'));
    await reads('h1', 'Second words');
    await reads('button', '3 of 2');

    // Other hooks: React mounts the component anew, with its effects.
    const typing = ROOM.replace('AvatarStack, useCount', 'AvatarStack, useCount, useOthers, useTyping')
      .replace('const count = useCount();', "const count = useCount();\n  const { typing } = useTyping();\n  const others = useOthers();")
      .replace('First words', '{others.length} other').replace('<AvatarStack />', '<AvatarStack /><input onInput={typing} />');
    writeFileSync(file, typing);
    await reads('h1', '1 other');
    await reads('button', '0 of 2');
    await tab.locator('input').pressSequentially('Hi');
    await bob.reads('typing', 'Ann is typing');

    await bob.until('Ann types no more', () => window.room.state.typing.length, 0);
    const moves = async () => (await bob.heard()).filter((line) => /^(join|leave|update)/.test(line));
    assert.deepEqual(await moves(), [], 'of edits nobody hears');
    assert.equal(sockets.length, 1, 'one connection');
    assert.equal(said.filter((type) => type === 'presence:join').length, 1, 'one join');

    // A component that throws takes the whole app with it, and its mending brings both back.
    stage.tolerate(/half written/);
    stage.tolerate(/An error occurred in the <Room> component/);
    writeFileSync(file, typing.replace('const count = useCount();', 'const count = useCount();\n  if (count) throw new Error("half written");'));
    await bob.reads('count', '1');
    writeFileSync(file, typing);
    await reads('button', '0 of 2');
    await bob.reads('count', '2');
    await bob.caughtUp();
    assert.deepEqual(await moves(), ['leave ann left', 'join ann']);
    assert.equal(sockets.filter((socket) => !socket.isClosed()).length, 1, 'one connection');
    assert.equal(await tab.evaluate(() => window.loads), 'once', 'the page was not loaded anew');

    await tab.close();
    await bob.reads('count', '1', 30_000);
    await bob.lacks('person-ann');
  },
};
