/* Finds the published clients where run.mjs had them installed: outside of the sources, so that tests can simply import them. */

import { register } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const from = pathToFileURL(join(process.env.PRESENCE_MODULES, 'package.json')).href;
const hook = `
  export function resolve(specifier, context, next) {
    const ours = /^(node:|file:|data:|[./])/.test(specifier) || context.parentURL?.includes('/node_modules/');
    return next(specifier, ours ? context : { ...context, parentURL: ${JSON.stringify(from)} });
  }`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
