/* What the gateway says, as apps see it. */

export function readUser(wire) {
  return { ...camel(wire), name: wire.name?.trim() || wire.id, metas: wire.metas.map(camel) };
}

export function readStatus({ epoch, version, ...status }) {
  return camel(status);
}

/** `joined_at` is `joinedAt` in JavaScript. Values are left as they are: a meta belongs to the app. */
export function camel(object) {
  return Object.freeze(Object.fromEntries(
    Object.entries(object).filter(([key]) => key !== 'type').map(([key, value]) => [key.replace(/_(.)/g, (_, letter) => letter.toUpperCase()), value]),
  ));
}

/** Whether two JSON values are equal. */
export function same(a, b) {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}
