/* What an operator does to a person, a connection or a gateway: asked first, then told how it went. */

import { $ } from '../page/html.js';
import { ask } from './asking.js';

const TOAST_MS = 6_000;

let hiding;

export function toast(text) {
  $('toast').textContent = text;
  $('toast').hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    $('toast').hidden = true;
  }, TOAST_MS);
}

let confirmed = null;

$('confirm-cancel').onclick = () => $('confirm').close();
$('confirm-form').onsubmit = () => confirmed?.();

/** Asks whether to do it, does it, and says how it went. `then` is called afterwards. */
export function act({ title, text, button, path, query, method = 'POST', done, unconfirmed, then }) {
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-do').textContent = button;
  confirmed = async () => {
    try {
      const answer = await ask(path, query, { method });
      const isGone = answer?.disconnected === false;
      toast(answer?.confirmed === false ? unconfirmed : isGone ? 'It is gone already.' : done);
    } catch (why) {
      toast(`Not done: ${why.message}`);
    }
    then?.();
  };
  $('confirm').showModal();
  $('confirm-cancel').focus();
}
