/* Elements about one person, and about the connection. */

import { connect } from 'presence-client';
import { ago, statusNames } from 'presence-client/looks';

import { DOTS } from './card.js';
import { anyClient, drop, onClient, servedBy, use } from './client.js';
import { PresenceElement, h, rooted, sheetOf } from './element.js';

const CHOICES = ['online', 'away', 'busy', 'invisible'];

/** `<presence-status user-id="bob">`: somebody's status as a dot with a name. Without `user-id` it chooses your own. */
export class PresenceStatus extends PresenceElement {
  static observedAttributes = ['user-id'];
  static #sheet = sheetOf(`:host { display: inline-block; } select { font: inherit; color: inherit; }${DOTS}`);

  begin() {
    const presence = anyClient();
    const stopWaiting = onClient(() => this.restart());
    const root = rooted(this, PresenceStatus.#sheet);
    const id = this.getAttribute('user-id');
    if (!presence) return [stopWaiting];
    return [stopWaiting, ...(id ? this.#shows(root, presence, presence.user(id)) : this.#chooses(root, presence))];
  }

  #shows(root, presence, user) {
    const show = () => {
      const { status, customMessage, emoji, lastSeen } = user.getState();
      const seen = status === 'offline' && lastSeen !== undefined ? `last seen ${ago(lastSeen, presence.now())}` : '';
      const label = [statusNames[status ?? 'offline'], emoji, customMessage, seen].filter(Boolean).join(' · ');
      root.replaceChildren(h('span', { part: `dot ${status ?? 'offline'}`, class: `dot ${status ?? 'offline'}`, role: 'img', 'aria-label': label, title: label }));
    };
    show();
    return [user.subscribe(show), user.follow()];
  }

  #chooses(root, presence) {
    const select = h('select', { part: 'picker', 'aria-label': 'Your status' }, ...CHOICES.map((value) => h('option', { value }, statusNames[value])));
    select.addEventListener('change', () => presence.setStatus({ status: select.value }));
    root.replaceChildren(select);
    const show = () => {
      const { self, connection } = presence.getState();
      select.disabled = connection.status !== 'online';
      if (self) select.value = CHOICES.includes(self.status) ? self.status : 'online';
    };
    show();
    return [presence.subscribe(show)];
  }
}

/**
 * `<presence-connection url="…" token-url="/presence-token">`: who you are, and where the gateway is, for all elements of the page. It has
 * `data-state` for style sheets, and shows nothing.
 */
export class PresenceConnection extends PresenceElement {
  static observedAttributes = ['url', 'token-url', 'user-id', 'name', 'workspace'];
  attributeChangedCallback(name, before, now) {
    // A name changes without another connection.
    if (name === 'name' && now !== null) this.client?.setName(now);
    else super.attributeChangedCallback(name, before, now);
  }

  /** The client of the page, once this element has begun. */
  client = null;

  begin() {
    const read = (name) => this.getAttribute(name) ?? undefined;
    const tokenUrl = read('token-url');
    const presence = connect({
      url: read('url') ?? servedBy(),
      userId: read('user-id'), name: read('name'), workspace: read('workspace'),
      token: tokenUrl === undefined ? undefined : () => fetchToken(tokenUrl),
    });
    this.client = presence;
    use(presence);
    const show = () => { this.dataset.state = presence.connection.status; };
    show();
    return [presence.subscribe(show), () => {
      drop(presence);
      presence.close();
    }];
  }
}

async function fetchToken(url) {
  const answer = await fetch(url, { credentials: 'same-origin', cache: 'no-store' });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return (await answer.text()).trim();
}
