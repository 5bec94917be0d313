/* A workspace: everyone who is online in it. */

import { Place } from './place.js';
import { Watchable } from './watchable.js';

/** Everyone who is online in one workspace. */
export class Workspace extends Watchable {
  constructor(link, id) {
    super(new Place(link, 'workspace', id), id);
  }
}
