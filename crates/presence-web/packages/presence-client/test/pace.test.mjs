// How often we speak, and when we come back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace, TypingPace, afterClose, backoff } from 'presence-client';

test('the back-off begins with half a second and doubles up to 30 s; one half of it is chance', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 1_000].map((attempt) => backoff(attempt, 1)), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.equal(backoff(6, 0), 15_000);
  assert.equal(backoff(2, 0.5), 1_500);
});

test('after three seconds without a gateway the next attempt is at most four away', () => {
  for (let luck = 0; luck <= 10; luck += 1) {
    let [time, attempt] = [0, 0];
    while (time <= 3_000) {
      time += backoff(attempt, luck / 10);
      attempt += 1;
    }
    assert.ok(time <= 7_000, `${time} ms with luck ${luck / 10}`);
  }
  const soonest = [0, 1, 2, 3].reduce((time, attempt) => time + backoff(attempt, 0), 0);
  assert.ok(soonest > 3_000, 'nobody waits for the fifth by then, which may be eight away');
});

const end = (code, more = {}) => afterClose({ code, closing: null, attempt: 1, canRenewToken: false, random: 0.5, ...more });

test('a lost connection comes back after the back-off', () => {
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4413, 4429]) {
    assert.deepEqual(end(code), { again: true, newToken: false, wait: 750 }, `code ${code}`);
  }
});

test('a connection that was ended for good does not', () => {
  for (const code of [1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4410]) assert.deepEqual(end(code), { again: false }, `code ${code}`);
});

test('what the gateway said before closing counts more than the code', () => {
  const closing = { code: 1012, reconnect: true, retry_after: 1_800 };
  assert.deepEqual(end(1006, { closing }), { again: true, newToken: false, wait: 1_800 });
  assert.deepEqual(end(1006, { closing: { code: 4410, reconnect: false } }), { again: false });
});

test('a refused token is worth another try only with a new one', () => {
  assert.deepEqual(end(4401), { again: false });
  assert.deepEqual(end(4401, { canRenewToken: true }), { again: true, newToken: true, wait: 750 });
});

test('a cursor is sent at once, then the latest of each 40 ms', () => {
  const pace = new Pace(40);
  pace.put('a');
  assert.equal(pace.take(1_000), 'a');
  pace.put('b');
  pace.put('c');
  assert.equal(pace.take(1_010), null);
  assert.equal(pace.wait(1_010), 30);
  assert.equal(pace.take(1_040), 'c');
  assert.equal(pace.take(2_000), null);
});

test('typing is said at the first key, then once per half a time to live', () => {
  const typing = new TypingPace();
  const said = [];
  for (let now = 0; now <= 6_000; now += 100) if (typing.press(now, 5_000)) said.push(now);
  assert.deepEqual(said, [0, 2_500, 5_000]);
});

test('keys pressed within the first half are not forgotten', () => {
  const typing = new TypingPace();
  assert.ok(typing.press(0, 5_000));
  assert.ok(!typing.press(2_400, 5_000));
  assert.ok(typing.refresh(2_500));
  assert.ok(!typing.refresh(5_000), 'no key since: it runs out');
});

test('typing lasts a time to live from the last key, not from the last frame', () => {
  const typing = new TypingPace();
  typing.press(0, 5_000);
  typing.press(100, 5_000);
  assert.ok(typing.refresh(2_500));
  assert.equal(typing.rest(5_000, 5_000), 100);
  assert.equal(typing.rest(6_000, 5_000), 0);
});

test('only who was typing can stop, and then starts afresh', () => {
  const typing = new TypingPace();
  assert.ok(!typing.stop());
  typing.press(0, 5_000);
  assert.ok(typing.stop());
  assert.ok(typing.press(10, 5_000));
});
