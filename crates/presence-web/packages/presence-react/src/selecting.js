/* A part of a state, as React wants it: rendered again only when that part has changed. */

import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react';

import { share } from './sharing.js';

/**
 * What `select` makes of the state of `source`, which has `getState` and `subscribe`. While a server renders, and while a page takes over
 * what it rendered, the state is `empty`.
 */
export function useSelected(source, select, empty) {
  const rendered = useRef(null);
  const [now, first] = useMemo(() => {
    let state;
    let value = rendered.current;
    let isFresh = false;
    const of = (next) => {
      if (isFresh && next === state) return value.selected;
      const selected = select(next);
      value = { selected: value ? share(value.selected, selected) : selected };
      state = next;
      isFresh = true;
      return value.selected;
    };
    return [() => of(source.getState()), () => of(empty)];
  }, [source, select, empty]);
  const selected = useSyncExternalStore(source.subscribe, now, first);
  useEffect(() => {
    rendered.current = { selected };
  });
  return selected;
}

/** `value`, or the one of the last render if it is equal: an object that is written in place changes nothing. */
export function useShared(value) {
  const last = useRef(value);
  const shared = share(last.current, value);
  useEffect(() => {
    last.current = shared;
  });
  return shared;
}
