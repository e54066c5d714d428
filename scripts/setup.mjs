// Makes a fresh clone runnable: installs the development dependencies and builds dist/. Needs Node and npm only.
//
//   node scripts/setup.mjs [--no-build]

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const lockHash = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .digest('hex');
// Lives in node_modules, so that removing that folder removes the claim that it is complete.
const stamp = `${root}node_modules/.backplane-setup`;

function fail(text) {
  process.stderr.write(text);
  process.exit(1);
}

/** npm as the program that started us, if one did: no shell, and the same version. */
function npm(args) {
  const script = process.env.npm_execpath;
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
  if (script !== undefined && /npm-cli\.[cm]?js$/.test(script)) {
    return spawnSync(process.execPath, [script, ...args], options);
  }
  return spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
}

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lockHash) {
  process.stderr.write('setup: installing development dependencies\n');
  // Not `npm ci`: a lock file made on one platform may lack another's optional packages.
  const { status, stdout, stderr, error } = npm([
    'install',
    '--no-save',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ]);
  if (status !== 0)
    fail(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}\nsetup: npm install failed\n`);
  writeFileSync(stamp, lockHash);
}

if (!process.argv.includes('--no-build')) {
  const { status } = spawnSync(process.execPath, [`${root}scripts/build.mjs`], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(status ?? 1);
}
