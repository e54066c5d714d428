// Debian's i386 packages without root: apt-get downloads them, signatures checked, with an index and a cache of its
// own below .cache/; nothing outside of that folder is touched.

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { root } from './root.ts';

/** Where Debian's archive is, when BACKPLANE_DEBIAN_MIRROR does not say otherwise. */
const MIRROR = 'http://deb.debian.org/debian';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const TIMEOUT_MS = 300_000;
const CACHE = join(root, '.cache', 'guest');
const CACHE_RULE =
  'What is downloaded is kept there: a folder that can be written, with 600 MB left on its disk.';

/** Debian 12 has Linux 6.1, Debian 11 has 5.10. */
export type Release = 'bookworm' | 'bullseye';

/** What the initramfs takes programs from, and what mke2fs and e2fsck are linked with. */
const PROGRAMS = [
  'seabios',
  'busybox-static',
  'e2fsprogs',
  'libext2fs2',
  'libcom-err2',
  'libblkid1',
  'libuuid1',
  'libc6',
];

/** A run is impossible here, and no fault of the controllers: the message says what would help. */
export class GuestUnavailable extends Error {}

/** Folders with packages' files: the kernel of a release, and programs, which are always those of Debian 12. */
export interface Unpacked {
  readonly kernel: string;
  readonly programs: string;
}

/** Packages are downloaded and unpacked unless they are there already, or `download` is false. */
export function unpackedPackages(release: Release, { download = true, cache = CACHE } = {}): Unpacked {
  try {
    const programs = unpack(join(cache, 'bookworm'), 'bookworm', PROGRAMS, download);
    const kernel = release === 'bookworm' ? programs : unpack(join(cache, release), release, [], download);
    return { programs, kernel };
  } catch (error) {
    if (error instanceof GuestUnavailable || !(error instanceof Error && 'code' in error)) throw error;
    throw new GuestUnavailable(`${cache} cannot be used: ${error.message}\n${CACHE_RULE}`);
  }
}

/** The folder with the files of a release's kernel and of these packages. */
function unpack(home: string, release: Release, names: readonly string[], download: boolean): string {
  const files = join(home, 'files');
  const total = join(home, 'bytes');
  if (existsSync(files) && existsSync(total)) {
    const [is, was] = [bytesBelow(files), Number(readFileSync(total, 'utf8'))];
    if (is === was) return files;
    throw new GuestUnavailable(
      `${files} is damaged: it has ${is} bytes, and had ${was}. Remove ${home}; npm run guest fills it again.`,
    );
  }
  if (!download)
    throw new GuestUnavailable(`no packages of ${release} in .cache/guest/; npm run guest downloads them`);
  rmSync(home, { recursive: true, force: true });
  const apt = new Apt(home, release);
  apt.run('apt-get', ['update']);
  const kernel = /Depends: (linux-image-\S+)/.exec(apt.run('apt-cache', ['depends', 'linux-image-686']))?.[1];
  if (kernel === undefined) throw new GuestUnavailable(`${apt.mirror} has no i386 kernel for ${release}`);
  const packages = join(home, 'packages');
  mkdirSync(packages);
  apt.run('apt-get', ['download', kernel, ...names], packages);
  const unfinished = `${files}.unfinished`;
  for (const name of readdirSync(packages)) {
    apt.run('dpkg-deb', ['--extract', join(packages, name), unfinished]);
  }
  rmSync(packages, { recursive: true });
  renameSync(unfinished, files);
  writeFileSync(total, String(bytesBelow(files)));
  return files;
}

/** Bytes of all files below a folder. */
function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => lstatSync(join(folder, path)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}

/** apt with every one of its folders below `home`. */
class Apt {
  readonly mirror: string;
  readonly #config: string;

  constructor(home: string, release: Release) {
    this.mirror = process.env.BACKPLANE_DEBIAN_MIRROR ?? MIRROR;
    const apt = join(home, 'apt');
    for (const folder of ['state/lists/partial', 'cache/archives/partial', 'none']) {
      mkdirSync(join(apt, folder), { recursive: true });
    }
    writeFileSync(join(apt, 'sources.list'), `deb [signed-by=${KEYRING}] ${this.mirror} ${release} main\n`);
    writeFileSync(join(apt, 'status'), '');
    this.#config = join(apt, 'apt.conf');
    const settings = {
      'APT::Architecture': 'i386',
      'APT::Architectures': 'i386',
      'APT::Sandbox::User': 'root',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '2',
      'Dir::State': join(apt, 'state'),
      'Dir::State::status': join(apt, 'status'),
      'Dir::Cache': join(apt, 'cache'),
      'Dir::Etc::main': '/dev/null',
      'Dir::Etc::parts': join(apt, 'none'),
      'Dir::Etc::preferencesparts': join(apt, 'none'),
      'Dir::Etc::sourcelist': join(apt, 'sources.list'),
      'Dir::Etc::sourceparts': join(apt, 'none'),
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
    writeFileSync(this.#config, lines.join(''));
  }

  run(program: string, args: string[], cwd: string = root): string {
    try {
      return execFileSync(program, args, {
        cwd,
        env: { ...process.env, APT_CONFIG: this.#config, LC_ALL: 'C' },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: TIMEOUT_MS,
      });
    } catch (error) {
      throw new GuestUnavailable(unavailable(program, args, this.mirror, error));
    }
  }
}

function unavailable(program: string, args: string[], mirror: string, error: unknown): string {
  const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim().slice(-600) : '';
  const failed =
    program === 'dpkg-deb'
      ? `dpkg-deb cannot unpack ${args.at(1)}; ${CACHE_RULE}`
      : `${program} ${args[0] ?? ''} failed: no packages from ${mirror}`;
  return [
    missing
      ? `${program} is not here: the stock guest is made of Debian's packages, with apt-get and dpkg-deb`
      : failed,
    ...(said === '' ? [] : [said]),
    `What is needed: apt-get, dpkg-deb, ${KEYRING}, and a way to a mirror of Debian's archive`,
    '(another one: BACKPLANE_DEBIAN_MIRROR=http://host/debian). Everything is kept in .cache/guest/.',
  ].join('\n');
}
