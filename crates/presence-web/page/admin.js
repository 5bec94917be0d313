/* The operator's page: one question to the gateway at a time, every second and a half, while the page is looked at. */

import { $ } from './page/html.js';
import { ask, hasToken, setToken } from './admin/asking.js';
import { showDegraded } from './admin/degraded.js';
import { begin } from './admin/explanation.js';
import { Live } from './admin/live.js';
import { Nodes } from './admin/nodes.js';
import { showRooms } from './admin/rooms.js';
import { moment, span } from './admin/words.js';

/** From the beginning of one question to the beginning of the next one. */
const EVERY_MS = 1_500;
/** Every so many questions the rooms are asked for, too. */
const ROOMS_EVERY = 3;
const ROOMS_SHOWN = 20;
/** As long as a lease. */
const DEAD_MS = 15_000;

const nodes = new Nodes();
let answeredAt = null;
let isBegun = false;
let looks = 0;
let timer;
let isAsking = false;

function say(state, text) {
  $('polling').dataset.state = state;
  if ($('polling-text').textContent !== text) $('polling-text').textContent = text;
}

/** Says that the gateway that serves this page does not answer. */
function saySilence() {
  const silent = answeredAt ? Date.now() - answeredAt : 0;
  const state = silent >= DEAD_MS ? 'dead' : 'late';
  const since = answeredAt ? `since ${moment(answeredAt)}, for ${span(silent)}` : 'yet';
  say(state, `This gateway has not answered ${since}`);
  document.body.classList.add('is-old');
}

function signIn(why) {
  $('sign-in-why').textContent = why;
  $('sign-in-token').value = '';
  if (!$('sign-in').open) $('sign-in').showModal();
  $('sign-in-token').focus();
}

async function look() {
  const withRooms = looks % ROOMS_EVERY === 0;
  const { after } = nodes;
  const overview = await ask('/admin/api/overview', { after_ms: after, limit: withRooms ? ROOMS_SHOWN : undefined });
  looks += 1;
  answeredAt = Date.now();
  document.body.classList.remove('is-old');
  say('alive', `${overview.gateway} answers`);
  $('token').hidden = overview.is_open;
  nodes.show(overview, after);
  showDegraded(overview);
  if (withRooms) showRooms(overview.rooms, overview.store);
  if (!isBegun) {
    isBegun = true;
    begin(overview.is_open);
    if (overview.is_open) live.refuse();
  }
  await live.look(overview.asked_at_ms);
}

async function poll() {
  clearTimeout(timer);
  if (isAsking || document.hidden || $('sign-in').open) return;
  isAsking = true;
  const began = performance.now();
  try {
    await look();
  } catch (why) {
    if (why.status === 401) {
      say('late', 'Not signed in');
      signIn(hasToken() ? `Your token was refused: ${why.message}.` : 'This page is for operators.');
    } else if (why.status === 403) {
      say('late', 'Not allowed');
      signIn(`Your token does not allow this: ${why.message}.`);
    } else if (why.status) {
      say('late', why.message);
    } else {
      saySilence();
    }
  } finally {
    isAsking = false;
  }
  timer = setTimeout(poll, Math.max(100, EVERY_MS - (performance.now() - began)));
}

const live = new Live(poll);
document.addEventListener('visibilitychange', poll);
$('token').onclick = () => signIn('Another token takes the place of the one that this tab has.');
$('sign-in-cancel').onclick = () => $('sign-in').close();
$('sign-in').onclose = poll;
$('sign-in-form').onsubmit = () => {
  setToken($('sign-in-token').value.trim());
  isBegun = false;
};
poll();
