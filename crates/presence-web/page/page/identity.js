/* Who you are for the others, and the dialog in which you change it. */

import { $, avatar, h } from './dom.js';
import { thumbnail } from './picture.js';
import { TOKEN, nameIn, recall, remember, save } from './who.js';

const UNTIL = 'presence:until';
const PICTURE = 'presence:picture:';

/** Who we are, as `whoAmI` says. */
export class Identity {
  userId;
  name;
  token;

  constructor(who) {
    Object.assign(this, who);
  }

  /** The picture that `userId` chose in this browser, as `data:`. */
  avatarOf(userId) {
    return (userId && recall(() => localStorage, PICTURE + userId)) || undefined;
  }

  /** What others may know of us in a room. `self` is what we chose. */
  meta(self) {
    const avatarUrl = this.avatarOf(self?.userId ?? this.userId);
    const { timeZone: timezone } = Intl.DateTimeFormat().resolvedOptions();
    // Before the first connection it is what it was before the page was reloaded: that is to be no event.
    const until = self ? self.expiresAt : Number(recall(() => sessionStorage, UNTIL));
    remember(() => sessionStorage, UNTIL, until);
    return {
      timezone,
      ...(until ? { until } : {}),
      ...(avatarUrl ? { avatar: avatarUrl } : {}),
      ...(document.hidden ? { background: true } : {}),
    };
  }

  /** Goes on with another token: the page begins anew. It is out of the address, where it would be copied along. */
  signIn(token) {
    remember(() => sessionStorage, TOKEN, token);
    const address = new URL(location.href);
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
    location.reload();
  }

  keep(name, userId, picture) {
    this.name = name;
    remember(() => localStorage, PICTURE + userId, picture);
    const address = new URL(location.href);
    if (address.searchParams.has('user_id')) {
      address.searchParams.set('user_id', userId);
      address.searchParams.set('name', name);
    } else {
      address.searchParams.delete('name');
      if (!this.token) save({ userId, name });
    }
    history.replaceState(null, '', address);
  }
}

/** Your face in the bar, and the dialog behind it. `changed` is called when others are to know something else of you. */
export function showIdentity(presence, me, changed) {
  const button = $('me');
  const dialog = $('who');
  // Where we are in no room, nobody tells us our name.
  let name = nameIn(me.token) ?? me.name;
  let color;
  let picture; // in the dialog

  const show = () => {
    const shown = { name: name || presence.userId || '…', color, avatar: me.avatarOf(presence.userId) };
    button.replaceChildren(avatar(shown, { small: true }), h('span', {}, shown.name));
    button.setAttribute('aria-label', `You are ${shown.name}. Change it`);
  };
  show();
  presence.subscribe(show);
  // The colour depends on who else is here, and a token may say another name.
  document.addEventListener('presence:seen-self', ({ detail }) => {
    ({ color } = detail);
    if (me.token) ({ name } = detail);
    show();
  });

  const showPicture = () => {
    $('who-face').replaceChildren(avatar({ name: name || '?', color, avatar: picture }));
    $('who-picture-remove').hidden = !picture;
  };
  const complain = (text) => {
    $('who-problem').textContent = text;
    $('who-problem').hidden = !text;
  };
  button.onclick = () => {
    picture = me.avatarOf(presence.userId);
    $('who-name').value = name ?? '';
    $('who-id').value = presence.userId ?? '';
    $('who-id').disabled = Boolean(me.token);
    $('who-picture').value = '';
    complain('');
    showPicture();
    dialog.showModal();
    $('who-name').select();
  };
  $('who-picture').onchange = async ({ target }) => {
    try {
      complain('');
      picture = await thumbnail(target.files[0]);
    } catch {
      complain('This file is no picture that your browser can read.');
    }
    showPicture();
  };
  $('who-picture-remove').onclick = () => {
    picture = undefined;
    $('who-picture').value = '';
    showPicture();
  };
  $('who-cancel').onclick = () => dialog.close();
  $('who-form').onsubmit = () => {
    name = $('who-name').value.trim() || name;
    const userId = $('who-id').value.trim();
    me.keep(name, userId, picture);
    if (userId !== presence.userId) {
      presence.close();
      location.reload();
      return;
    }
    presence.setName(name);
    changed();
    show();
  };
}
