/* Why a person is shown what they are shown, and who is in a room: what all gateways and stores say. */

import { $, h, statusNames } from '../page/html.js';
import { act } from './acting.js';
import { ask, explain } from './asking.js';
import { close, open, opened } from './opening.js';
import { count, moment } from './words.js';

const at = (text) => (text ? moment(Date.parse(text)) : '–');
const words = (text) => (text ?? '–').replaceAll('_', ' ');
const person = (id) => h('button.link', { type: 'button', onclick: () => open('user', id) }, id);
const room = (id) => h('button.link', { type: 'button', onclick: () => open('room', id) }, id);

/** A table with a name; `rows` are lists of cells. */
function table(name, heads, rows, none) {
  const id = `table-${name.toLowerCase().replaceAll(/\W+/g, '-')}`;
  if (!rows.length) return h('div', {}, h('h3', {}, name), h('p.muted', {}, none));
  return h('div', {},
    h('h3', { id }, name),
    h('div.scroll', { tabIndex: 0, role: 'group', ariaLabel: name },
      h('table', {},
        h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, head)))),
        h('tbody', {}, rows.map((cells) => h('tr', {}, cells.map((cell) => h('td', {}, cell ?? '–'))))))));
}

function chain(facts) {
  return h('ol.chain', { testid: 'why' }, facts.map(({ text }) => h('li', {}, h('span', {}, text))));
}

function differences(list) {
  return list.map(({ text }) => h('p.differs', { testid: 'difference' }, text));
}

function silence({ silent }) {
  return silent.length > 0 && h('p.differs', { testid: 'silent' }, `No answer from ${silent.join(', ')}: what only they know is missing.`);
}

function past(lines, withPerson) {
  return table('What happened last', ['When', withPerson ? 'Who' : 'Where', 'What', 'Gateway', 'Cause'],
    lines.map((line) => [at(line.at), withPerson ? person(line.user_id) : line.channel && room(line.channel), line.text, line.gateway, words(line.cause)]),
    'Nothing is recorded.');
}

function user(told) {
  const { chosen } = told;
  const choice = [`Chosen: ${chosen.status}`, chosen.since && `since ${at(chosen.since)}`, chosen.by && `by ${words(chosen.by)}`, chosen.gateway && `on ${chosen.gateway}`, chosen.expires_at && `until ${at(chosen.expires_at)}`];
  return [
    h('p.answer', { testid: 'shown', data: { status: told.shown } }, `Shown ${(statusNames[told.shown] ?? told.shown).toLowerCase()}`),
    chain(told.why),
    h('p.muted', {}, choice.filter(Boolean).join(', ')),
    ...differences(told.differences),
    silence(told),
    h('div.explained', {},
      table('Sessions', ['Device', 'Gateway', 'State', 'Since', 'Last heard', 'Channels'],
        told.sessions.map((it) => [
          `${it.device_id}${it.dialect ? `, ${it.dialect}` : ''}${it.address ? `, ${it.address}` : ''}`,
          it.gateway,
          it.state === 'held' ? `held until ${at(it.held_until)}` : `${it.state}, ${it.activity}`,
          at(it.connected_since),
          at(it.last_heard),
          it.channels.length ? it.channels.flatMap((id, index) => [index > 0 && ', ', room(id)]).filter(Boolean).reduce((all, it_) => {
            all.append(it_);
            return all;
          }, h('span')) : '–',
        ]), 'There is no session.'),
      past(told.history, false),
      table('Who says what', ['Source', 'Shown', 'Chosen', 'Sessions'], [
        ...told.says.gateways.map((it) => [it.gateway, it.shown ?? it.knows, it.chosen, count(it.sessions)]),
        ...[['Redis', told.says.shared_store], ['Profile store', told.says.profile_store]]
          .map(([name, it]) => [name, it.state, it.chosen, it.sessions === null ? '–' : count(it.sessions)]),
      ], ''),
      connections(told.user_id)),
  ];
}

function roomBody(told) {
  const modes = told.by_gateway.map((it) => [
    it.gateway, it.follows ? 'yes' : 'no', count(it.people), count(it.sessions_here), it.mode, `${it.tick_ms} ms`, count(it.watchers.full + it.watchers.whole + it.watchers.summary),
  ]);
  return [
    h('p.answer', { testid: 'people' }, `${count(told.people)} ${told.people === 1 ? 'person' : 'people'}, ${count(told.sessions)} sessions`),
    chain(told.why),
    ...differences(told.differences),
    silence(told),
    h('div.explained', {},
      table('Who is in it', ['Who', 'Gateway', 'Since'], told.members.map((it) => [person(it.user_id), it.gateway, at(it.joined_at)]), 'Nobody that can be seen.'),
      past(told.history, true),
      table('What each gateway says', ['Gateway', 'Follows', 'People', 'Sessions here', 'Mode', 'Tick', 'Watchers'], modes, 'No gateway knows it.')),
  ];
}

/** The connections of a person on all gateways, each of which can be ended. */
function connections(userId) {
  const place = h('div', { testid: 'connections' });
  if (isOpen) return place;
  const load = async () => {
    const { connections: list } = await ask('/api/presence/connections', { user_id: userId, limit: 100 });
    place.replaceChildren(table('Connections', ['Connection', 'Gateway', 'Protocol', 'Since', 'Action'], list.map((it) => [
      h('code', {}, it.id), it.gateway, it.dialect, moment(it.connected_at * 1_000),
      h('button.quiet.small', {
        type: 'button', ariaLabel: `Disconnect ${it.id}`,
        onclick: () => act({
          title: 'End this connection?', text: 'Its client is told to come back, and keeps its session meanwhile.', button: 'Disconnect',
          path: `/api/presence/connections/${it.id}/disconnect`, done: 'The connection was ended', then: show,
        }),
      }, 'Disconnect'),
    ]), 'None on any gateway.'));
  };
  load().catch(() => {});
  return place;
}

function actions(kind, id) {
  const again = h('button.quiet.small', { type: 'button', testid: 'explain-again', onclick: () => show() }, 'Ask again');
  const leave = h('button.quiet.small', { type: 'button', testid: 'explanation-close', onclick: close }, 'Close');
  if (kind === 'room') return [again, leave];
  const path = `/api/presence/users/${encodeURIComponent(id)}`;
  return [
    again,
    h('button.quiet.small', {
      type: 'button', testid: 'kick',
      onclick: () => act({
        title: `Throw ${id} out?`, text: 'All sessions end at once, and tokens that were issued before now are refused.', button: 'Throw out', path: `${path}/kick`, done: `${id} was thrown out`, then: show,
      }),
    }, 'Throw out'),
    h('button.quiet.small', {
      type: 'button', testid: 'erase',
      onclick: () => act({
        title: `Erase ${id}?`, text: 'All sessions end, and everything that is stored about this person is removed, also what happened last. This cannot be undone.', button: 'Erase', path, method: 'DELETE', done: `${id} was erased`, then: show,
      }),
    }, 'Erase'),
    leave,
  ];
}

let isOpen = false;
let asked = 0;

/** Without a key nobody is an operator: a person is asked about in their own name, and a room shows who can be seen. */
async function told(kind, id) {
  if (kind === 'user') {
    const path = `/api/presence/users/${encodeURIComponent(id)}/explain`;
    return user(await explain(path, isOpen ? { user_id: id } : {}));
  }
  const path = `/api/presence/channel/${encodeURIComponent(id)}`;
  if (!isOpen) return roomBody(await explain(`${path}/explain`));
  const { viewers, total } = await explain(`${path}/viewers`);
  return [
    h('p.answer', { testid: 'people' }, `${count(total)} ${total === 1 ? 'person' : 'people'}`),
    table('Who is in it', ['Who'], viewers.map((it) => [person(it.id)]), 'Nobody that can be seen.'),
    h('p.muted', {}, 'Without a key this gateway explains no rooms: nobody can prove to be an operator.'),
  ];
}

/** Shows what the address says is open. */
async function show() {
  const what = opened();
  $('explanation').hidden = !what;
  if (!what) return;
  const { kind, id } = what;
  asked += 1;
  const mine = asked;
  const isNew = $('explanation').dataset.of !== location.hash;
  $('explanation').dataset.of = location.hash;
  $('explanation-title').textContent = kind === 'user' ? `Person ${id}` : `Room ${id}`;
  $('explanation-actions').replaceChildren(...actions(kind, id));
  if (isNew) {
    $('explanation-body').replaceChildren(h('p.muted', {}, 'Asking all gateways…'));
    $('explanation-title').focus();
  }
  $('search-kind').value = kind;
  $('search-id').value = id;
  let body = [];
  let problem = '';
  try {
    body = await told(kind, id);
  } catch (why) {
    problem = why.message;
  }
  if (mine !== asked) return;
  $('explanation-problem').textContent = problem;
  $('explanation-problem').hidden = !problem;
  $('explanation-body').replaceChildren(...body.filter(Boolean));
}

addEventListener('hashchange', show);
$('search').onsubmit = (event) => {
  event.preventDefault();
  open($('search-kind').value, $('search-id').value.trim());
};

/** Begins, once it is known whether the gateway has a key. */
export function begin(hasNoKey) {
  isOpen = hasNoKey;
  $('explanation').dataset.of = '';
  show();
}
