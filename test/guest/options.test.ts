// What `npm run guest` says where it cannot do what it was asked for.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import { guestOptions, Usage } from './options.ts';
import { GuestUnavailable, unpackedPackages } from './packages.ts';

const test = suite('guest: bad input');

function refuses(args: readonly string[], message: RegExp): void {
  assert.throws(
    () => guestOptions(args),
    (error: unknown) => error instanceof Usage && message.test(error.message),
  );
}

test('a command line that makes no sense is refused before anything is booted', () => {
  refuses(['ahcx'], /no controller is called "ahcx"; there are aha1542, piix-ide, ahci/);
  refuses(['--jobs', '0'], /jobs is 0; it must be a whole number from 1 on/);
  refuses(['--jobs', 'two'], /jobs is two/);
  refuses(['--release', 'sid'], /release is sid; it must be bookworm or bullseye/);
  refuses(['--profile', 'ahci-26lines'], /--profile ahci-26lines wants one controller/);
  refuses(['nvme', 'ahci', '--profile', 'ahci'], /wants one controller/);
  refuses(['ahci', '--profile', 'foo'], /ahci has no profile "foo"; it has ahci, .*ahci-26lines/);
  refuses(['ahci', '--profile', 'nvme'], /ahci has no profile "nvme"/);
  refuses(['--fast'], /'--fast'/);
});

test('one that makes sense is taken', () => {
  const options = guestOptions(['ahci', '--profile', 'ahci-26lines', '--no-speed', '--jobs', '2']);
  if (options === 'help') return assert.unreachable('nobody asked for help');
  assert.equal(
    options.devices.map(({ controller }) => controller),
    ['ahci'],
  );
  assert.equal([options.profile, options.speed, options.jobs], ['ahci-26lines', false, 2]);
  assert.is(guestOptions(['--help']), 'help');
});

function unavailable(cache: string, download = false): string {
  try {
    unpackedPackages('bookworm', { download, cache });
  } catch (error) {
    if (error instanceof GuestUnavailable) return error.message;
    throw error;
  }
  return 'it is available';
}

test('packages that are not there, were cut short, or have no place are named', () => {
  const cache = scratchFolder();
  assert.match(unavailable(cache), /no packages of bookworm/);
  mkdirSync(join(cache, 'bookworm/files'), { recursive: true });
  writeFileSync(join(cache, 'bookworm/files/vmlinuz'), 'half of a ker');
  assert.match(unavailable(cache), /no packages of bookworm/, 'a download that did not end is none');
  writeFileSync(join(cache, 'bookworm/bytes'), '16');
  assert.match(unavailable(cache), /is damaged: it has 13 bytes, and had 16\. Remove .*bookworm; /);
  const file = join(cache, 'file');
  writeFileSync(file, '');
  assert.match(
    unavailable(file, true),
    /file cannot be used: .*\nWhat is downloaded is kept there: a folder/,
  );
});

test('without a way to Debian’s archive it says what is needed', () => {
  if (spawnSync('apt-get', ['--version']).status !== 0)
    return assert.match(unavailable(scratchFolder(), true), /apt-get is not here/);
  process.env.BACKPLANE_DEBIAN_MIRROR = 'http://127.0.0.1:1/debian';
  try {
    const said = unavailable(scratchFolder(), true);
    assert.match(said, /no packages from http:\/\/127\.0\.0\.1:1\/debian/);
    assert.match(said, /BACKPLANE_DEBIAN_MIRROR=http:\/\/host\/debian/);
  } finally {
    delete process.env.BACKPLANE_DEBIAN_MIRROR;
  }
});
