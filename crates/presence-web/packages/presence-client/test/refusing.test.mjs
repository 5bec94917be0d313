// A gateway that does not let us in, and what an app is told of it.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { connect } from 'presence-client';

import { PaperSocket, begin, finish, latest, pass, settle } from './paper.mjs';

let presence;
let refused;
let errors;

async function opens(options) {
  presence = connect({ url: 'ws://gateway/ws', deviceId: 'web:t', WebSocket: PaperSocket, ...options });
  refused = [];
  presence.on('refused', (refusal) => refused.push(refusal));
  errors = [];
  presence.on('error', (error) => errors.push(error.message));
  await settle();
}

/** What the gateway says of a token before it closes. */
function closes(code, reason, message) {
  if (message) latest().says({ type: 'presence:error', code: code === 4403 ? 'forbidden' : 'unauthorized', message });
  latest().says({ type: 'presence:closing', code, reason, reconnect: code === 4401 });
  latest().breaks(code);
}

beforeEach(begin);

afterEach(() => {
  presence?.close();
  finish();
});

test('a token that is missing, has expired, is wrong or does not allow it: each is told', async () => {
  for (const [code, words, message, reason] of [
    [4401, 'token missing', 'a token is required', 'missing'],
    [4401, 'token expired', 'the token has expired', 'expired'],
    [4401, 'token refused', "the token's signature is wrong", 'invalid'],
    [4403, 'forbidden', 'the token does not allow this device', 'forbidden'],
  ]) {
    await opens({ token: 'a.b.c' });
    closes(code, words, message);
    assert.deepEqual(refused, [{ reason, message, code, retrying: false }]);
    assert.deepEqual(errors, [], 'it is told once');
    assert.deepEqual(presence.connection, { status: 'closed', attempt: 0, retryAt: null, code, reason: words });
    presence.close();
  }
});

test('a token function is asked for another token, and the event says so', async () => {
  let tokens = 0;
  await opens({ token: async () => `token-${(tokens += 1)}` });
  assert.deepEqual(latest().protocols, ['presence.v1.json', 'presence.bearer.token-1']);
  closes(4401, 'token expired', 'the token has expired');
  assert.deepEqual(refused, [{ reason: 'expired', message: 'the token has expired', code: 4401, retrying: true }]);
  assert.deepEqual(errors, [], 'it is told once');
  await pass(500);
  assert.deepEqual(latest().protocols, ['presence.v1.json', 'presence.bearer.token-2']);
  latest().hello();
  assert.equal(presence.connection.status, 'online');
});

test('what no subprotocol can carry is no token: that is said without it, and another one is asked for', async () => {
  const tokens = ['a b', '<!doctype html>\n<title>Sign in</title>', 'a\nb', 'é', ' a.b.c\r\n'];
  await opens({ token: async () => tokens.shift() });
  for (let left = 4; left > 0; left -= 1) {
    assert.equal(latest(), undefined, 'nothing to connect with');
    assert.deepEqual(refused.splice(0), [{ reason: 'invalid', message: 'not a token', code: 4401, retrying: true }]);
    assert.equal(presence.connection.status, 'connecting');
    assert.equal(tokens.length, left, 'one is asked for at a time');
    await pass(8_000);
  }
  assert.deepEqual(latest().protocols, ['presence.v1.json', 'presence.bearer.a.b.c'], 'spaces around it are none of it');
  assert.deepEqual(refused, []);
});

test('a fixed token that no subprotocol can carry is refused for good', async () => {
  await opens({ token: 'not a token!' });
  assert.equal(latest(), undefined);
  assert.deepEqual(refused, [{ reason: 'invalid', message: 'not a token', code: 4401, retrying: false }]);
  assert.equal(presence.connection.status, 'closed');
  assert.doesNotMatch(JSON.stringify(presence.connection), /token!/);
});

test('a token that runs out on the way is not blamed for an earlier complaint', async () => {
  await opens({ token: 'a.b.c' });
  latest().hello();
  latest().says({ type: 'presence:error', code: 'rate_limited', message: 'too many typing commands', retry_after: 250 });
  closes(4401, 'token expired');
  assert.deepEqual(refused, [{ reason: 'expired', message: 'token expired', code: 4401, retrying: false }]);
});

test('what is wrong with a connection and not with who we are is an error, told once', async () => {
  await opens({});
  latest().says({ type: 'presence:error', code: 'invalid', field: 'resume', message: 'resume is too long' });
  latest().says({ type: 'presence:closing', code: 4400, reason: 'malformed', reconnect: false });
  latest().breaks(4400);
  assert.deepEqual(errors, ['resume is too long']);
  assert.deepEqual(refused, []);
  assert.equal(presence.connection.code, 4400);
  presence.close();

  await opens({});
  latest().hello();
  latest().says({ type: 'presence:error', code: 'rate_limited', message: 'too many cursors', retry_after: 250 });
  assert.deepEqual(errors, ['too many cursors'], 'at once while there is a connection');
  latest().breaks();
  assert.deepEqual(errors, ['too many cursors']);
});

test('a gateway that is not there cannot be told from one that does not allow the page', async () => {
  await opens({});
  latest().breaks();
  assert.equal(presence.connection.reason, 'not reached, or not allowed from this page');
  await pass(500);
  latest().hello();
  latest().breaks();
  assert.equal(presence.connection.reason, null, 'this one was reached');
  assert.deepEqual(refused, []);
});
