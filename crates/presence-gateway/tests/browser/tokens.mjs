/* Tokens for a gateway with a key. */

import { createHmac } from 'node:crypto';

export const SECRET = 'a secret of tests, which everybody knows';

/** A token for `user` that is good for `seconds`, signed with `secret`. */
export function token(user, seconds, { secret = SECRET, ...claims } = {}) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'HS256' })}.${encode({ sub: user, exp: Math.floor(Date.now() / 1_000) + seconds, ...claims })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
