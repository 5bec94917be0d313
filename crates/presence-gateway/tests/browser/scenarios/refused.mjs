/* A gateway with a key, and what the page says to whom it does not let in. */

import { createHmac } from 'node:crypto';

import { Person } from '../person.mjs';

const SECRET = 'a secret of tests, which everybody knows';

/** A token for `user` that is good for `seconds`, signed with `secret`. */
function token(user, seconds, secret = SECRET) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'HS256' })}.${encode({ sub: user, exp: Math.floor(Date.now() / 1_000) + seconds })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

export const stories = {
  async 'a page tells a missing token from an expired and from a wrong one, and goes on with a good one'(stage) {
    const { origin } = await stage.gateway({ PRESENCE_JWT_SECRET: SECRET });
    const profile = await stage.profile();
    const opens = async (query) => {
      const person = new Person(await profile.newPage(), 'ann');
      await person.page.goto(`${origin}/?${new URLSearchParams(query)}`);
      return person;
    };
    for (const [query, says] of [
      [{}, 'This gateway lets in who has a token'],
      [{ token: token('ann', -3_600) }, 'Your token has expired.'],
      [{ token: token('ann', 3_600, 'another secret, which is not the one') }, 'Your token was refused.'],
    ]) {
      const ann = await opens(query);
      await ann.marks('connection', 'state', 'closed');
      await ann.reads('notice', (text) => text?.startsWith(says));
    }
    const ann = await opens({ token: token('ann', 3_600) });
    await ann.arrived(1);
  },
};
