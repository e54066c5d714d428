// Puts the real output of its commands and examples into README.md; `--check` only compares.
//
//   node scripts/readme.mjs [--check]

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { at, root } from './util.mjs';

function output(...args) {
  const env = { ...process.env, NO_COLOR: '1' };
  const { stdout, status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout.replaceAll(root, '').trimEnd();
}

/** Replaces the first fenced block after `marker`. */
function fill(text, marker, content) {
  const start = text.indexOf('```', text.indexOf(marker) + marker.length);
  const body = text.indexOf('\n', start) + 1;
  const end = text.indexOf('```\n', body);
  if (!text.includes(marker) || end < 0) throw new Error(`README.md has no block after "${marker}"`);
  return `${text.slice(0, body)}${content}\n${text.slice(end)}`;
}

/** What README.md is to hold now. */
export function readme() {
  let text = readFileSync(at('README.md'), 'utf8');
  text = fill(text, '<!-- output of: npx backplane run -->', output('bin/backplane.mjs', 'run'));
  const compared = output('bin/backplane.mjs', 'compare', '--operations', '300');
  text = fill(text, '<!-- output of: npx backplane compare --operations 300 -->', compared);
  const example = readFileSync(at('examples/emulate.ts'), 'utf8').trimEnd();
  text = fill(text, 'which the tests run:', example);
  text = fill(text, 'It prints:', output('scripts/run.mjs', 'examples/emulate.ts'));
  const embedded = readFileSync(at('examples/embed.ts'), 'utf8').trimEnd();
  text = fill(text, 'which the tests run, too:', embedded);
  return fill(text, 'Its output:', output('scripts/run.mjs', 'examples/embed.ts'));
}

const wanted = readme();
if (!process.argv.includes('--check')) writeFileSync(at('README.md'), wanted);
else if (wanted !== readFileSync(at('README.md'), 'utf8')) {
  process.stderr.write('README.md does not show the output of today: run `node scripts/readme.mjs`\n');
  process.exitCode = 1;
}
