/* Structural sharing: what is equal to what we had is what we had, so `===` and `memo` see that nothing changed. */

/** `next`, with every part that equals the same part of `before` replaced by that. */
export function share(before, next) {
  if (Object.is(before, next)) return before;
  if (Array.isArray(before) && Array.isArray(next)) {
    const shared = next.map((value, at) => share(before[at], value));
    return shared.length === before.length && shared.every((value, at) => Object.is(value, before[at])) ? before : shared;
  }
  if (!isPlain(before) || !isPlain(next)) return next;
  const keys = Object.keys(next);
  const shared = Object.fromEntries(keys.map((key) => [key, share(before[key], next[key])]));
  const isSame = keys.length === Object.keys(before).length
    && keys.every((key) => Object.hasOwn(before, key) && Object.is(shared[key], before[key]));
  return isSame ? before : shared;
}

function isPlain(value) {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value));
}
