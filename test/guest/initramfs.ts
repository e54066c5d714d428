// The guest's first and only file system in memory: busybox, mke2fs and e2fsck, the modules, and an init that puts a
// shell on the serial line. What is done in the guest, the host types there (guest.ts).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ArchiveEntry, cpioArchive } from './cpio.ts';
import { type KernelModule, modulesInOrder } from './modules.ts';
import type { Unpacked } from './packages.ts';

const FOLDER = 0o040755;
const PROGRAM = 0o100755;
const LINK = 0o120777;
const DEVICE = 0o020600;

const FOLDERS = ['bin', 'dev', 'etc', 'lib', 'lib/modules', 'mnt', 'proc', 'sys', 'tmp'];
/** Shared libraries of mke2fs and e2fsck, by the names that they are linked with. */
const LIBRARIES = [
  'ld-linux.so.2',
  'libc.so.6',
  'libext2fs.so.2',
  'libe2p.so.2',
  'libcom_err.so.2',
  'libblkid.so.1',
  'libuuid.so.1',
];

/** What file systems and disks need beside the controller's own driver. ata_generic and others stay away. */
const COMMON_MODULES = [
  'sd_mod',
  'sr_mod',
  'ext4',
  'crc32c_generic',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  'nls_iso8859_1',
];

const INIT = `#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
load common
stty -F /dev/ttyS0 -echo -onlcr raw
exec sh -c 'echo @ready; while read -r line; do eval "$line"; done' < /dev/ttyS0 > /dev/ttyS0 2>&1
`;

/** Loads modules with what they need. */
const LOAD = `#!/bin/sh
for name in $(cd /lib/modules && cat "$@"); do
  grep -q "^$name " /proc/modules || insmod /lib/modules/$name.ko || exit 1
done
`;

export interface InitramfsOptions {
  /** Drivers that are on board: /lib/modules/<driver> lists what has to be loaded, in order. */
  readonly drivers: readonly string[];
  /** Programs of our own, by their names in /bin. */
  readonly programs: Readonly<Record<string, Uint8Array>>;
  /** The first program; default takes lines of shell from guest.ts. */
  readonly init?: string;
}

/** Builds the archive from the unpacked packages. */
export function makeInitramfs(
  from: Unpacked,
  { drivers, programs, init = INIT }: InitramfsOptions,
): Uint8Array {
  const files = from.programs;
  const lib = join(from.kernel, 'lib');
  const version = readdirSync(join(lib, 'modules'))[0] as string; // one kernel was unpacked
  const modules = (names: readonly string[]) => modulesInOrder(join(lib, 'modules', version), names);
  const common = modules(COMMON_MODULES);
  const all = new Map([...common, ...modules(drivers)].map((module) => [module.name, module.data]));
  const text = (value: string) => new TextEncoder().encode(value);
  const list = (name: string, of: readonly KernelModule[]): ArchiveEntry => ({
    path: `lib/modules/${name}`,
    mode: PROGRAM,
    data: text(`${of.map((module) => module.name).join('\n')}\n`),
  });
  const entries: ArchiveEntry[] = [
    ...FOLDERS.map((path) => ({ path, mode: FOLDER })),
    { path: 'dev/console', mode: DEVICE, device: [5, 1] },
    { path: 'init', mode: PROGRAM, data: text(init) },
    { path: 'bin/load', mode: PROGRAM, data: text(LOAD) },
    { path: 'etc/mke2fs.conf', mode: PROGRAM, data: readFileSync(join(files, 'etc/mke2fs.conf')) },
    { path: 'bin/busybox', mode: PROGRAM, data: readFileSync(join(files, 'bin/busybox')) },
    { path: 'bin/sh', mode: LINK, data: text('busybox') },
    ...['mkfs.ext4', 'e2fsck'].map((name) => ({
      path: `bin/${name}`,
      mode: PROGRAM,
      data: readFileSync(join(files, 'sbin', name)),
    })),
    ...Object.entries(programs).map(([name, data]) => ({ path: `bin/${name}`, mode: PROGRAM, data })),
    ...LIBRARIES.map((name) => ({ path: `lib/${name}`, mode: PROGRAM, data: readLibrary(files, name) })),
    ...Array.from(all, ([name, data]) => ({ path: `lib/modules/${name}.ko`, mode: PROGRAM, data })),
    list('common', common),
    ...drivers.map((driver) => list(driver, modules([driver]))),
  ];
  return cpioArchive(entries);
}

function readLibrary(files: string, name: string): Uint8Array {
  for (const folder of ['lib/i386-linux-gnu', 'usr/lib/i386-linux-gnu', 'lib', 'usr/lib']) {
    const path = join(files, folder, name);
    if (existsSync(path)) return readFileSync(path);
  }
  throw new Error(`the packages have no library ${name}`);
}
