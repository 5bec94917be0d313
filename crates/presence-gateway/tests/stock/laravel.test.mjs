// docs/laravel.md: its JavaScript with npm `laravel-echo` and `pusher-js`, its PHP parsed, its `.env` as the settings of both sides.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import Parser from 'php-parser';
import Server from 'pusher';

import { eventually, native, startGateway } from './harness.mjs';

const PAGE = readFileSync(new URL('../../../../docs/laravel.md', import.meta.url), 'utf8');
const blocks = (language) => [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block);
const [PUSHER, REVERB, ROOM, WHISPERS, EVENT] = blocks('js');

/** What an `.env` sets, with the names of others replaced. */
function settings(block) {
  const found = {};
  for (const [, name, value] of block.matchAll(/^([A-Z_]+)=(.*)$/gm)) {
    found[name] = value.replace(/^"(.*)"$/, '$1').replace(/\$\{(\w+)\}/g, (_, other) => found[other]);
  }
  return found;
}

/** The gateway as the page starts it. */
function gatewayOf(t) {
  const [start] = blocks('sh');
  const exported = Object.fromEntries([...start.matchAll(/(PRESENCE_PUSHER_\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
  assert.equal(Object.keys(exported).length, 3);
  return startGateway(t, { ...exported, PRESENCE_GRACE: '500ms' });
}

/** What Laravel does at `/broadcasting/auth`, for a signed-in `user`. Returns its address. */
async function laravel(t, server, user) {
  const site = createServer(async (request, response) => {
    const { socket_id: socket, channel_name: channel } = Object.fromEntries(new URLSearchParams(await text(request)));
    const isAllowed = request.method === 'POST' && request.url === '/broadcasting/auth' && /^presence-room;42$/.test(channel);
    if (!isAllowed) return response.writeHead(403).end();
    const signed = server.authorizeChannel(socket, channel, { user_id: user, user_info: { name: user.toUpperCase() } });
    return response.setHeader('content-type', 'application/json').end(JSON.stringify(signed));
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => {
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}`;
}

/** A page of the app: `script` of the documentation, then what it does in a room. */
async function page(t, script, env, site) {
  const heard = [];
  const source = [script, ROOM, WHISPERS, EVENT].join('\n')
    .replaceAll('import.meta.env.', 'env.')
    .replace("authEndpoint: '/broadcasting/auth'", `authEndpoint: '${site}/broadcasting/auth'`)
    .replace(/^import (\w+) from '([^']+)';$/gm, 'const { default: $1 } = await load("$2");');
  const AsyncFunction = (async () => {}).constructor;
  const load = async (name) => {
    const module = await import(name);
    return module.default?.default ? module.default : module;
  };
  const logs = { log: (line) => heard.push(line), error: (error) => heard.push(`error ${error?.status ?? error}`) };
  // Echo looks for Pusher in the window, as the page put it there.
  globalThis.window ??= {};
  const made = await new AsyncFunction('env', 'load', 'console', `${source}\nreturn { people, room, echo: window.Echo };`)(env, load, logs);
  t.after(() => made.echo.disconnect());
  return { ...made, heard, names: () => [...made.people.keys()].sort() };
}

for (const [name, script, env] of [['Pusher', PUSHER, settings(blocks('ini')[0])], ['Reverb', REVERB, settings(blocks('ini')[1])]]) {
  test(`Laravel Echo with the ${name} broadcaster shows who is here, whispers and hears the app`, async (t) => {
    const gateway = await gatewayOf(t);
    const [host, port] = gateway.address.split(':');
    const of = (part) => env[`${name.toUpperCase()}_${part}`];
    const server = new Server({ appId: of('APP_ID'), key: of('APP_KEY'), secret: of('APP_SECRET'), host, port, useTLS: of('SCHEME') === 'https' });
    const here = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, value === '4001' ? port : value]));
    const [ann, bob] = [await page(t, script, here, await laravel(t, server, 'ann')), await page(t, script, here, await laravel(t, server, 'bob'))];
    for (const it of [ann, bob]) await eventually('both are here', it.names, ['ANN', 'BOB']);

    // Somebody of another protocol is in the same room, and sees and hears the same.
    const eve = native(t, gateway, { userId: 'eve', deviceId: 'web:eve' });
    const room = eve.channel('room:42');
    const broadcasts = [];
    room.on('broadcast:order.shipped', ({ event, payload, userId }) => broadcasts.push([event, payload, userId]));
    await room.join({ meta: { name: 'Eve' } });
    await eventually('eve sees them', () => room.getState().users.map(({ id }) => id).sort(), ['ann', 'bob', 'eve']);
    await eventually('ann sees eve', ann.names, ['ANN', 'BOB', 'Eve']);

    ann.room.whisper('typing', { name: 'Ann' });
    await eventually('bob hears the whisper', () => bob.heard.includes('Ann is typing'), true);
    await eventually('eve sees who types', () => room.getState().typing.includes('ann'), true);

    await server.trigger('presence-room;42', 'order.shipped', { number: 7 });
    for (const it of [ann, bob]) await eventually('the event of the app', () => it.heard.includes('order 7 is on its way'), true);
    await eventually('eve hears it', () => broadcasts, [['order.shipped', { number: 7 }, `app:${of('APP_ID')}`]]);

    bob.echo.leave('room;42');
    await eventually('bob has left', ann.names, ['ANN', 'Eve']);
  });
}

test('a room that the app does not sign for is refused', async (t) => {
  const gateway = await gatewayOf(t);
  const env = settings(blocks('ini')[0]);
  const [host, port] = gateway.address.split(':');
  const server = new Server({ appId: env.PUSHER_APP_ID, key: env.PUSHER_APP_KEY, secret: env.PUSHER_APP_SECRET, host, port, useTLS: false });
  const ann = await page(t, PUSHER, { ...env, VITE_PUSHER_PORT: port }, await laravel(t, server, 'ann'));
  await eventually('ann is here', ann.names, ['ANN']);
  const refused = [];
  ann.echo.join('room;43').error(({ status }) => refused.push(status));
  await eventually('the refusal', () => refused, [403]);
});

test('its PHP can be parsed', () => {
  const parser = new Parser.Engine({ parser: { php7: true, version: 803 } });
  const files = blocks('php');
  assert.equal(files.length, 2);
  for (const file of files) assert.deepEqual(parser.parseCode(file, 'file.php').errors, []);
});
