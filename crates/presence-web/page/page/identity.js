/* Who you are: from the address, else what this browser remembers, else somebody pleasant. */

import { $, avatar } from './dom.js';

const adjectives = ['Amber', 'Bright', 'Calm', 'Clever', 'Cosy', 'Gentle', 'Golden', 'Happy', 'Jolly', 'Kind', 'Lively', 'Lucky', 'Merry', 'Mellow', 'Quiet', 'Silver', 'Sunny', 'Swift', 'Warm', 'Witty'];
const animals = ['Badger', 'Beaver', 'Dolphin', 'Falcon', 'Finch', 'Fox', 'Gecko', 'Heron', 'Koala', 'Lynx', 'Magpie', 'Marten', 'Otter', 'Owl', 'Panda', 'Puffin', 'Robin', 'Seal', 'Sparrow', 'Wren'];

/** `{ userId, name, token }`. With a token the gateway knows who you are, and we only suggest a name. */
export function identity() {
  const query = new URLSearchParams(location.search);
  const token = query.get('token') ?? undefined;
  const saved = load();
  const userId = query.get('user_id');
  if (userId) return { userId, name: query.get('name') ?? (saved?.userId === userId ? saved.name : userId), token };
  if (token) return { userId: undefined, name: query.get('name') ?? undefined, token };
  const me = saved ?? somebody();
  if (query.get('name')) me.name = query.get('name');
  if (!saved) save(me);
  return { ...me, token };
}

export function somebody() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  return { userId: `guest-${Math.random().toString(36).slice(2, 6).padEnd(4, '0')}`, name: `${pick(adjectives)} ${pick(animals)}` };
}

/** Your face in the bar, and the dialog behind it. */
export function showIdentity(presence, me) {
  const button = $('me');
  const dialog = $('who');
  let name = me.name;
  let color;

  const show = () => {
    const shown = { name: name || presence.userId || '…', color };
    button.replaceChildren(avatar(shown, { small: true }), Object.assign(document.createElement('span'), { textContent: shown.name }));
    button.setAttribute('aria-label', `You are ${shown.name}. Change it`);
  };
  show();
  presence.subscribe(show);
  // The colour is the gateway's to choose: it is known once we have seen ourselves among the others.
  document.addEventListener('presence:seen-self', ({ detail }) => {
    ({ color } = detail);
    name ||= detail.name;
    show();
  });

  button.onclick = () => {
    $('who-name').value = name ?? '';
    $('who-id').value = presence.userId ?? '';
    $('who-id').disabled = Boolean(me.token);
    dialog.showModal();
    $('who-name').select();
  };
  $('who-cancel').onclick = () => dialog.close();
  $('who-form').onsubmit = () => {
    name = $('who-name').value.trim() || name;
    const userId = $('who-id').value.trim();
    remember(name, userId);
    if (userId !== presence.userId) {
      presence.close();
      location.reload();
      return;
    }
    presence.setName(name);
    show();
  };

  function remember(name, userId) {
    const address = new URL(location.href);
    if (address.searchParams.has('user_id')) {
      address.searchParams.set('user_id', userId);
      address.searchParams.set('name', name);
    } else {
      address.searchParams.delete('name');
      if (!me.token) save({ userId, name });
    }
    history.replaceState(null, '', address);
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

function save({ userId, name }) {
  try {
    localStorage.setItem('presence:me', JSON.stringify({ userId, name }));
  } catch {
    // Somebody else at the next visit, then.
  }
}
