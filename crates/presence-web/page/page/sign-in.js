/* Who comes without a token, or with one that is no good, is asked for one. */

import { $ } from './dom.js';

const reasons = {
  missing: 'This gateway has a key. It lets in who brings a token that was signed with it.',
  expired: 'Your token has expired. Bring a new one.',
  invalid: 'Your token was refused:',
  forbidden: 'Your token does not allow this:',
};

/** Returns what opens the dialog: `signIn(reason, message)`. */
export function showSignIn(presence, me) {
  const dialog = $('sign-in');
  const field = $('sign-in-token');
  const signIn = (reason, message) => {
    const why = reasons[reason] ?? '';
    $('sign-in-why').textContent = why.endsWith(':') ? `${why} ${message}.` : why;
    field.value = '';
    if (!dialog.open) dialog.showModal();
    field.focus();
  };
  signIn.hasToken = Boolean(me.token);
  $('sign-in-cancel').onclick = () => dialog.close();
  $('sign-in-form').onsubmit = () => {
    presence.close();
    me.signIn(field.value.trim());
  };
  $('who-token').hidden = !me.token;
  $('who-token').onclick = () => {
    $('who').close();
    signIn('another');
  };
  return signIn;
}
