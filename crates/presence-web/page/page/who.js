/* Who you are: from the address, else what this browser remembers, else somebody pleasant. */

export const TOKEN = 'presence:token';

const adjectives = ['Amber', 'Bright', 'Calm', 'Clever', 'Cosy', 'Gentle', 'Golden', 'Happy', 'Jolly', 'Kind', 'Lively', 'Lucky', 'Merry', 'Mellow', 'Quiet', 'Silver', 'Sunny', 'Swift', 'Warm', 'Witty'];
const animals = ['Badger', 'Beaver', 'Dolphin', 'Falcon', 'Finch', 'Fox', 'Gecko', 'Heron', 'Koala', 'Lynx', 'Magpie', 'Marten', 'Otter', 'Owl', 'Panda', 'Puffin', 'Robin', 'Seal', 'Sparrow', 'Wren'];

/** `{ token, userId, name }`. With a token the gateway knows who it is, and we only suggest a name. */
export function whoAmI() {
  const query = new URLSearchParams(location.search);
  const token = query.get('token') ?? recall(() => sessionStorage, TOKEN) ?? undefined;
  const saved = load();
  const userId = query.get('user_id');
  const isSaved = saved && !token && (!userId || saved.userId === userId);
  const name = query.get('name') ?? (isSaved ? saved.name : undefined);
  if (token) return { token, name };
  const somebodyNew = saved ?? somebody();
  const who = { userId: userId ?? somebodyNew.userId, name: name ?? userId ?? somebodyNew.name };
  if (!userId && !saved) save(who);
  return who;
}

/** The name that a token says; undefined if it says none. Only the gateway can tell whether the token is good. */
export function nameIn(token) {
  try {
    const [, claims] = token.split('.');
    const bytes = Uint8Array.from(atob(claims.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const { name } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof name === 'string' && name ? name : undefined;
  } catch {
    return undefined;
  }
}

export function somebody() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  return { userId: `guest-${Math.random().toString(36).slice(2, 6).padEnd(4, '0')}`, name: `${pick(adjectives)} ${pick(animals)}` };
}

/** What is kept under `key`; `null` where the browser keeps nothing. */
export function recall(storage, key) {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}

export function remember(storage, key, value) {
  try {
    if (value) storage().setItem(key, value);
    else storage().removeItem(key);
  } catch {
    // It is asked for again, then.
  }
}

function load() {
  try {
    const me = JSON.parse(localStorage.getItem('presence:me'));
    return me?.userId && me?.name ? me : null;
  } catch {
    return null;
  }
}

export function save({ userId, name }) {
  try {
    localStorage.setItem('presence:me', JSON.stringify({ userId, name }));
  } catch {
    // Somebody else at the next visit, then.
  }
}
