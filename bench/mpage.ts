// A file of ext2 through the page cache on AHCI: read ahead, mpage, one interrupt a request. The image is made by mke2fs.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Inode, PAGE_SIZE, PG_locked, PG_uptodate, type Sleeps } from '../src/kernel/index.ts';
import { bootLinux, type Gendisk, IS_ERR, type LinuxApi } from '../src/linux/index.ts';
import { createMachine } from '../src/machine/index.ts';
import { contents } from './driver.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
const FILE = 64 * MIB;
/** The file, its pointers, and what a file system needs for itself. */
const IMAGE = FILE + 4 * MIB;
/** What is read ahead at a time. */
const AHEAD = MIB;

/** The image; null, with a message, where there is no mke2fs. */
function makeImage(file: Uint8Array): Uint8Array | null {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
  try {
    const tree = join(folder, 'tree');
    const image = join(folder, 'image');
    mkdirSync(tree);
    writeFileSync(join(tree, 'file'), file);
    const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
    const size = ['-b', '4096', '-N', '32', '-m', '0', '-d', tree, image, `${IMAGE / 1024}k`];
    execFileSync('mke2fs', ['-q', '-F', '-t', 'ext2', ...size], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return new Uint8Array(readFileSync(image));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    process.stderr.write('skipped: mke2fs (package e2fsprogs) is not installed\n');
    return null;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function boot(image: Uint8Array) {
  const machine = await createMachine({
    ram: [{ base: 0, bytes: FILE + 16 * MIB }],
    diskBytes: IMAGE,
    guard: false,
  });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: IMAGE, latencyNs: 0, picosecondsPerByte: 0 });
  disk.write(0, image);
  controller.attach(disk, 0);
  const linux = bootLinux(machine);
  const [gendisk] = linux.scsi_add_host(controller).disks as [Gendisk];
  const inode = linux.kernel.scheduler.complete('mount', function* () {
    const sb = yield* linux.ext2_fill_super(gendisk.part0);
    return IS_ERR(sb) ? sb : yield* linux.ext2_namei(sb, 'file');
  });
  if (IS_ERR(inode)) throw new Error(`the image cannot be read: ${inode}`);
  return { machine, linux, inode };
}

/** Reads the first bytes of the file, a mebibyte ahead at a time, and waits for each page. */
function* readFile(linux: LinuxApi, { mapping }: Inode, bytes: number): Sleeps<void> {
  for (let index = 0; index < bytes / PAGE_SIZE; index++) {
    if (index % (AHEAD / PAGE_SIZE) === 0)
      yield* linux.__do_page_cache_readahead(mapping, index, AHEAD / PAGE_SIZE);
    const page = mapping.find(index);
    if (page === null) throw new Error(`page ${index} is missing`);
    if (page.has(PG_locked)) yield* linux.wait_on_page_locked(page);
    if (!page.has(PG_uptodate)) throw new Error(`page ${index} could not be read`);
  }
}

/** An operation reads a mebibyte; what was read is dropped from the cache at the end of a round, in its time. */
export async function mpageRow(name: string, raw: RawCopy): Promise<Pair | null> {
  const file = contents(FILE);
  const image = makeImage(file);
  if (image === null) return null;
  const { machine, linux, inode } = await boot(image);
  const { scheduler, vm } = linux.kernel;
  return {
    name,
    bytes: MIB,
    times: FILE / MIB,
    raw: (count) => raw.copy(MIB, MIB, count),
    path(count: number): void {
      scheduler.complete('reader', function* () {
        yield* readFile(linux, inode, count * MIB);
        yield* vm.dropCache(inode);
      });
    },
    check(): void {
      scheduler.complete('reader', () => readFile(linux, inode, FILE));
      for (const [index, { phys }] of inode.mapping.pages) {
        if (!machine.memory.equals(phys, file, index * PAGE_SIZE, PAGE_SIZE))
          throw new Error(`page ${index} has other bytes than the file`);
      }
    },
  };
}
