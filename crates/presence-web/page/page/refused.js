/* A room that we may not be in says so where it would be, and what one can do then. */

import { $ } from './dom.js';

/** `rooms` knows where else one may go, `signIn` asks for another token. Returns what ends it. */
export function showRefused(channel, rooms, signIn) {
  let other; // the room to go to
  const show = ({ error, joined }) => {
    const isRefused = Boolean(error) && !joined;
    $('room-refused').hidden = !isRefused;
    // Not `hidden`: the bar keeps its height.
    $('count').parentElement.style.visibility = isRefused ? 'hidden' : '';
    for (const card of document.querySelectorAll('.board-card, .chat')) card.hidden = isRefused;
    set($('room-refused-why'), isRefused ? `The gateway says: ${error.message}.` : '');
    other = rooms.another();
    $('refused-room').textContent = other ? `Go to ${other.title}` : 'Enter another room';
  };
  set($('room-refused-next'), signIn.hasToken ? 'Go to a room that your token allows, or sign in with another token.' : 'Go to another room.');
  $('refused-token').hidden = !signIn.hasToken;
  $('refused-token').onclick = () => signIn('another');
  $('refused-room').onclick = () => (other ? rooms.go(other) : $('room-input').focus());
  const stops = [channel.subscribe(show), rooms.subscribe(() => show(channel.getState()))];
  show(channel.getState());
  return () => stops.forEach((stop) => stop());
}

/** What is an alert is read out again at each change, even to the same. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
