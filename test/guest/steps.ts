// What is done with each controller's disk, by the stock driver and the programs of the guest. A step that fails throws
// StepFailure with what the guest said.

import { createHash } from 'node:crypto';
import {
  type Bench,
  node,
  noWarnings,
  probe,
  RAW_SECTOR,
  SECTOR,
  StepFailure,
  shell,
  theDisk,
} from './bench.ts';
import { READER_TARGET } from './reader.ts';
import { savedStates } from './states.ts';

export interface Step {
  readonly name: string;
  run(bench: Bench): Promise<void>;
}

/** Behind both partitions, and what writes to the disk itself: for what cannot be read. */
const BAD_SECTOR = 130_000;
const BAD_SECTORS = 8;
/** Sectors that one O_DIRECT request has. */
const ODD_SIZES = [1, 3, 7, 17, 129, 255, 257, 1031, 2049];
const PATTERN_SECTORS = 4096;
const READERS = 4;

export const STEPS: readonly Step[] = [
  { name: 'probe', run: probe },
  { name: 'partition', run: partition },
  { name: 'mkfs', run: makeFileSystems },
  { name: 'mount', run: mount },
  { name: 'copy', run: copyFiles },
  { name: 'checksums', run: verifyFiles },
  { name: 'unmount', run: unmount },
  { name: 'remount and verify', run: remount },
  { name: 'direct', run: directSizes },
  { name: 'parallel readers', run: parallelReaders },
  { name: 'saved states', run: savedStates },
  { name: 'no warnings', run: noWarnings },
  { name: 'media errors', run: mediaErrors },
  { name: 'reboot', run: reboot },
  { name: 'verify again', run: remount },
];

async function partition(bench: Bench): Promise<void> {
  const keys = ['n', 'p', '1', '2048', '+32M', 'n', 'p', '2', '69632', '+15M', 't', '2', 'c', 'w'];
  await shell(bench, `printf '${keys.join('\\n')}\\n' | fdisk -u ${node(bench)}`);
  await shell(bench, `for i in $(seq 100); do [ -b ${node(bench, 2)} ] && break; usleep 50000; done`);
  await shell(bench, `[ -b ${node(bench, 1)} ] && [ -b ${node(bench, 2)} ]`);
}

async function makeFileSystems(bench: Bench): Promise<void> {
  await shell(bench, `mkfs.ext4 -q ${node(bench, 1)}`);
  await shell(bench, `mkdosfs ${node(bench, 2)}`);
}

async function mount(bench: Bench): Promise<void> {
  await shell(bench, 'mkdir -p /mnt/ext4 /mnt/vfat');
  await shell(bench, `mount -t ext4 ${node(bench, 1)} /mnt/ext4`);
  await shell(bench, `mount -t vfat ${node(bench, 2)} /mnt/vfat`);
}

async function copyFiles(bench: Bench): Promise<void> {
  await shell(bench, 'cp -r /lib/modules /mnt/ext4 && cp /bin/busybox /bin/e2fsck /mnt/ext4');
  await shell(bench, 'cp /bin/busybox /bin/mkfs.ext4 /mnt/vfat');
  for (const name of ['ext4', 'vfat']) {
    await shell(
      bench,
      `cd /mnt/${name} && find . -type f | xargs md5sum > /tmp/sums && mv /tmp/sums . && sync`,
    );
  }
  await shell(bench, 'cmp /bin/busybox /mnt/ext4/busybox');
}

/** From the disk, not from the page cache. */
async function verifyFiles(bench: Bench): Promise<void> {
  await shell(bench, 'cd / && echo 3 > /proc/sys/vm/drop_caches');
  for (const name of ['ext4', 'vfat']) await shell(bench, `cd /mnt/${name} && md5sum -c sums > /dev/null`);
  await shell(bench, 'cd / && cmp /bin/busybox /mnt/vfat/busybox');
}

async function unmount(bench: Bench): Promise<void> {
  await shell(bench, 'umount /mnt/ext4 /mnt/vfat');
  await shell(bench, `e2fsck -fn ${node(bench, 1)}`);
}

async function remount(bench: Bench): Promise<void> {
  await mount(bench);
  await verifyFiles(bench);
  await unmount(bench);
}

/** Writes and reads of sizes that are no power of two, past the page cache; what was written is on the medium. */
async function directSizes(bench: Bench): Promise<void> {
  await shell(bench, `dd if=/dev/urandom of=/tmp/pattern bs=${SECTOR} count=${PATTERN_SECTORS}`);
  const disk = theDisk(bench);
  let at = RAW_SECTOR;
  for (const sectors of ODD_SIZES) {
    const bytes = sectors * SECTOR;
    const where = `bs=${bytes} count=1`;
    await shell(
      bench,
      `dd if=/tmp/pattern of=${node(bench)} ${where} oflag=direct,seek_bytes seek=${at * SECTOR}`,
    );
    const back = `dd if=${node(bench)} ${where} iflag=direct,skip_bytes skip=${at * SECTOR} | md5sum`;
    const [read] = /^[\da-f]{32}/m.exec(await shell(bench, back)) ?? [];
    const [wrote] = /^[\da-f]{32}/m.exec(await shell(bench, `head -c ${bytes} /tmp/pattern | md5sum`)) ?? [];
    const stored = createHash('md5')
      .update(disk.read(at * SECTOR, bytes))
      .digest('hex');
    if (read !== wrote || stored !== wrote) {
      throw new StepFailure(
        `${sectors} sectors at ${at}: wrote ${wrote}, read ${read}, on the medium ${stored}`,
      );
    }
    at += sectors + 1;
  }
}

async function parallelReaders(bench: Bench): Promise<void> {
  const numbers = Array.from({ length: READERS }, (_, i) => i);
  const read = (i: number) => `dd if=${node(bench)} bs=60k count=60 skip=${i * 60} iflag=direct | md5sum`;
  await shell(bench, `${numbers.map((i) => `(${read(i)} > /tmp/together${i}) &`).join(' ')} wait`);
  await shell(bench, numbers.map((i) => `${read(i)} > /tmp/alone${i}`).join('; '));
  for (const i of numbers) await shell(bench, `cmp /tmp/together${i} /tmp/alone${i}`);
}

/** Sectors that cannot be read are an I/O error; what is beside them can, and the file systems too. */
async function mediaErrors(bench: Bench): Promise<void> {
  const disk = theDisk(bench);
  bench.controller.addFault({ disk, kind: 'error', first: BAD_SECTOR, last: BAD_SECTOR + BAD_SECTORS - 1 });
  const block = BAD_SECTOR / 8;
  const read = (skip: number, count: number) =>
    `dd if=${node(bench)} of=/dev/null bs=4k skip=${skip} count=${count} iflag=direct`;
  const said = await shell(bench, read(block, 1), 1);
  // EIO, or ENODATA where the driver knows that it is the medium.
  if (!/Input\/output error|No data available/.test(said)) throw new StepFailure(`not an I/O error: ${said}`);
  await shell(bench, `dd if=/tmp/pattern of=${node(bench)} bs=4k count=1 seek=${block} oflag=direct`, 1);
  await shell(bench, read(block - 2, 2));
  await shell(bench, read(block + 1, 2));
  await remount(bench);
}

async function reboot(bench: Bench): Promise<void> {
  bench.guest.emulator.serial0_send('sync; reboot -f\n');
  await bench.guest.waitForShell();
  await probe(bench);
}

/** Blocks a second, read by a program of the initramfs (reader.ts). */
export async function blocksPerSecond(
  bench: Pick<Bench, 'guest'>,
  disk: string,
  program: string,
  count: number,
): Promise<number> {
  const timed = `ln -sf /dev/${disk} ${READER_TARGET}; read a b < /proc/uptime; ${program} && read c d < /proc/uptime && echo $a $c`;
  const { status, output } = await bench.guest.run(timed);
  const [from, to] = output.trim().split(' ').map(Number);
  if (status !== 0 || from === undefined || to === undefined)
    throw new StepFailure(`${program} failed: ${output}`);
  return count / (to - from);
}
