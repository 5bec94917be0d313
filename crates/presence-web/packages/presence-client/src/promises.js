/* Small things. */

/** A promise of nothing but that it was done. */
export function done(promise) {
  return quiet(promise.then(nothing));
}

/** An ignored refusal is not an unhandled one: apps that care await, or listen to `error`. */
export function quiet(promise) {
  promise.catch(nothing);
  return promise;
}

export function refused(error) {
  return quiet(Promise.reject(error));
}

export function remember(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

export function nothing() {}
